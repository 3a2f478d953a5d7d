"""One call from record to value: what each kind of bad record is told."""

from __future__ import annotations

import json

import msgspec
import pytest

from schemas.behaviour import BEHAVIOUR_TYPE, Action, BehaviourEvent
from schemas.bounds import TIME_AHEAD_MS
from schemas.envelope import Envelope, header, headers_of, parse_time, read_envelope, rfc3339
from schemas.errors import Reason, RecordError, UnknownType
from schemas.product import ProductEventType, RawListing, Withdrawal
from schemas.validate import check_behaviour, check_listing, read_behaviour, read_product

NOW = 1_767_225_600_000
HeaderList = list[tuple[str, bytes | None]]


def _headers(ce_type: str = ProductEventType.CREATED, **changed: bytes | None) -> HeaderList:
    made: dict[str, bytes | None] = dict(headers_of(Envelope("e-1", ce_type, "/shop", NOW, "00-ab-cd-01")))
    made.update(changed)
    return list(made.items())


def _without(name: str) -> HeaderList:
    return [each for each in _headers() if each[0] != name]


def _listing(**fields: object) -> bytes:
    return json.dumps({"product_id": "p", "title": "龙井", **fields}).encode()


def _event(**fields: object) -> bytes:
    return json.dumps({"user_id": "u", "action": "view", "event_time": NOW, **fields}).encode()


def test_a_listing_comes_with_its_envelope() -> None:
    envelope, listing = read_product(_headers(), b"p", _listing(price=3, currency="CNY", language="ZH_cn"), NOW)
    assert envelope == Envelope("e-1", "product.created", "/shop", NOW, "00-ab-cd-01")
    assert isinstance(listing, RawListing)
    assert listing.price == 3.0


@pytest.mark.parametrize("value", [None, b"", b"null", b'{"product_id":"p"}', _listing(reason="sold out")])
def test_a_withdrawal_needs_no_value(value: bytes | None) -> None:
    _, withdrawal = read_product(_headers(ProductEventType.WITHDRAWN), b"p", value, NOW)
    assert isinstance(withdrawal, Withdrawal)
    assert withdrawal.product_id == "p"


