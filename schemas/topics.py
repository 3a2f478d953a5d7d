"""Every topic: its name, key, direction, clean-up, value type. The one list that the rest is generated from."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from schemas.behaviour import BEHAVIOUR_TYPE, BY_PRODUCT_TYPE, BehaviourByProduct, BehaviourEvent
from schemas.features import ITEM_FEATURES_TYPE, USER_FEATURES_TYPE, ItemFeatures, UserFeatures
from schemas.listing import (
    ENRICHED_TYPE,
    FACTS_TYPE,
    REQUEST_TYPE,
    WITHDRAWN_TYPE,
    EnrichedListing,
    EnrichmentRequest,
    ListingFacts,
)
from schemas.product import ProductEventType, RawListing, Withdrawal
from schemas.profile import PROFILE_TYPE, UserProfile
from schemas.review import REVIEW_DECIDED_TYPE, REVIEW_REQUESTED_TYPE, ReviewDecision, ReviewRequest


class Direction(StrEnum):
    """Who writes and who reads, seen from shangxin."""

    IN = "in"
    OUT = "out"
    INTERNAL = "internal"


class Partitions(StrEnum):
    """Topics of one group have the same number of partitions, so that equal keys meet on one worker."""

    PRODUCT = "product"
    USER = "user"


class Message(Struct, frozen=True, kw_only=True):
    """One kind of record of a topic. value: None for a null value (a tombstone) or for bytes without a type here.

    ce_type: empty for those bytes. carried: they are an origin's record, with headers that say why it is here.
    """

    name: str
    ce_type: str
    value: type[Struct] | None
    about: str
    carried: bool = False


class Topic(Struct, frozen=True, kw_only=True):
    """One topic. name: without the prefix. value: of its main message; None where records are carried as they came."""

    name: str
    key: str
    direction: Direction
    compact: bool
    partitions: Partitions
    messages: tuple[Message, ...]
    about: str

    @property
    def value(self) -> type[Struct] | None:
        """Type of the main message's value."""
        return self.messages[0].value

    @property
    def types(self) -> tuple[type[Struct], ...]:
        """Types of all its values."""
        return tuple(dict.fromkeys(m.value for m in self.messages if m.value is not None))

    def named(self, prefix: str) -> str:
        """The name on the broker."""
        return f"{prefix}{self.name}"


def _topic(
    name: str,
    key: str,
    direction: Direction,
    about: str,
    *messages: Message,
    compact: bool = False,
) -> Topic:
    return Topic(
        name=name,
        key=key,
        direction=direction,
        compact=compact,
        partitions=Partitions.USER if key == "user_id" else Partitions.PRODUCT,
        messages=messages,
        about=about,
    )


def _message(ce_type: str, value: type[Struct] | None, about: str) -> Message:
    return Message(name=_name(ce_type), ce_type=ce_type, value=value, about=about)


def _state(origin: str, about: str) -> Message:
    """A record that only the worker that wrote it reads."""
    return Message(name=_name(origin), ce_type="", value=None, about=about)


def _as_it_came(origin: str, about: str) -> Message:
    return Message(name=_name(origin), ce_type="", value=None, about=about, carried=True)


def _name(dotted: str) -> str:
    return "".join(part.capitalize() for part in dotted.replace("-", ".").split("."))


