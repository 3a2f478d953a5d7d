"""Price bands, as facts and profiles name them."""

from __future__ import annotations

import math

BANDS_A_DECADE = 4


def price_band(price: object, currency: object) -> str:
    """`CUR:k`, k = floor(4 log10 price): four bands a decade. Empty where there is no price above 0."""
    if not isinstance(price, int | float) or not isinstance(currency, str) or price <= 0:
        return ""
    return f"{currency}:{math.floor(BANDS_A_DECADE * math.log10(price))}"
