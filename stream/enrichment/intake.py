"""From a record to a piece of work: validation, the key's partition, and the revision."""

from __future__ import annotations

import time
from collections.abc import Callable

from schemas.bounds import TIME_AHEAD_MS
from schemas.codec import Codec
from schemas.envelope import Envelope, read_envelope
from schemas.errors import Reason, RecordError, UnknownType
from schemas.listing import REQUEST_TYPE, EnrichmentRequest, Revision, SourceEvent
from schemas.topics import ENRICHMENT_REQUESTS
from schemas.validate import check_key, check_listing, read_product
from stream.enrichment.work import Work
from stream.kafka.park import RawRecord
from stream.kafka.publish import partition_of
from stream.settings import Settings

_requests = Codec(EnrichmentRequest)


def wall_ms() -> int:
    """ms since 1970 UTC."""
    return time.time_ns() // 1_000_000


class WrongPartition(Exception):
    """A well-formed record that stands where its key does not belong; `right` is the partition that it does."""

    def __init__(self, right: int) -> None:
        self.right = right
        super().__init__(f"belongs on partition {right}")


class Intake:
    """Reads the records of both topics. partitions: of each of them, as checked at start."""

    def __init__(self, settings: Settings, partitions: int, now_ms: Callable[[], int] = wall_ms) -> None:
        self._requests_topic = ENRICHMENT_REQUESTS.named(settings.kafka.topic_prefix)
        self._epoch = settings.kafka.source_epoch
        self._partitions = partitions
        self._now_ms = now_ms

    def read(self, record: RawRecord, generation: int) -> Work | None:
        """The work in a record; None for a tombstone among the requests, which asks for nothing.

        Raises RecordError (park it) and WrongPartition (send it on).
        """
        now = self._now_ms()
        if record.topic == self._requests_topic:
            return self._request(record, generation, now)
        envelope, listing = read_product(record.headers, record.key, record.value, now)
        self._check_partition(record)
        return Work(
            record=record,
            generation=generation,
            product_id=listing.product_id,
            revision=Revision(self._epoch, record.offset),
            source=_source(envelope, record),
            listing=listing,
            received=now,
            traceparent=envelope.traceparent,
        )

    def _request(self, record: RawRecord, generation: int, now: int) -> Work | None:
        if record.value is None:
            return None
        envelope, request = read_request(record, now)
        self._check_partition(record)
        if request.revision.epoch > self._epoch:
            rule = f"a source epoch of at most kafka.source_epoch ({self._epoch})"
            raise RecordError(Reason.INVALID_FIELD, "$.revision.epoch", request.revision.epoch, rule)
        return Work(
            record=record,
            generation=generation,
            product_id=request.product_id,
            revision=request.revision,
            source=request.source,
            listing=request.listing,
            received=now,
            traceparent=envelope.traceparent,
            request=request,
        )

    def _check_partition(self, record: RawRecord) -> None:
        assert record.key is not None  # validation refuses a record without one
        right = partition_of(record.key, self._partitions)
        if right != record.partition:
            raise WrongPartition(right)


def read_request(record: RawRecord, now_ms: int) -> tuple[Envelope, EnrichmentRequest]:
    """A request and its envelope. Raises RecordError that names field, value and rule."""
    envelope = read_envelope(record.headers, now_ms)
    if envelope.type != REQUEST_TYPE:
        raise UnknownType("ce_type", envelope.type, f"{REQUEST_TYPE!r}")
    request = _requests.decode(record.value or b"")
    check_key(record.key, request.product_id, "product_id")
    if request.revision.attempt < 1:
        raise RecordError(Reason.INVALID_FIELD, "$.revision.attempt", request.revision.attempt, "at least 1")
    if request.not_before > now_ms + TIME_AHEAD_MS:
        rule = "at most a day ahead, for the requests behind it wait as well"
        raise RecordError(Reason.IMPLAUSIBLE_TIME, "$.not_before", request.not_before, rule)
    check_listing(request.listing, record.key)
    return envelope, request


def _source(envelope: Envelope, record: RawRecord) -> SourceEvent:
    return SourceEvent(
        id=envelope.id,
        type=envelope.type,
        source=envelope.source,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        time=envelope.time,
    )
