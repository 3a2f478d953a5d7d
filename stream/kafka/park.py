"""Parking: a record that cannot be processed goes to the dead-letter topic (or the side topic) as it came."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import structlog

from schemas.deadletter import parked_headers
from schemas.errors import RecordError, UnknownType
from schemas.topics import Topic
from stream.kafka.limits import record_size, topic_limit
from stream.kafka.publish import Header, Publisher
from stream.metrics import Meters
from stream.settings import Settings

NOTE = "shangxin_note"
LOGGED_EVERY = 1000
"""After the first of a reason, one in so many is logged: the counter tells the rest."""
HEADER_KEPT = 4096
"""Bytes of an origin header that are kept when the record does not fit; CloudEvents' are under 1 KiB."""
HEADERS_KEPT = 12
"""Origin headers kept then: the CloudEvents set and the trace are seven."""


class RawRecord(Protocol):
    """A record as the broker gave it (aiokafka's ConsumerRecord is one)."""

    @property
    def topic(self) -> str:
        """Where it stands."""
        ...

    @property
    def partition(self) -> int:
        """Where it stands."""
        ...

    @property
    def offset(self) -> int:
        """Where it stands."""
        ...

    @property
    def key(self) -> bytes | None:
        """As it came."""
        ...

    @property
    def value(self) -> bytes | None:
        """As it came."""
        ...

    @property
    def headers(self) -> Sequence[Header]:
        """As they came."""
        ...


class DeadLetters:
    """Parks records of one stage. The send is acknowledged before `park` returns."""

    def __init__(self, publisher: Publisher, settings: Settings, meters: Meters, dead: Topic, aside: Topic) -> None:
        self._publisher = publisher
        self._meters = meters
        self._dead = dead.named(settings.kafka.topic_prefix)
        self._aside = aside.named(settings.kafka.topic_prefix)
        self._limit = topic_limit(dead, settings)
        self._seen: dict[str, int] = {}
        self._log = structlog.get_logger()

    async def park(self, record: RawRecord, error: RecordError) -> None:
        """Send `record` to the dead-letter topic, or to the side topic when its type is merely unknown.

        Key, value and headers go as they came, followed by the headers of schemas.deadletter. Only a
        record that would not fit loses its value, with a header that says so. Raises SendFailed, Fenced.
        """
        unknown = isinstance(error, UnknownType)
        topic = self._aside if unknown else self._dead
        key, value, headers = fitted(record, error, self._limit)
        # Equal partition counts: the same number keeps the order of a key, and works without one.
        partition = record.partition % await self._publisher.partitions(topic)
        await self._publisher.publish(topic, key=key, value=value, headers=headers, partition=partition)
        outcome = "aside" if unknown else "parked"
        self._meters.counter("shangxin_events_total", topic=record.topic, outcome=outcome).inc()
        if not unknown:
            self._meters.counter("shangxin_parked_total", topic=record.topic, reason=error.reason.value).inc()
        self._tell(record, error, topic)

    def _tell(self, record: RawRecord, error: RecordError, topic: str) -> None:
        count = self._seen[error.reason.value] = self._seen.get(error.reason.value, 0) + 1
        if count % LOGGED_EVERY != 1:
            return
        self._log.warning(
            "parked",
            reason=error.reason.value,
            field=error.field,
            why=str(error),
            to=topic,
            of_this_reason=count,
            source=f"{record.topic}/{record.partition}@{record.offset}",
        )


def fitted(record: RawRecord, error: RecordError, limit: int) -> tuple[bytes | None, bytes | None, list[Header]]:
    """Key, value and headers of the parked record; the value gives way, with a note, when it cannot fit."""
    headers = parked_headers(record.headers, error, record.topic, record.partition, record.offset)
    # A record with neither key nor value cannot be sent by aiokafka: an empty value stands for none.
    value = record.value if record.value is not None or record.key is not None else b""
    if record_size(record.key, value, headers) <= limit:
        return record.key, value, headers
    size = len(record.value or b"")
    note = (
        f"the value of {size} bytes does not fit here; it stands at {record.topic}/{record.partition}@{record.offset}"
    )
    kept = [(name[:256], data[:HEADER_KEPT] if data else data) for name, data in record.headers[:HEADERS_KEPT]]
    headers = parked_headers(kept, error, record.topic, record.partition, record.offset)
    return record.key, b"", [*headers, (NOTE, note.encode())]
