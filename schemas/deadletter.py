"""Headers of a parked record: the set of Kafka Streams (KAFKA-16505), and what a person needs on top."""

from __future__ import annotations

from schemas.envelope import Headers
from schemas.errors import RecordError

EXCEPTION = "__streams.errors.exception"
MESSAGE = "__streams.errors.message"
STACKTRACE = "__streams.errors.stacktrace"
TOPIC = "__streams.errors.topic"
PARTITION = "__streams.errors.partition"
OFFSET = "__streams.errors.offset"
REASON = "shangxin_reason"
FIELD = "shangxin_field"
VALUE = "shangxin_value"
RULE = "shangxin_rule"


def parked_headers(
    original: Headers, error: RecordError, topic: str, partition: int, offset: int
) -> list[tuple[str, bytes | None]]:
    """The record's own headers, followed by why it was parked and where it stood."""
    return [
        *original,
        (EXCEPTION, type(error).__name__.encode()),
        (MESSAGE, str(error).encode()),
        (TOPIC, topic.encode()),
        (PARTITION, str(partition).encode()),
        (OFFSET, str(offset).encode()),
        (REASON, error.reason.value.encode()),
        (FIELD, error.field.encode()),
        (VALUE, error.value.encode()),
        (RULE, error.rule.encode()),
    ]
