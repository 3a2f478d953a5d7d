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

LANGUAGE_MAX = 35
"""The length that RFC 5646 asks implementations to hold."""

# `$` alone lets a trailing line feed through in Python; `$(?!\n)` means the end in every dialect.
ImageUrl = Annotated[str, Meta(max_length=URL_MAX, pattern=r"^https?://[^\s/]+\S*$(?!\n)")]
AttributeValue = Annotated[str, Meta(max_length=TEXT_MAX)]


class ProductEventType(StrEnum):
    """`ce_type` of the topic. Open: an unknown type goes to the side topic."""

    CREATED = "product.created"
    UPDATED = "product.updated"
    WITHDRAWN = "product.withdrawn"


class RawListing(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The whole listing as the seller gave it; a later snapshot replaces an earlier one entirely.

    title: 1 to 1,024 code points, not blank. description: up to 20,000 code points. language: BCP 47
    tag, primary subtag zh or en; detected where absent. brand: as the seller writes it. price: major
    units of `currency`, carried as given and never summed for accounting; it needs a currency.
    currency: ISO 4217. seller: id of the seller. category_hint: the seller's own category, free text.
    attributes: seller's name to value or values, up to 200 names of up to 50 values. images: http(s)
    URLs, never file paths, up to 50. channels: where it is to be sold, up to 50 names.

    Absent means upstream did not say; null means the seller said there is none (an unbranded product).
    Both are kept apart on the way out.
    """

    product_id: Id
    title: Annotated[str, Meta(min_length=1, max_length=TITLE_MAX)]
    description: Annotated[str, Meta(max_length=DESCRIPTION_MAX)] | UnsetType | None = UNSET
    language: Annotated[str, Meta(max_length=LANGUAGE_MAX)] | UnsetType | None = UNSET
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

    reason: why, in words, for people.
    """

    product_id: Id
    reason: Text | UnsetType = UNSET
