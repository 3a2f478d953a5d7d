"""How large a record may be: the limit of each topic, and the size of a record before it is sent."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.errors import Reason, RecordError
from schemas.topics import Direction, Topic
from stream.settings import Settings

PARK_HEADROOM = 65_536
"""Bytes a dead-letter or side topic takes above its source, for the headers that say why: a dozen of
at most a few hundred bytes, and the origin's own."""
DERIVED_FACTOR = 4
"""A derived record holds the source listing, the values found in it with where they stand, and a vector
of 2 KB. A listing of two-letter attribute values grows most: each returns as an object of some 100 bytes."""
BATCH_OVERHEAD = 61
"""Header of a record batch, format 2 (KIP-98): the broker's limit is on the batch."""
RECORD_OVERHEAD = 64
"""Upper bound of a record's own varints (length, timestamp, offset, lengths) beside its headers' 10 bytes each."""
HEADER_OVERHEAD = 10


def topic_limit(topic: Topic, settings: Settings) -> int:
    """`max.message.bytes` of one topic."""
    base = settings.topics.max_message_bytes
    if topic.value is None:
        return base + PARK_HEADROOM
    return base if topic.direction is Direction.IN else base * DERIVED_FACTOR


def request_limit(settings: Settings) -> int:
    """The largest record of any topic: what clients must be able to send and fetch."""
    return settings.topics.max_message_bytes * DERIVED_FACTOR + PARK_HEADROOM


def record_size(key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes | None]]) -> int:
    """Upper bound of a record's size on the wire, alone in its batch, uncompressed."""
    named = sum(len(name.encode()) + len(data or b"") + HEADER_OVERHEAD for name, data in headers)
    return BATCH_OVERHEAD + RECORD_OVERHEAD + len(key or b"") + len(value or b"") + named


def check_size(
    topic: str, limit: int, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes | None]]
) -> None:
    """Refuse a record over the topic's limit before it is sent. Raises RecordError too-large."""
    size = record_size(key, value, headers)
    if size > limit:
        rule = f"a record of {topic} has at most {limit:,} bytes with key and headers (max.message.bytes)"
        raise RecordError(Reason.TOO_LARGE, "$", f"{size:,} bytes, key {key!r}", rule)
