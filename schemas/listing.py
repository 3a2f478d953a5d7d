"""`listing-enriched` and `listing-facts`: what shangxin says about a product, and the part that joins need."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from schemas.bounds import INT_MAX, Count, Id, Millis, ShortText, Text, Unit, Word
from schemas.product import RawListing
from schemas.vector import Vector

ENRICHED_TYPE = "listing.enriched"
WITHDRAWN_TYPE = "listing.withdrawn"
FACTS_TYPE = "listing.facts"
REQUEST_TYPE = "enrichment.requested"


class Revision(Struct, frozen=True, order=True):
    """Total order of a product's records: the higher wins. Compared field by field from the first.

    epoch: the configured source epoch, from 0. offset: offset of the source snapshot in
    `product-created`. attempt: number of times that snapshot was enriched again, 0 for the event itself.
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
    """The record that this one was made from.

    id: its `ce_id`. type: its `ce_type`. source: its `ce_source`. topic: where it stood. partition: partition
    of that topic. offset: offset there. time: its `ce_time`, ms since 1970 UTC.
    """

    id: ShortText
    type: ShortText
    source: ShortText
    topic: ShortText
    partition: Count
    offset: Count
    time: Millis


class Producer(Struct, frozen=True, omit_defaults=True):
    """Origin of a value.

    kind: model, seller, rule or person. name: of the model, rule, seller or person. version: of the model
    or rule; empty for seller and person.
    """

    kind: Word
    name: ShortText
    version: Text = ""


class Evidence(Struct, frozen=True):
    """Where a value stands in the listing.

    field: name of the field (title, description, attributes.NAME). start: first code point, from 0.
    end: the code point after the last (half open).
    """

    field: ShortText
    start: Count
    end: Count


class CategoryGuess(Struct, frozen=True):
    """A taxonomy node.

    node: its id. path: names from the root, in the listing's language. score: calibrated, 0 to 1.
    """

    node: ShortText
    path: list[str]
    score: Unit


class Category(Struct, frozen=True, kw_only=True):
    """The chosen node.

    taxonomy: version of the taxonomy it is a node of. node: its id. path: names from the root, in the
    listing's language. score: calibrated, 0 to 1. producer: who chose. runners_up: by falling score.
    """

    taxonomy: ShortText
    node: ShortText
    path: list[str]
    score: Unit
    producer: Producer
    runners_up: list[CategoryGuess] = []


class Disagreement(Struct, frozen=True, kw_only=True):
    """What another producer said of the same name, where it differs from the value that won.

    value: theirs. score: theirs, 0 to 1. producer: who said it.
    """

    value: Text
    score: Unit
    producer: Producer


class Verdict(StrEnum):
    """What the listing's text says to a value that was given beside it.

    entailed: it says the same. contradicted: it says otherwise. unknown: it does not tell.
    """

    ENTAILED = "entailed"
    CONTRADICTED = "contradicted"
    UNKNOWN = "unknown"


class Check(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A seller's value compared with the listing's text.

    verdict: entailed, contradicted or unknown. score: its probability, 0 to 1. producer: who compared.
    evidence: the stretch that speaks to it; null where none does.
    """

    verdict: Word
    score: Unit
    producer: Producer
    evidence: Evidence | None = None


class Attribute(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One value of one attribute. Seller over model, person over both.

    name: of the attribute. value: as it stands in the listing or as given. score: 0 to 1; 1 for what a
    seller or a person said. producer: who said it. evidence: where it stands; null when it stands
    nowhere in the text. disagrees: what others said. check: a seller's value compared with the text; null
    for other values and where no model answered.
    """

    name: ShortText
    value: Text
    score: Unit
    producer: Producer
    evidence: Evidence | None = None
    disagrees: list[Disagreement] = []
    check: Check | None = None


class Keyword(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A word or phrase of the listing itself.

    text: as it stands there. score: 0 to 1. producer: who chose it. evidence: where it stands first.
    """

    text: ShortText
    score: Unit
    producer: Producer
    evidence: Evidence | None = None


class Judgement(Struct, frozen=True, kw_only=True):
    """A score with the reasons for it.

    score: 0 to 1; quality: 1 is best; safety: 1 is harmless. reasons: names of what lowered it, bounded
    set. producer: who judged.
    """

    score: Unit
    reasons: list[str]
    producer: Producer


class Language(Struct, frozen=True):
    """Language of the listing's text.

    code: primary subtag. score: 0 to 1. producer: who said so.
    """

    code: ShortText
    score: Unit
    producer: Producer


class Times(Struct, frozen=True):
    """When it happened, came in and went out.

    event: the source event's `ce_time`, ms since 1970 UTC. received: its arrival at the worker, ms since
    1970 UTC. published: when this was sent, ms since 1970 UTC.
    """

    event: Millis
    received: Millis
    published: Millis


class EnrichedListing(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The full enriched listing; a newer revision replaces it, a tombstone withdraws it.

    revision: the higher wins. status: one of Status, which says what to do with the record. source: the
    record it was made from. listing: the snapshot as it came, absent when rejected. times: when.
    reasons: why the status is what it is; empty for enriched. language: of the text. category: in the
    taxonomy. attributes: best first. keywords: best first. quality: of the listing as a text. safety: 1
    is harmless. embedding: float32, 384 components, unit length. models: model name to version.

    Absent fields: the model could not answer (`degraded`), or the listing was refused (`rejected`: such a
    record carries no harmful value, so neither `listing` nor what was read from it).
    """

    product_id: Id
    revision: Revision
    status: Word
    source: SourceEvent
    times: Times
    listing: RawListing | UnsetType = UNSET
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

    revision: of the enriched listing. event_id: digest of source and id of the newest source event;
    earlier_ids: of those before it, newest first, so that one that upstream repeats is known, also when
    another came in between.
    withdrawn: the product is gone; the record stays so that a late request cannot bring it back.
    category: node ids from the root to the chosen node. brand: normalised (NFKC, case folded).
    attributes: `name=value`, normalised likewise. price_band: `CUR:k` with k = floor(4 log10 price), four
    bands a decade; empty without a price. language: primary subtag. launched_at: `ce_time` of the first
    snapshot since the last withdrawal, ms since 1970 UTC. embedding: int8, absent when there is none.
    """

    product_id: Id
    revision: Revision
    event_id: Text = ""
    earlier_ids: list[Text] = []
    withdrawn: bool = False
    category: list[str] = []
    brand: Text = ""
    attributes: list[str] = []
    price_band: Text = ""
    language: Text = ""
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

    kind: one of RequestKind. revision: the revision that the result will have; attempt is at least 1.
    source: the record that the snapshot came from. listing: the snapshot. requested_at: ms since 1970
    UTC. not_before: ms since 1970 UTC; the request is not worked on earlier. tries: number of tries, this one
    included.
    """

    product_id: Id
    kind: Word
    revision: Revision
    source: SourceEvent
    listing: RawListing
    requested_at: Millis
    not_before: Millis = 0
    tries: Annotated[int, Meta(ge=1, le=INT_MAX)] = 1
