"""`product-created`: what a seller said about a product, as a full snapshot."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from schemas.bounds import (
    ATTRIBUTES_MAX,
    CHANNELS_MAX,
    DESCRIPTION_MAX,
    IMAGES_MAX,
    TEXT_MAX,
    TITLE_MAX,
    URL_MAX,
    VALUES_MAX,
    Currency,
    Id,
    Price,
    ShortText,
    Text,
)

LANGUAGES = ("zh", "en")
"""Primary subtags the models were fitted on; another language is refused rather than guessed at."""

ImageUrl = Annotated[str, Meta(max_length=URL_MAX, pattern=r"^https?://[^\s/]+\S*$")]
AttributeValue = Annotated[str, Meta(max_length=TEXT_MAX)]


class ProductEventType(StrEnum):
    """`ce_type` of the topic. Open: an unknown type goes to the side topic."""

    CREATED = "product.created"
    UPDATED = "product.updated"
    WITHDRAWN = "product.withdrawn"


class RawListing(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The whole listing as the seller gave it; a later snapshot replaces an earlier one entirely.

    Absent means upstream did not say; null means the seller said there is none (an unbranded
    product). Both are kept apart on the way out.

    title: 1 to 1,024 code points, not blank. description: up to 20,000.
    language: BCP 47; primary subtag zh or en; absent: detected. price: major units of `currency`
    (ISO 4217), carried as given and never summed for accounting; a price needs a currency.
    attributes: seller's name to value or values, up to 200 names of up to 50 values.
    images: http(s) URLs, never file paths.
    """

    product_id: Id
    title: Annotated[str, Meta(min_length=1, max_length=TITLE_MAX)]
    description: Annotated[str, Meta(max_length=DESCRIPTION_MAX)] | UnsetType | None = UNSET
    language: Annotated[str, Meta(max_length=35)] | UnsetType | None = UNSET
    brand: Text | UnsetType | None = UNSET
    price: Price | UnsetType | None = UNSET
    currency: Currency | UnsetType | None = UNSET
    seller: Id | UnsetType | None = UNSET
    category_hint: Text | UnsetType | None = UNSET
    attributes: Annotated[
        dict[ShortText, AttributeValue | Annotated[list[AttributeValue], Meta(max_length=VALUES_MAX)]],
        Meta(max_length=ATTRIBUTES_MAX),
    ] = {}
    images: Annotated[list[ImageUrl], Meta(max_length=IMAGES_MAX)] = []
    channels: Annotated[list[ShortText], Meta(max_length=CHANNELS_MAX)] = []


class Withdrawal(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Value of `product.withdrawn`: the id is enough; a full snapshot is accepted and its rest ignored.

    A null value (a tombstone) with this type is accepted too; the id is then the key.
    """

    product_id: Id
    reason: Text | UnsetType = UNSET