@pytest.mark.parametrize(
    ("headers", "key", "value", "reason", "field"),
    [
        ([], b"p", _listing(), Reason.MISSING_HEADER, "ce_time"),
        (_without("ce_id"), b"p", _listing(), Reason.MISSING_HEADER, "ce_id"),
        (_headers(ce_id=b""), b"p", _listing(), Reason.MISSING_HEADER, "ce_id"),
        (_headers(ce_id=b"\xff"), b"p", _listing(), Reason.INVALID_HEADER, "ce_id"),
        (_headers(ce_id=b"x" * 129), b"p", _listing(), Reason.INVALID_HEADER, "ce_id"),
        (_headers(ce_time=b"yesterday"), b"p", _listing(), Reason.INVALID_HEADER, "ce_time"),
        (_headers(ce_time=b"2026-01-01T00:00:00"), b"p", _listing(), Reason.INVALID_HEADER, "ce_time"),
        (_headers(ce_time=b"1970-01-20T00:00:00Z"), b"p", _listing(), Reason.IMPLAUSIBLE_TIME, "ce_time"),
        (_headers(ce_time=b"2026-01-03T00:00:00Z"), b"p", _listing(), Reason.IMPLAUSIBLE_TIME, "ce_time"),
        (_headers(ce_specversion=b"0.3"), b"p", _listing(), Reason.INVALID_HEADER, "ce_specversion"),
        (
            [("content-type", b"avro/binary"), *_without("content-type")],
            b"p",
            _listing(),
            Reason.UNSUPPORTED_FRAMING,
            "content-type",
        ),
        (
            [("content-type", b"application/cloudevents+json"), *_without("content-type")],
            b"p",
            _listing(),
            Reason.UNSUPPORTED_FRAMING,
            "content-type",
        ),
        (_headers("product.melted"), b"p", _listing(), Reason.UNKNOWN_TYPE, "ce_type"),
        (_headers(), None, _listing(), Reason.MISSING_KEY, "key"),
        (_headers(), b"", _listing(), Reason.MISSING_KEY, "key"),
        (_headers(), b"q", _listing(), Reason.KEY_MISMATCH, "key"),
        (_headers(), b"\xff", _listing(), Reason.BAD_ENCODING, "key"),
        (_headers(), b"p\n", _listing(product_id="p\n"), Reason.INVALID_FIELD, "$.product_id"),
        (_headers(), b"p", _listing(seller="s\x00"), Reason.INVALID_FIELD, "$.seller"),
        (_headers(), b"p", None, Reason.MISSING_FIELD, "value"),
        (_headers(), b"p", b"{", Reason.NOT_JSON, "$"),
        (_headers(), b"p", _listing(title=" \u3000\t"), Reason.INVALID_FIELD, "$.title"),
        (_headers(), b"p", _listing(language="tlh"), Reason.INVALID_FIELD, "$.language"),
        (_headers(), b"p", _listing(language=""), Reason.INVALID_FIELD, "$.language"),
        (_headers(), b"p", _listing(language="zhongwen"), Reason.INVALID_FIELD, "$.language"),
        (_headers(), b"p", _listing(price=3), Reason.MISSING_FIELD, "$.currency"),
        (_headers(), b"p", _listing(price=3, currency=None), Reason.MISSING_FIELD, "$.currency"),
        (_headers(), b"p", _listing(price=3, currency="cny"), Reason.INVALID_FIELD, "$.currency"),
        (_headers(), b"p", _listing(currency="CN\n"), Reason.INVALID_FIELD, "$.currency"),
        (_headers("product.withdrawn"), None, None, Reason.MISSING_KEY, "key"),
        (_headers("product.withdrawn"), b"q", b'{"product_id":"p"}', Reason.KEY_MISMATCH, "key"),
        (_headers("product.withdrawn"), b"x" * 129, None, Reason.INVALID_FIELD, "$.product_id"),
        (_headers("product.withdrawn"), b"p\x00", None, Reason.INVALID_FIELD, "$.product_id"),
        (_headers("product.withdrawn"), b"\xff", None, Reason.BAD_ENCODING, "key"),
    ],
)
def test_a_bad_product_record_is_told_why(
    headers: HeaderList, key: bytes | None, value: bytes | None, reason: Reason, field: str
) -> None:
    with pytest.raises(RecordError) as caught:
        read_product(headers, key, value, NOW)
    assert (caught.value.reason, caught.value.field) == (reason, field)
    assert caught.value.rule
    assert isinstance(caught.value, UnknownType) == (reason is Reason.UNKNOWN_TYPE)


