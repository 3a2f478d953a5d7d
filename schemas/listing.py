"""`listing-enriched` and `listing-facts`: what shangxin says about a product, and the part that joins need."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from schemas.bounds import Count, Id, Millis, Unit
from schemas.product import RawListing
from schemas.vector import Vector

ENRICHED_TYPE = "listing.enriched"
WITHDRAWN_TYPE = "listing.withdrawn"
FACTS_TYPE = "listing.facts"
REQUEST_TYPE = "enrichment.requested"


class Revision(Struct, frozen=True, order=True):
    """Total order of a product's records: the higher wins. Compared field by field from the first.

    epoch: the configured source epoch; offset: of the source snapshot in `product-created`;
    attempt: 0 for the event itself, then one more for each re-enrichment of that snapshot.
    """

    epoch: Count
    offset: Count
    attempt: Count = 0


class Status(StrEnum):
    """What a consumer should do with the record.

    enriched: use it. degraded: use the source fields, model values may be missing, a better
    revision follows. in_review: do not show the listing until a later revision. rejected: hide it;
    the record carries no harmful value.
    """

    ENRICHED = "enriched"
    DEGRADED = "degraded"
    IN_REVIEW = "in_review"
    REJECTED = "rejected"


class ProducerKind(StrEnum):
    """Who said a value."""

    MODEL = "model"
    SELLER = "seller"
    RULE = "rule"
    PERSON = "person"


class SourceEvent(Struct, frozen=True, kw_only=True):
    """The record that this one was made from. `time` is its `ce_time` in ms."""

    id: str
    type: str
    source: str
    topic: str
    partition: Count
    offset: Count
    time: Millis


class Producer(Struct, frozen=True, omit_defaults=True):
    """Origin of a value: its kind, and the name and version of the model, rule, seller or person."""

    kind: str
    name: str
    version: str = ""


class Evidence(Struct, frozen=True):
    """Where a value stands in the listing: field name and half-open range in code points."""

    field: str
    start: Count
    end: Count


class CategoryGuess(Struct, frozen=True):
    """A taxonomy node: its id, the names from the root, and the calibrated score."""

    node: str
    path: list[str]
    score: Unit


class Category(Struct, frozen=True, kw_only=True):
    """The chosen node (always a node of `taxonomy`), and the runners-up by falling score."""

    taxonomy: str
    node: str
    path: list[str]
    score: Unit
    producer: Producer
    runners_up: list[CategoryGuess] = []


class Attribute(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One value. `disagrees` holds what another producer said of the same name, where it differs."""

    name: str
    value: str
    score: Unit
    producer: Producer
    evidence: Evidence | None = None
    disagrees: list[str] = []


class Keyword(Struct, frozen=True, omit_defaults=True):
    """A word or phrase of the listing itself, with the place where it stands."""

    text: str
    score: Unit
    evidence: Evidence | None = None


class Judgement(Struct, frozen=True, kw_only=True):
    """A score in [0, 1] with the reasons for it. quality: 1 is best. safety: 1 is harmless."""

    score: Unit
    reasons: list[str]
    producer: Producer


class Language(Struct, frozen=True):
    """Language of the listing's text: primary subtag, score, and who said so."""

    code: str
    score: Unit
    producer: Producer


class Times(Struct, frozen=True):
    """ms since 1970 UTC: the source event's time, its arrival at the worker, and the publication."""

    event: Millis
    received: Millis
    published: Millis


class EnrichedListing(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The full enriched listing; a newer revision replaces it, a tombstone withdraws it.

    Model fields are absent where the model could not answer (`degraded`), and where the listing
    was refused (`rejected`). embedding: 384 components, unit length. models: model name to version.
    """

    product_id: Id
    revision: Revision
    status: str
    source: SourceEvent
    listing: RawListing
    times: Times
    reasons: list[str] = []
    language: Language | UnsetType = UNSET
    category: Category | UnsetType = UNSET
    attributes: list[Attribute] = []
    keywords: list[Keyword] = []
    quality: Judgement | UnsetType = UNSET
    safety: Judgement | UnsetType = UNSET
    embedding: Vector | UnsetType = UNSET
    models: dict[str, str] = {}


class ListingFacts(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The few hundred bytes of an enriched listing that joins need.

    withdrawn: the product is gone; the record stays so that a late request cannot bring it back.
    event_id: of the newest source event, earlier_ids: of those before it, newest first: so that one that
    upstream repeats is known, also when another event came in between.
    category: node ids from the root to the chosen node. attributes: normalised `name=value`.
    price_band: `CUR:k` with k = floor(4 log10 price), four bands a decade. embedding: int8.
    """

    product_id: Id
    revision: Revision
    event_id: str = ""
    earlier_ids: list[str] = []
    withdrawn: bool = False
    category: list[str] = []
    brand: str = ""
    attributes: list[str] = []
    price_band: str = ""
    language: str = ""
    launched_at: Millis = 0
    embedding: Vector | UnsetType = UNSET


class RequestKind(StrEnum):
    """Why a listing is enriched again. Open."""

    RETRY = "retry"
    BACKFILL = "backfill"
    REPLAY = "replay"
    REVIEW = "review"


class EnrichmentRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Enrich again: carries the whole source snapshot, so that it needs nothing else.

    revision: the revision that the result will have; attempt is at least 1. not_before: ms, the
    request is not worked on earlier. The key is the product id.
    """

    product_id: Id
    kind: str
    revision: Revision
    source: SourceEvent
    listing: RawListing
    requested_at: Millis
    not_before: Millis = 0
    tries: Annotated[int, Meta(ge=1)] = 1
