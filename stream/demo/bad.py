"""Records that are wrong on purpose, one defect each, with the reason for which each must be refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from schemas.behaviour import BEHAVIOUR_TYPE
from schemas.codec import frame
from schemas.envelope import Envelope, headers_of
from schemas.errors import Reason
from schemas.product import ProductEventType
from schemas.topics import PRODUCT_CREATED, USER_BEHAVIOUR
from stream.demo.record import SOURCE_BAD, DemoRecord, Headers
from stream.demo.spread import Window, spread

LONG_TITLE = 900 * 1024
"""Characters: under the topic's 1 MiB, far over what a title may have."""
YEAR_MS = 365 * 86_400_000


class Bad(Struct, frozen=True, kw_only=True):
    """One defect. value: merged over a good value, raw bytes, or None for a tombstone.

    UNSET as a field's value drops it. key: None sends no key, UNSET the right one. headers: replaced
    by name, None drops one; a None mapping sends none at all.
    """

    about: str
    expect: Reason
    value: dict[str, Any] | bytes | None = {}
    key: bytes | UnsetType | None = UNSET
    headers: dict[str, bytes | None] | None = {}


def products(max_message_bytes: int) -> tuple[Bad, ...]:
    """Wrong product records; the last is larger than the topic takes."""
    field, name = Reason.INVALID_FIELD, b"bad-product"
    return (
        Bad(about="not JSON", expect=Reason.NOT_JSON, value=b"title=Blue Mug&price=9.90"),
        Bad(about="JSON cut off in the middle", expect=Reason.NOT_JSON, value=b'{"product_id":"bad","title":"Mu'),
        Bad(about="NaN, which JSON has not", expect=Reason.NOT_JSON, value=b'{"product_id":"bad","price":NaN}'),
        Bad(about="a list instead of an object", expect=field, value=b'["bad","Blue Mug",9.9]'),
        Bad(about="nested 5,000 deep", expect=field, value=b"[" * 5000 + b"]" * 5000),
        Bad(about="price is text", expect=field, value={"price": "9.90元"}),
        Bad(about="title is a list", expect=field, value={"title": ["Blue", "Mug"]}),
        Bad(about="price above a thousand million", expect=field, value={"price": 1.7e15}),
        Bad(about="price below zero", expect=field, value={"price": -1.0}),
        Bad(about="currency is a sign", expect=field, value={"currency": "￥"}),
        Bad(about="no title", expect=Reason.MISSING_FIELD, value={"title": UNSET}),
        Bad(about="price without a currency", expect=Reason.MISSING_FIELD, value={"currency": UNSET}),
        Bad(about="a launch without a value", expect=Reason.MISSING_FIELD, value=None),
        Bad(about="no product id", expect=Reason.MISSING_FIELD, value={"product_id": UNSET}, key=name),
        Bad(about="a 900 KB title", expect=field, value={"title": "超长标题" * (LONG_TITLE // 12)}),
        Bad(about="empty title", expect=field, value={"title": ""}),
        Bad(about="title of blanks", expect=field, value={"title": " \u3000\t "}),
        Bad(about="a language that is not handled", expect=field, value={"language": "tlh"}),
        Bad(about="image is a file path", expect=field, value={"images": ["/srv/upload/1.jpg"]}),
        Bad(about="image is a file URL", expect=field, value={"images": ["file:///C:/pic/1.jpg"]}),
        Bad(about="half a surrogate pair", expect=Reason.BAD_ENCODING, value=_surrogate("title")),
        Bad(about="GBK bytes", expect=Reason.BAD_ENCODING, value='{"product_id":"bad","title":"保温杯"}'.encode("gbk")),
        Bad(about="no key", expect=Reason.MISSING_KEY, key=None),
        Bad(about="key of another product", expect=Reason.KEY_MISMATCH, key=b"some-other-product"),
        Bad(about="no headers", expect=Reason.MISSING_HEADER, headers=None),
        Bad(about="no event id", expect=Reason.MISSING_HEADER, headers={"ce_id": None}),
        Bad(about="time is a word", expect=Reason.INVALID_HEADER, headers={"ce_time": b"yesterday"}),
        Bad(about="time in 1970", expect=Reason.IMPLAUSIBLE_TIME, headers={"ce_time": b"1970-01-18T09:00:00Z"}),
        Bad(about="time in 2199", expect=Reason.IMPLAUSIBLE_TIME, headers={"ce_time": b"2199-01-01T00:00:00Z"}),
        Bad(about="Avro without a registry", expect=Reason.UNSUPPORTED_FRAMING, value=frame(7, b"\x02\x0ebad")),
        Bad(about="an event type not known", expect=Reason.UNKNOWN_TYPE, headers={"ce_type": b"product.teleported"}),
        Bad(
            about="larger than the topic takes",
            expect=Reason.TOO_LARGE,
            value={"description": "x" * max_message_bytes},
        ),
    )


def behaviours(now_ms: int) -> tuple[Bad, ...]:
    """Wrong behaviour records."""
    field, ahead = Reason.INVALID_FIELD, now_ms + YEAR_MS
    return (
        Bad(about="not JSON", expect=Reason.NOT_JSON, value=b"user=7;action=view"),
        Bad(about="time in seconds", expect=field, value={"event_time": 1_700_000_000}),
        Bad(about="time a year ahead", expect=Reason.IMPLAUSIBLE_TIME, value={"event_time": ahead}),
        Bad(about="no action", expect=Reason.MISSING_FIELD, value={"action": UNSET}),
        Bad(about="an action not known", expect=Reason.UNKNOWN_TYPE, value={"action": "teleport"}),
        Bad(about="quantity of nothing", expect=field, value={"quantity": 0}),
        Bad(about="price is text", expect=field, value={"price": "free"}),
        Bad(about="half a surrogate pair", expect=Reason.BAD_ENCODING, value=_surrogate("query")),
        Bad(about="no key", expect=Reason.MISSING_KEY, key=None),
        Bad(about="key of another user", expect=Reason.KEY_MISMATCH, key=b"some-other-user"),
        Bad(about="no headers", expect=Reason.MISSING_HEADER, headers=None),
    )


def records(window: Window, max_message_bytes: int, now_ms: int) -> Iterator[DemoRecord]:
    """All of them, spread over the window. now_ms: the wall clock, for times that lie ahead of it."""
    wrong = products(max_message_bytes)
    for number, (bad, at) in enumerate(zip(wrong, spread(window, len(wrong), 1), strict=True)):
        good = {"product_id": f"bad-product-{number}", "title": "Blue Mug 350 ml", "price": 9.9, "currency": "USD"}
        headers = headers_of(Envelope(f"bad-product-{number}", ProductEventType.CREATED, SOURCE_BAD, at))
        yield _record(bad, PRODUCT_CREATED.name, "product_id", good, headers, at)
    wrong = behaviours(now_ms)
    for number, (bad, at) in enumerate(zip(wrong, spread(window, len(wrong), 2), strict=True)):
        good = {"user_id": f"bad-user-{number}", "action": "view", "event_time": at, "product_id": "sx-zh-0001"}
        headers = headers_of(Envelope(f"bad-user-{number}", BEHAVIOUR_TYPE, SOURCE_BAD, at))
        yield _record(bad, USER_BEHAVIOUR.name, "user_id", good, headers, at)


def _record(bad: Bad, topic: str, id_field: str, good: dict[str, Any], headers: Headers, at: int) -> DemoRecord:
    key = good[id_field].encode() if isinstance(bad.key, UnsetType) else bad.key
    value = bad.value
    if isinstance(value, dict):
        merged = {name: v for name, v in {**good, **value}.items() if v is not UNSET}
        # json, not msgspec: it writes a lone surrogate as an escape, which is how such records arrive.
        value = json.dumps(merged, ensure_ascii=True).encode() if _has_surrogate(merged) else _utf8(merged)
    kept = [] if bad.headers is None else _replaced(headers, bad.headers)
    id_ = dict(headers)["ce_id"].decode()
    return DemoRecord(at=at, topic=topic, key=key, value=value, headers=kept, id=id_, expect=bad.expect.value)


def _replaced(headers: Headers, changed: dict[str, bytes | None]) -> Headers:
    merged = {**dict(headers), **changed}
    return [(name, value) for name, value in merged.items() if value is not None]


def _surrogate(field: str) -> dict[str, Any]:
    return {field: "half a face \ud83d here"}


def _has_surrogate(value: dict[str, Any]) -> bool:
    return any(isinstance(v, str) and any("\ud800" <= c <= "\udfff" for c in v) for v in value.values())


def _utf8(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
