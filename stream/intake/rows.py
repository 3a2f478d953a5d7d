"""A line of JSON to a record: wrapped `{topic, key, type, value, ...}`, or a bare listing or action."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from schemas.behaviour import BEHAVIOUR_TYPE
from schemas.codec import Codec
from schemas.envelope import Envelope, Headers, headers_of, parse_time
from schemas.errors import Reason, RecordError
from schemas.product import ProductEventType
from schemas.topics import PRODUCT_CREATED, TOPICS, USER_BEHAVIOUR, Topic
from schemas.validate import read_behaviour, read_product

SOURCE = "shangxin/emit"
"""`ce_source` where a line names none."""

_BY_NAME = {topic.name: topic for topic in TOPICS}
_CODECS = {topic.name: Codec(topic.value) for topic in TOPICS if topic.value is not None}


class Wrapped(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line that says where it goes.

    topic: without prefix; absent: by the value's fields. key: absent: the value's id; null: none.
    type, id, source, time: the CloudEvents attributes; time in RFC 3339. headers: further headers, or
    others in the place of those. value: any JSON, sent as it stands; null is a tombstone; raw is text
    that is sent instead of a value, for records that are no JSON.
    """

    value: Raw | UnsetType = UNSET
    raw: str | UnsetType = UNSET
    topic: str | UnsetType = UNSET
    key: str | UnsetType | None = UNSET
    type: str | UnsetType = UNSET
    id: str | UnsetType = UNSET
    source: str = SOURCE
    time: str | UnsetType = UNSET
    headers: dict[str, str | None] = {}


class Peek(Struct, frozen=True):
    """The fields of a value that say what it is; anything else in it is left to the validation."""

    product_id: Any = UNSET
    user_id: Any = UNSET
    action: Any = UNSET
    event_time: Any = UNSET
    title: Any = UNSET


class Outgoing(Struct, frozen=True, kw_only=True):
    """A record ready to send. topic: without prefix."""

    topic: Topic
    key: bytes | None
    value: bytes | None
    headers: Headers


_WRAPPED = Codec(Wrapped)
_PEEK = msgspec.json.Decoder(Peek)
_WRAPPER_NAMES = frozenset(("value", "raw"))
_NAMES = msgspec.json.Decoder(dict[str, Raw])


def numbered(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Lines that hold something, with their numbers from 1."""
    for number, line in enumerate(lines, 1):
        if text := line.strip():
            yield number, text


def read_line(line: bytes, now_ms: int, topic: str = "") -> Outgoing:
    """The record that a line describes, not yet checked. topic: where a line does not say and its fields do not.

    Raises RecordError when the line does not say what it is, or names a topic that is not there.
    """
    wrapped = _wrapped(line)
    value = None if isinstance(wrapped.value, UnsetType) else bytes(wrapped.value)
    if isinstance(wrapped.raw, str):
        value = wrapped.raw.encode("utf-8", "surrogatepass")
    value = None if value == b"null" else value
    peek = _peek(value)
    target = _topic(wrapped, peek, topic)
    key = _key(wrapped, peek, target)
    return Outgoing(topic=target, key=key, value=value, headers=_headers(wrapped, peek, target, now_ms))


def check(record: Outgoing, now_ms: int) -> None:
    """Refuse what a worker would refuse. Raises RecordError that names field, value and rule."""
    if record.topic is PRODUCT_CREATED:
        read_product(record.headers, record.key, record.value, now_ms)
    elif record.topic is USER_BEHAVIOUR:
        read_behaviour(record.headers, record.key, record.value, now_ms)
    elif record.value is not None and record.topic.name in _CODECS:
        _CODECS[record.topic.name].decode(record.value)


def _wrapped(line: bytes) -> Wrapped:
    try:
        names = _NAMES.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        names = {}
    if _WRAPPER_NAMES & names.keys():
        return _WRAPPED.decode(line)
    return Wrapped(value=Raw(line))


def _peek(value: bytes | None) -> Peek:
    try:
        return _PEEK.decode(value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Peek()


def _topic(wrapped: Wrapped, peek: Peek, default: str) -> Topic:
    name = wrapped.topic or default
    if not name and (peek.action is not UNSET or wrapped.type == BEHAVIOUR_TYPE):
        return USER_BEHAVIOUR
    if not name and (peek.product_id is not UNSET or peek.title is not UNSET):
        return PRODUCT_CREATED
    if not name:
        rule = "a listing (product_id, title), an action (user_id, action), or a line that names its topic"
        raise RecordError(Reason.MISSING_FIELD, "$.topic", None, rule)
    if name not in _BY_NAME:
        raise RecordError(Reason.INVALID_FIELD, "$.topic", name, f"one of {', '.join(sorted(_BY_NAME))}")
    return _BY_NAME[str(name)]


def _key(wrapped: Wrapped, peek: Peek, topic: Topic) -> bytes | None:
    key = wrapped.key
    if isinstance(key, UnsetType):
        key = getattr(peek, topic.key)
    return key.encode("utf-8", "surrogatepass") if isinstance(key, str) else None


def _headers(wrapped: Wrapped, peek: Peek, topic: Topic, now_ms: int) -> Headers:
    default = BEHAVIOUR_TYPE if topic is USER_BEHAVIOUR else ProductEventType.CREATED.value
    envelope = Envelope(
        id=wrapped.id if isinstance(wrapped.id, str) else str(uuid.uuid4()),
        type=wrapped.type if isinstance(wrapped.type, str) else default,
        source=wrapped.source,
        time=_time(wrapped, peek, now_ms),
    )
    headers: dict[str, bytes | None] = dict(headers_of(envelope))
    headers |= {name: None if v is None else v.encode() for name, v in wrapped.headers.items()}
    return [(name, value) for name, value in headers.items() if value is not None]


def _time(wrapped: Wrapped, peek: Peek, now_ms: int) -> int:
    if isinstance(wrapped.time, str):
        return parse_time(wrapped.time, "$.time")
    # An action happened when it says; whether that is a plausible moment is for the validation.
    event_time = peek.event_time
    usable = isinstance(event_time, int) and 0 <= event_time < now_ms
    return event_time if usable else now_ms
