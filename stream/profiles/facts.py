"""The facts of a listing as the join needs them: decoded once, used for every event on the product."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from schemas.listing import ListingFacts
from schemas.vector import INT8_SCALE

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Facts:
    """category: node ids from the root. vector: unit length, of `space`; None where the listing has none."""

    category: tuple[str, ...]
    brand: str
    attributes: tuple[str, ...]
    price_band: str
    language: str
    space: str
    vector: Array | None

    @classmethod
    def of(cls, facts: ListingFacts) -> Facts:
        """From the record; a withdrawn product has none of them."""
        vector = facts.embedding
        if vector is UNSET or vector.dtype != "int8":
            space, array = "", None
        else:
            steps = np.frombuffer(base64.b64decode(vector.data), np.int8)
            space, array = vector.space, steps.astype(np.float32) / np.float32(INT8_SCALE)
        return cls(
            category=tuple(facts.category),
            brand=facts.brand,
            attributes=tuple(facts.attributes),
            price_band=facts.price_band,
            language=facts.language,
            space=space,
            vector=array,
        )