@pytest.mark.parametrize(
    ("ce_type", "key", "value", "reason", "field"),
    [
        ("user.dreamt", b"u", _event(), Reason.UNKNOWN_TYPE, "ce_type"),
        (BEHAVIOUR_TYPE, b"u", _event(action="teleport"), Reason.UNKNOWN_TYPE, "$.action"),
        (BEHAVIOUR_TYPE, b"u", _event(action="View It"), Reason.INVALID_FIELD, "$.action"),
        (BEHAVIOUR_TYPE, b"u", _event(action="view\n"), Reason.INVALID_FIELD, "$.action"),
        (BEHAVIOUR_TYPE, b"u", None, Reason.MISSING_FIELD, "value"),
        (BEHAVIOUR_TYPE, None, _event(), Reason.MISSING_KEY, "key"),
        (BEHAVIOUR_TYPE, b"v", _event(), Reason.KEY_MISMATCH, "key"),
        (BEHAVIOUR_TYPE, b"\xc3\x28", _event(), Reason.BAD_ENCODING, "key"),
        (BEHAVIOUR_TYPE, b"u", _event(event_time=NOW // 1000), Reason.INVALID_FIELD, "$.event_time"),
        (BEHAVIOUR_TYPE, b"u", _event(event_time=NOW * 1000), Reason.IMPLAUSIBLE_TIME, "$.event_time"),
        (BEHAVIOUR_TYPE, b"u", _event(event_time=NOW + TIME_AHEAD_MS + 1), Reason.IMPLAUSIBLE_TIME, "$.event_time"),
        (BEHAVIOUR_TYPE, b"u", _event(price=1), Reason.MISSING_FIELD, "$.currency"),
        (BEHAVIOUR_TYPE, b"u", _event(currency="usd"), Reason.INVALID_FIELD, "$.currency"),
        (BEHAVIOUR_TYPE, b"u", _event(quantity=0), Reason.INVALID_FIELD, "$.quantity"),
        (BEHAVIOUR_TYPE, b"u", _event(product_id="p\x07"), Reason.INVALID_FIELD, "$.product_id"),
        (BEHAVIOUR_TYPE, b"u", _event(session_id="\x1b"), Reason.INVALID_FIELD, "$.session_id"),
        (BEHAVIOUR_TYPE, b"u", _event(linked_user_id="\x1b"), Reason.INVALID_FIELD, "$.linked_user_id"),
        (BEHAVIOUR_TYPE, b"\x7f", _event(user_id="\x7f"), Reason.INVALID_FIELD, "$.user_id"),
    ],
)
def test_a_bad_behaviour_record_is_told_why(
    ce_type: str, key: bytes | None, value: bytes | None, reason: Reason, field: str
) -> None:
    with pytest.raises(RecordError) as caught:
        read_behaviour(_headers(ce_type), key, value, NOW)
    assert (caught.value.reason, caught.value.field) == (reason, field)


@pytest.mark.parametrize("action", list(Action))
def test_every_known_action_is_taken(action: Action) -> None:
    value = _event(action=action, language="fr-CA", product_id="商品 1", event_time=NOW + TIME_AHEAD_MS)
    envelope, event = read_behaviour(_headers(BEHAVIOUR_TYPE), b"u", value, NOW)
    assert event.action == action
    assert envelope.id == "e-1"


@pytest.mark.parametrize("price", [float("nan"), float("inf"), -1.0])
def test_a_price_made_in_python_is_checked_too(price: float) -> None:
    with pytest.raises(RecordError, match="finite"):
        check_listing(RawListing(product_id="p", title="t", price=price, currency="CNY"), b"p")
    with pytest.raises(RecordError, match="finite"):
        check_behaviour(
            BehaviourEvent(user_id="u", action="view", event_time=NOW, price=price, currency="CNY"), b"u", NOW
        )


def test_envelope_survives_the_way_there_and_back() -> None:
    envelope = Envelope("e-é", "t", "/s", NOW + 7, "00-ab-cd-01")
    assert read_envelope(headers_of(envelope), NOW) == envelope
    assert header(headers_of(envelope), "ce_type") == b"t"
    assert header([("a", b"1"), ("a", b"2")], "a") == b"2"
    assert header([], "a") is None
    assert msgspec.structs.astuple(envelope)[-1] == "00-ab-cd-01"


@pytest.mark.parametrize("raw", [b"x" * 129, b"\xff", None])
def test_a_traceparent_that_cannot_be_one_is_dropped(raw: bytes | None) -> None:
    assert read_envelope(_headers(traceparent=raw), NOW).traceparent == ""


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2026-01-01T00:00:00Z", NOW),
        ("2026-01-01T08:00:00.250+08:00", NOW + 250),
        ("2025-12-31T23:59:59.999999-00:00", NOW - 1),
        ("1969-12-31T23:59:59.999Z", -1),
    ],
)
def test_times_are_read_to_the_millisecond(text: str, ms: int) -> None:
    assert parse_time(text, "ce_time") == ms
    assert parse_time(rfc3339(ms), "ce_time") == ms
