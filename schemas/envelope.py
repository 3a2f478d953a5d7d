"""CloudEvents 1.0 in binary mode: attributes as Kafka headers, the data as the record's value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from msgspec import Struct

from schemas.bounds import ID_MAX, TEXT_MAX, TIME_AHEAD_MS, TIME_MIN
from schemas.errors import Reason, RecordError

SPEC_VERSION = b"1.0"
JSON = b"application/json"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
STRUCTURED = "application/cloudevents"
TIME_TEXT_MAX = 64
"""The longest RFC 3339 time, in nanoseconds and with an offset, has 35 characters."""
TRACEPARENT_MAX = 128
"""W3C trace context: version 00 has 55 characters; a later version may append."""

Headers = Sequence[tuple[str, bytes | None]]


class Envelope(Struct, frozen=True):
    """The attributes of one event. time: ms since 1970 UTC. traceparent: W3C, passed on unread."""

    id: str
    type: str
    source: str
    time: int
    traceparent: str = ""


def headers_of(envelope: Envelope) -> list[tuple[str, bytes]]:
    """Kafka headers of an outgoing event."""
    headers = [
        ("ce_specversion", SPEC_VERSION),
        ("ce_id", envelope.id.encode()),
        ("ce_type", envelope.type.encode()),
        ("ce_source", envelope.source.encode()),
        ("ce_time", rfc3339(envelope.time).encode()),
        ("content-type", JSON),
    ]
    if envelope.traceparent:
        headers.append(("traceparent", envelope.traceparent.encode()))
    return headers


def read_envelope(headers: Headers, now_ms: int) -> Envelope:
    """Attributes of an incoming record.

    Raises RecordError: missing-header when one of ce_id, ce_type, ce_source, ce_time is not there,
    invalid-header when one is not text or too long or the version is not 1.0, implausible-time when
    ce_time lies before 2000 or more than a day after `now_ms`, unsupported-framing for a content
    type that is not JSON in binary mode. A traceparent that cannot be one is dropped, as W3C asks.
    """
    found = dict(headers)
    if found.get("content-type") != JSON or found.get("ce_specversion") != SPEC_VERSION:
        _check_form(found)
    when = parse_time(_text(found, "ce_time", TIME_TEXT_MAX), "ce_time")
    if not TIME_MIN <= when <= now_ms + TIME_AHEAD_MS:
        check_time(when, now_ms, "ce_time")
    return Envelope(
        _text(found, "ce_id", ID_MAX),
        _text(found, "ce_type", ID_MAX),
        _text(found, "ce_source", TEXT_MAX),
        when,
        _traceparent(found.get("traceparent")),
    )


def header(headers: Iterable[tuple[str, bytes | None]], name: str) -> bytes | None:
    """Last value of one header, without building a mapping."""
    value: bytes | None = None
    for key, found in headers:
        if key == name:
            value = found
    return value


def check_time(when_ms: int, now_ms: int, field: str) -> None:
    """Refuse a time before 2000 or more than a day ahead of `now_ms`."""
    if when_ms < TIME_MIN or when_ms > now_ms + TIME_AHEAD_MS:
        rule = "a time between 2000-01-01 and one day from now (ms since 1970 UTC)"
        raise RecordError(Reason.IMPLAUSIBLE_TIME, field, when_ms, rule)


def rfc3339(when_ms: int) -> str:
    """`2026-01-31T09:00:00.123Z`."""
    moment = datetime.fromtimestamp(when_ms / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{when_ms % 1000:03d}Z"


def parse_time(text: str, field: str) -> int:
    """RFC 3339 to ms since 1970 UTC; a time without an offset is refused, for it names no moment."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise RecordError(Reason.INVALID_HEADER, field, text, "an RFC 3339 time with an offset")
    since = moment - EPOCH
    return since.days * 86_400_000 + since.seconds * 1_000 + since.microseconds // 1_000


def _check_form(found: dict[str, bytes | None]) -> None:
    content = found.get("content-type")
    if content and content != JSON:
        text = content.decode("latin-1").lower()
        if text.startswith(STRUCTURED) or "json" not in text.partition(";")[0]:
            rule = "application/json with the CloudEvents attributes as headers (binary mode)"
            raise RecordError(Reason.UNSUPPORTED_FRAMING, "content-type", content, rule)
    version = found.get("ce_specversion")
    if version and version != SPEC_VERSION:
        raise RecordError(Reason.INVALID_HEADER, "ce_specversion", version, "CloudEvents 1.0")


def _traceparent(raw: bytes | None) -> str:
    if raw is None or len(raw) > TRACEPARENT_MAX or not raw.isascii():
        return ""
    return raw.decode("ascii")


def _text(found: dict[str, bytes | None], name: str, limit: int) -> str:
    raw = found.get(name)
    if not raw:
        raise RecordError(Reason.MISSING_HEADER, name, raw, "a CloudEvents header in binary mode is required")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise RecordError(Reason.INVALID_HEADER, name, raw, "UTF-8 text") from None
    if len(text) > limit:
        raise RecordError(Reason.INVALID_HEADER, name, text, f"at most {limit} characters")
    return text
