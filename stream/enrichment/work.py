"""One piece of work: what a record of `product-created` or `enrichment-requests` asks for."""

from __future__ import annotations

from dataclasses import dataclass

from aiokafka.structs import TopicPartition

from schemas.listing import EnrichmentRequest, Revision, SourceEvent
from schemas.product import RawListing, Withdrawal
from stream.kafka.park import RawRecord


@dataclass(frozen=True)
class Work:
    """A validated record. listing: a snapshot to enrich, or a withdrawal. received: ms.

    request: the request that this is, None for an event itself. generation: of the assignment it was
    read in; work of an older one is dropped. record: as it came, should it have to be parked.
    """

    record: RawRecord
    generation: int
    product_id: str
    revision: Revision
    source: SourceEvent
    listing: RawListing | Withdrawal
    received: int
    traceparent: str = ""
    request: EnrichmentRequest | None = None

    @property
    def tp(self) -> TopicPartition:
        """Where the record stands."""
        return TopicPartition(self.record.topic, self.record.partition)