PRODUCT_CREATED = _topic(
    "product-created",
    "product_id",
    Direction.IN,
    "Snapshots of raw listings.",
    _message(ProductEventType.CREATED, RawListing, "A product that is new: the whole listing."),
    _message(ProductEventType.UPDATED, RawListing, "A product that changed: the whole listing again."),
    _message(
        ProductEventType.WITHDRAWN, Withdrawal, "A product that is gone. A null value is taken too; the key says which."
    ),
)
USER_BEHAVIOUR = _topic(
    "user-behaviour",
    "user_id",
    Direction.IN,
    "What users do.",
    _message(BEHAVIOUR_TYPE, BehaviourEvent, "One action of one user."),
)
LISTING_ENRICHED = _topic(
    "listing-enriched",
    "product_id",
    Direction.OUT,
    "Enriched listings, the newest revision of each.",
    _message(ENRICHED_TYPE, EnrichedListing, "The full enriched listing."),
    _message(WITHDRAWN_TYPE, None, "A tombstone: the product was withdrawn."),
    compact=True,
)
LISTING_FACTS = _topic(
    "listing-facts",
    "product_id",
    Direction.INTERNAL,
    "The part of an enriched listing that joins need.",
    _message(FACTS_TYPE, ListingFacts, "The facts of a listing; of a withdrawn one, that it is."),
    compact=True,
)
ENRICHMENT_REQUESTS = _topic(
    "enrichment-requests",
    "product_id",
    Direction.INTERNAL,
    "Listings to be enriched again. A null value asks for nothing.",
    _message(
        REQUEST_TYPE, EnrichmentRequest, "Retry, backfill, replay or a person's decision, with the whole snapshot."
    ),
    compact=True,
)
BEHAVIOUR_BY_PRODUCT = _topic(
    "behaviour-by-product",
    "product_id",
    Direction.INTERNAL,
    "Behaviour that names a product, keyed by it.",
    _message(BY_PRODUCT_TYPE, BehaviourByProduct, "One action on one product."),
)
USER_PROFILE_UPDATED = _topic(
    "user-profile-updated",
    "user_id",
    Direction.OUT,
    "Profiles, the newest of each user. A null value: the user was erased.",
    _message(PROFILE_TYPE, UserProfile, "The full profile of a user."),
    compact=True,
)
ITEM_FEATURES = _topic(
    "item-features",
    "product_id",
    Direction.OUT,
    "Windows of items, the newest of each.",
    _message(ITEM_FEATURES_TYPE, ItemFeatures, "The windows of one item."),
    compact=True,
)
USER_FEATURES = _topic(
    "user-features",
    "user_id",
    Direction.OUT,
    "Windows of users, the newest of each. A null value: the user was erased.",
    _message(USER_FEATURES_TYPE, UserFeatures, "The windows of one user."),
    compact=True,
)
ITEM_FEATURES_STATE = _topic(
    "item-features-state",
    "product_id",
    Direction.INTERNAL,
    "Changelog of the features worker.",
    _state("item.features.state", "The tiles of one item, in the worker's own binary form."),
    compact=True,
)
USER_PROFILE_STATE = _topic(
    "user-profile-state",
    "user_id",
    Direction.INTERNAL,
    "Changelog of the profiles worker.",
    _state("user.profile.state", "What is known of one user, in the worker's own binary form."),
    compact=True,
)
PRODUCT_DLQ = _topic(
    "product-created.dlq",
    "product_id",
    Direction.OUT,
    "Refused product records.",
    _as_it_came("parked.product", "The record as it came, with headers that say why it was refused."),
)
BEHAVIOUR_DLQ = _topic(
    "user-behaviour.dlq",
    "user_id",
    Direction.OUT,
    "Refused behaviour records.",
    _as_it_came("parked.behaviour", "The record as it came, with headers that say why it was refused."),
)
PRODUCT_SIDE = _topic(
    "product-created.side",
    "product_id",
    Direction.OUT,
    "Product records of a type not known here.",
    _as_it_came("unknown.product", "The record as it came, with headers that say what was not known."),
)
BEHAVIOUR_SIDE = _topic(
    "user-behaviour.side",
    "user_id",
    Direction.OUT,
    "Behaviour records of an action not known here.",
    _as_it_came("unknown.behaviour", "The record as it came, with headers that say what was not known."),
)
REVIEW_REQUESTED = _topic(
    "review-requested",
    "product_id",
    Direction.OUT,
    "What a person must look at.",
    _message(REVIEW_REQUESTED_TYPE, ReviewRequest, "A listing held for a person."),
)
REVIEW_DECIDED = _topic(
    "review-decided",
    "product_id",
    Direction.IN,
    "What a person decided.",
    _message(REVIEW_DECIDED_TYPE, ReviewDecision, "A decision on one revision."),
)

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
