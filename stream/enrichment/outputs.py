"""Records that go out for one piece of work: their topics, headers, ids and bytes."""

from __future__ import annotations

from msgspec import Struct

from schemas.codec import Codec
from schemas.envelope import Envelope, headers_of
from schemas.listing import (
    ENRICHED_TYPE,
    FACTS_TYPE,
    REQUEST_TYPE,
    WITHDRAWN_TYPE,
    EnrichedListing,
    EnrichmentRequest,
    ListingFacts,
)
from schemas.review import REVIEW_REQUESTED_TYPE, ReviewRequest
from schemas.topics import ENRICHMENT_REQUESTS, LISTING_ENRICHED, LISTING_FACTS, REVIEW_REQUESTED, Topic
from stream.enrichment.work import Work
from stream.kafka.publish import Header

SOURCE = "/shangxin/enrichment"
"""`ce_source` of everything written here."""

_enriched = Codec(EnrichedListing)
_facts = Codec(ListingFacts)
_requests = Codec(EnrichmentRequest)
_reviews = Codec(ReviewRequest)


class Out(Struct, frozen=True):
    """One record to send. value: None is a tombstone."""

    topic: str
    key: bytes
    value: bytes | None
    headers: list[Header]


class Outputs:
    """Makes the records; `prefix` of the topics."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def facts(self, work: Work, facts: ListingFacts, now_ms: int) -> Out:
        """The facts: the state record, first to be written."""
        return self._out(LISTING_FACTS, FACTS_TYPE, work, _facts.encode(facts), now_ms)

    def enriched(self, work: Work, listing: EnrichedListing, now_ms: int) -> Out:
        """The enriched listing."""
        return self._out(LISTING_ENRICHED, ENRICHED_TYPE, work, _enriched.encode(listing), now_ms)

    def withdrawn(self, work: Work, now_ms: int) -> Out:
        """The tombstone of a withdrawn product."""
        return self._out(LISTING_ENRICHED, WITHDRAWN_TYPE, work, None, now_ms)

    def review(self, work: Work, request: ReviewRequest, now_ms: int) -> Out:
        """What a person must look at."""
        return self._out(REVIEW_REQUESTED, REVIEW_REQUESTED_TYPE, work, _reviews.encode(request), now_ms)

    def request(self, work: Work, request: EnrichmentRequest, now_ms: int) -> Out:
        """The next try."""
        return self._out(ENRICHMENT_REQUESTS, REQUEST_TYPE, work, _requests.encode(request), now_ms)

    def _out(self, topic: Topic, type_: str, work: Work, value: bytes | None, now_ms: int) -> Out:
        revision = work.revision
        # Unique for a record and the same when it is written again, so that a reader can tell.
        place = f"{work.source.partition}-{revision.epoch}-{revision.offset}-{revision.attempt}"
        envelope = Envelope(f"{topic.name}-{place}", type_, SOURCE, now_ms, work.traceparent)
        return Out(topic.named(self._prefix), work.product_id.encode(), value, list(headers_of(envelope)))
