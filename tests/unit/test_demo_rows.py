"""What `shangxin emit` makes of a line, and what `shangxin watch` makes of a record."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from inference.taxonomy.tree import load_taxonomy
from schemas.deadletter import parked_headers
from schemas.errors import Reason, RecordError
from schemas.profile import Affinities, Decayed, EventStamp, Rfm, UserProfile
from stream.demo import catalogue
from stream.intake.rows import Outgoing, check, numbered, read_line
from stream.view.decay import strongest, value_at
from stream.view.lines import Lines, write_json

NOW = 1_760_000_000_000
LISTING = {"product_id": "p1", "title": "保温杯 500ml", "price": 79.0, "currency": "CNY"}
ACTION = {"user_id": "u1", "action": "view", "event_time": NOW - 5, "product_id": "p1"}
DAY_MS = 86_400_000


def line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def attribute(record: Outgoing, name: str) -> str:
    return (dict(record.headers)[name] or b"").decode()


def test_a_bare_listing_goes_out_as_it_stands() -> None:
    text = line(LISTING)
    record = read_line(text, NOW)
    check(record, NOW)
    assert (record.topic.name, record.key, record.value) == ("product-created", b"p1", text)
    assert attribute(record, "ce_type") == "product.created"


def test_a_bare_action_happens_when_it_says() -> None:
    record = read_line(line(ACTION), NOW)
    check(record, NOW)
    assert (record.topic.name, record.key) == ("user-behaviour", b"u1")
    assert attribute(record, "ce_type") == "user.behaviour"
    assert attribute(record, "ce_time") == "2025-10-09T08:53:19.995Z"


def test_a_wrapped_line_decides_everything() -> None:
    record = read_line(
        line({"value": LISTING, "key": "other", "type": "product.updated", "id": "e1", "source": "shop/7",
              "time": "2026-01-02T03:04:05Z", "headers": {"traceparent": "00-1", "content-type": None}}),
        NOW,
    )  # fmt: skip
    assert record.key == b"other"
    assert [attribute(record, n) for n in ("ce_type", "ce_id", "ce_source")] == ["product.updated", "e1", "shop/7"]
    assert attribute(record, "traceparent") == "00-1"
    assert "content-type" not in dict(record.headers)
    with pytest.raises(RecordError) as caught:
        check(record, NOW * 2)
    assert caught.value.reason is Reason.KEY_MISMATCH


def test_null_is_a_tombstone_and_raw_is_sent_unread() -> None:
    gone = read_line(line({"topic": "product-created", "key": "p1", "type": "product.withdrawn", "value": None}), NOW)
    assert gone.value is None
    check(gone, NOW)
    raw = read_line(line({"topic": "product-created", "key": "p1", "raw": "not json"}), NOW)
    assert raw.value == b"not json"
    with pytest.raises(RecordError) as caught:
        check(raw, NOW)
    assert caught.value.reason is Reason.NOT_JSON


@pytest.mark.parametrize(
    ("text", "field", "rule"),
    [
        (b'{"name": "Mug"}', "$.topic", "names its topic"),
        (b'{"value": {}, "topic": "orders"}', "$.topic", "one of "),
        (b'{"value": {}, "tpoic": "product-created"}', "$", "tpoic"),
        (b"title=Mug", "$.topic", "names its topic"),
    ],
)
def test_a_line_that_says_too_little_is_refused_with_the_rule(text: bytes, field: str, rule: str) -> None:
    with pytest.raises(RecordError, match=rule) as caught:
        read_line(text, NOW)
    assert caught.value.field.startswith(field)


def test_a_line_that_is_no_json_can_be_forced_to_a_topic() -> None:
    record = read_line(b"title=Mug", NOW, "product-created")
    assert (record.value, record.key) == (b"title=Mug", None)


def test_lines_are_numbered_as_an_editor_does() -> None:
    assert list(numbered([b"a\n", b"\n", b" b \r\n"])) == [(1, b"a"), (3, b"b")]


def test_the_demos_own_listings_are_good_rows() -> None:
    for listing in catalogue.listings():
        check(read_line(msgspec.json.encode(listing), NOW), NOW)


def kafka_record(topic: str, value: bytes | None, headers: list[tuple[str, bytes | None]] | None = None) -> Any:
    return SimpleNamespace(
        topic=topic, partition=2, offset=7, key=b"k1", value=value, headers=headers or [], timestamp=NOW
    )


@pytest.fixture(scope="module")
def render() -> Callable[[Any], str]:
    lines = Lines("", load_taxonomy())
    return lambda record: lines.line(record).plain


def test_a_listing_reads_as_title_and_price(render: Callable[[Any], str]) -> None:
    text = render(kafka_record("product-created", line(LISTING), [("ce_type", b"product.created")]))
    assert text.startswith("product-created/2@7 k1 product.created 保温杯 500ml  79 CNY")


def test_a_dead_letter_reads_as_reason_field_value_rule(render: Callable[[Any], str]) -> None:
    error = RecordError(Reason.INVALID_FIELD, "$.price", "9.90元", "Expected `float`")
    headers = parked_headers([("ce_id", b"1")], error, "product-created", 2, 5)
    text = render(kafka_record("product-created.dlq", b"{}", headers))
    assert "invalid-field  $.price '9.90元' must be: Expected `float`  from product-created/2@5" in text


def test_what_a_terminal_would_act_on_is_not_printed(render: Callable[[Any], str]) -> None:
    hostile = {**LISTING, "title": "mug\x1b[31m\x07\u202e"}
    text = render(kafka_record("product-created", json.dumps(hostile).encode()))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\u202e" not in text


@pytest.mark.parametrize("value", [None, b"", b"\xff\xfe", b"[" * 3000, b'{"product_id": 7}'])
def test_any_record_of_any_topic_makes_a_line_and_a_document(render: Callable[[Any], str], value: bytes | None) -> None:
    lines = Lines("", load_taxonomy())
    for topic in ("product-created", "listing-enriched", "listing-facts", "item-features", "elsewhere"):
        record = kafka_record(topic, value, [("x", None), ("y", b"\xff")])
        assert "\n" not in render(record)
        assert json.loads(write_json([lines.document(record)]))["offset"] == 7


def test_a_profile_names_its_categories_and_decays_to_its_own_time(render: Callable[[Any], str]) -> None:
    old, new = Decayed(8.0, NOW - 3 * DAY_MS), Decayed(2.0, NOW)
    profile = UserProfile(
        user_id="u1",
        stamp=EventStamp(0, 0, 1),
        as_of=NOW,
        published=NOW,
        half_life_ms={"category": DAY_MS},
        affinities=Affinities(category={"apparel.tops": old, "no-node": new}),
        counts={},
        rfm=Rfm(),
    )
    text = render(kafka_record("user-profile-updated", msgspec.json.encode(profile)))
    assert "category no-node 2.00, Tops 1.00" in text


def test_decay_halves_every_half_life() -> None:
    assert value_at(Decayed(8.0, 0), 3 * DAY_MS, DAY_MS) == pytest.approx(1.0)
    values = {"a": Decayed(8.0, 0), "b": Decayed(3.0, 2 * DAY_MS), "c": Decayed(1.0, 0)}
    (first, three), (second, two) = strongest(values, 2 * DAY_MS, DAY_MS, 2)
    assert (first, second) == ("b", "a")
    assert [three, two] == pytest.approx([3.0, 2.0])
