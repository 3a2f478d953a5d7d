"""Every topic: its name, key, direction, clean-up, value type. The one list that the rest is generated from."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from schemas.behaviour import BehaviourByProduct, BehaviourEvent
from schemas.features import ItemFeatures, UserFeatures
from schemas.listing import EnrichedListing, EnrichmentRequest, ListingFacts
from schemas.product import RawListing
from schemas.profile import UserProfile
from schemas.review import ReviewDecision, ReviewRequest


class Direction(StrEnum):
    """Who writes and who reads, seen from shangxin."""

    IN = "in"
    OUT = "out"
    INTERNAL = "internal"


class Partitions(StrEnum):
    """Topics of one group have the same number of partitions, so that equal keys meet on one worker."""

    PRODUCT = "product"
    USER = "user"


class Topic(Struct, frozen=True, kw_only=True):
    """One topic. name: without the prefix. value: None where records are carried as they came."""

    name: str
    key: str
    direction: Direction
    compact: bool
    partitions: Partitions
    value: type[Struct] | None
    about: str

    def named(self, prefix: str) -> str:
        """The name on the broker."""
        return f"{prefix}{self.name}"


def _topic(
    name: str,
    key: str,
    direction: Direction,
    value: type[Struct] | None,
    about: str,
    *,
    compact: bool = False,
    by: Partitions | None = None,
) -> Topic:
    partitions = by or (Partitions.USER if key == "user_id" else Partitions.PRODUCT)
    return Topic(
        name=name,
        key=key,
        direction=direction,
        compact=compact,
        partitions=partitions,
        value=value,
        about=about,
    )


PRODUCT_CREATED = _topic(
    "product-created",
    "product_id",
    Direction.IN,
    RawListing,
    "Snapshots of raw listings: product.created, product.updated, product.withdrawn.",
)
USER_BEHAVIOUR = _topic("user-behaviour", "user_id", Direction.IN, BehaviourEvent, "One action of one user.")
LISTING_ENRICHED = _topic(
    "listing-enriched",
    "product_id",
    Direction.OUT,
    EnrichedListing,
    "The full enriched listing; a tombstone when withdrawn.",
    compact=True,
)
LISTING_FACTS = _topic(
    "listing-facts",
    "product_id",
    Direction.INTERNAL,
    ListingFacts,
    "The part of an enriched listing that joins need.",
    compact=True,
)
ENRICHMENT_REQUESTS = _topic(
    "enrichment-requests",
    "product_id",
    Direction.INTERNAL,
    EnrichmentRequest,
    "Enrich again: retry, backfill, replay, a person's decision; each with the whole snapshot.",
    compact=True,
)
BEHAVIOUR_BY_PRODUCT = _topic(
    "behaviour-by-product",
    "product_id",
    Direction.INTERNAL,
    BehaviourByProduct,
    "Behaviour that names a product, keyed by it.",
)
USER_PROFILE_UPDATED = _topic(
    "user-profile-updated", "user_id", Direction.OUT, UserProfile, "The full profile of a user.", compact=True
)
ITEM_FEATURES = _topic("item-features", "product_id", Direction.OUT, ItemFeatures, "Windows of one item.", compact=True)
ITEM_FEATURES_STATE = _topic(
    "item-features-state",
    "product_id",
    Direction.INTERNAL,
    None,
    "Changelog of the features worker: the tiles of each item.",
    compact=True,
)
USER_PROFILE_STATE = _topic(
    "user-profile-state",
    "user_id",
    Direction.INTERNAL,
    None,
    "Changelog of the profiles worker: the state of each user.",
    compact=True,
)
USER_FEATURES = _topic("user-features", "user_id", Direction.OUT, UserFeatures, "Windows of one user.", compact=True)
PRODUCT_DLQ = _topic(
    "product-created.dlq",
    "product_id",
    Direction.OUT,
    None,
    "Refused product records as they came, with why.",
)
BEHAVIOUR_DLQ = _topic(
    "user-behaviour.dlq", "user_id", Direction.OUT, None, "Refused behaviour records as they came, with why."
)
PRODUCT_SIDE = _topic(
    "product-created.side", "product_id", Direction.OUT, None, "Product records of a type not known here."
)
BEHAVIOUR_SIDE = _topic(
    "user-behaviour.side", "user_id", Direction.OUT, None, "Behaviour records of an action not known here."
)
REVIEW_REQUESTED = _topic("review-requested", "product_id", Direction.OUT, ReviewRequest, "What a person must look at.")
REVIEW_DECIDED = _topic("review-decided", "product_id", Direction.IN, ReviewDecision, "What they decided.")

TOPICS: tuple[Topic, ...] = (
    PRODUCT_CREATED,
    USER_BEHAVIOUR,
    LISTING_ENRICHED,
    LISTING_FACTS,
    ENRICHMENT_REQUESTS,
    BEHAVIOUR_BY_PRODUCT,
    USER_PROFILE_UPDATED,
    ITEM_FEATURES,
    ITEM_FEATURES_STATE,
    USER_PROFILE_STATE,
    USER_FEATURES,
    PRODUCT_DLQ,
    BEHAVIOUR_DLQ,
    PRODUCT_SIDE,
    BEHAVIOUR_SIDE,
    REVIEW_REQUESTED,
    REVIEW_DECIDED,
)
