"""The codec: what is refused, with which reason, and whether the field, the value and the rule are named."""

from __future__ import annotations

import json

import pytest
from msgspec import Struct

from schemas.behaviour import BehaviourEvent
from schemas.bounds import ATTRIBUTES_MAX, TITLE_MAX
from schemas.codec import SCHEMA_ID_MAX, Codec, frame, unframe
from schemas.errors import VALUE_SHOWN, Reason, RecordError, shown
from schemas.listing import EnrichedListing, Revision
from schemas.product import RawListing
from schemas.vector import Vector, pack_float32, pack_int8, unpack

LISTING = Codec(RawListing)
BEHAVIOUR = Codec(BehaviourEvent)


def _with(**fields: object) -> bytes:
    return json.dumps({"product_id": "p", "title": "t", **fields}).encode()


def _refused(data: bytes, codec: Codec[RawListing] | Codec[BehaviourEvent] = LISTING) -> RecordError:
    with pytest.raises(RecordError) as caught:
        codec.decode(data)
    return caught.value


@pytest.mark.parametrize(
    ("data", "reason", "field", "value"),
    [
        (b"\xff\xfe", Reason.BAD_ENCODING, "$", r"b'\xff\xfe'"),
        (b'{"product_id":"p\xff","title":"t"}', Reason.BAD_ENCODING, "$", None),
        (b'\xef\xbb\xbf{"product_id":"p","title":"t"}', Reason.BAD_ENCODING, "$", None),
        (b'{"product_id":"p","title":"a\\ud800"}', Reason.BAD_ENCODING, "$.title", r"'a\ud800'"),
        (b'{"product_id":"p","title":"t","x\\udc00":1}', Reason.BAD_ENCODING, "$ (name)", r"'x\udc00'"),
        (b"", Reason.NOT_JSON, "$", "b''"),
        (b"hello", Reason.NOT_JSON, "$", "b'hello'"),
        (b'{"product_id":"p","title":"t"} x', Reason.NOT_JSON, "$", None),
        (b'{"product_id":"p","title":"t"', Reason.NOT_JSON, "$", None),
        (b'{"product_id":"p","title":"t","price":NaN}', Reason.NOT_JSON, "$", None),
        (b'{"product_id":"p","title":"t","price":Infinity}', Reason.NOT_JSON, "$", None),
        (b"[" * 500_000, Reason.INVALID_FIELD, "$", None),
        (b'{"x":' + b"[" * 500_000, Reason.NOT_JSON, "$", None),
        (b"null", Reason.INVALID_FIELD, "$", "None"),
        (b'{"title":"t"}', Reason.MISSING_FIELD, "$.product_id", "None"),
        (_with(title=3), Reason.INVALID_FIELD, "$.title", "3"),
        (_with(title=""), Reason.INVALID_FIELD, "$.title", "''"),
        (_with(title="x" * 900_000), Reason.INVALID_FIELD, "$.title", None),
        (_with(price=-1), Reason.INVALID_FIELD, "$.price", "-1"),
        (_with(price=1e10), Reason.INVALID_FIELD, "$.price", "10000000000.0"),
        (b'{"product_id":"p","title":"t","price":1e999}', Reason.INVALID_FIELD, "$.price", "'1e999'"),
        (b'{"product_id":"p","title":"t","price":' + b"9" * 5_000 + b"}", Reason.INVALID_FIELD, "$.price", None),
        (_with(images=["http://a/1", "/etc/passwd"]), Reason.INVALID_FIELD, "$.images[1]", "'/etc/passwd'"),
        (_with(images=["file:///etc/passwd"]), Reason.INVALID_FIELD, "$.images[0]", "'file:///etc/passwd'"),
        (_with(images=["http://a/1\n"]), Reason.INVALID_FIELD, "$.images[0]", r"'http://a/1\n'"),
        (_with(attributes={"a": "1", "b": 2, "c": "3"}), Reason.INVALID_FIELD, "$.attributes.b", "2"),
        (_with(attributes={"a": ["1"], "b": ["2", 3]}), Reason.INVALID_FIELD, "$.attributes.b[1]", "3"),
        (_with(attributes={"a": "1", "": "2"}), Reason.INVALID_FIELD, "$.attributes (name)", "''"),
        (
            _with(attributes={str(n): "1" for n in range(ATTRIBUTES_MAX + 1)}),
            Reason.INVALID_FIELD,
            "$.attributes",
            None,
        ),
    ],
)
def test_refused_with_field_and_value(data: bytes, reason: Reason, field: str, value: str | None) -> None:
    error = _refused(data)
    assert (error.reason, error.field) == (reason, field)
    assert value is None or error.value == value
    assert error.rule
    assert len(error.value) <= VALUE_SHOWN
    assert str(error).encode()  # no lone surrogate survives in what is logged or sent


def test_an_error_is_printable_and_short_whatever_names_the_record_holds() -> None:
    for name in ("\udc00", "a\nb", "x" * 10**5):
        for value in ("\ud800", {"\ud800": 1}, 5):
            error = _refused(_with(attributes={name: value}))
            assert str(error).isprintable()
            assert len(str(error)) < 1_000


def test_the_entry_at_fault_is_left_unnamed_where_the_mapping_is_absurdly_large() -> None:
    error = _refused(_with(attributes={**{str(n): "1" for n in range(5_000)}, "bad": 1}))
    assert error.field == "$.attributes[...]"


def test_an_integer_has_no_fraction_and_stays_exact() -> None:
    def event(time: str) -> bytes:
        return f'{{"user_id":"u","action":"view","event_time":{time}}}'.encode()

    assert BEHAVIOUR.decode(event("1767225600000")).event_time == 1_767_225_600_000
    for text in ("1767225600000.0", "1.7e12", "9007199254740992", "99999999999999999999999", "-1", '"1"'):
        assert _refused(event(text), BEHAVIOUR).field == "$.event_time"


def test_the_last_of_equal_names_wins() -> None:
    assert LISTING.decode(b'{"product_id":"a","product_id":"b","title":"t"}').product_id == "b"


def test_unknown_fields_are_ignored_and_null_is_kept_apart_from_absent() -> None:
    kept = LISTING.decode(_with(brand=None, from_the_future={"a": [1]}))
    assert LISTING.encode(kept) == b'{"product_id":"p","title":"t","brand":null}'
    assert LISTING.encode(LISTING.decode(_with())) == b'{"product_id":"p","title":"t"}'


def test_lengths_are_code_points() -> None:
    assert LISTING.decode(_with(title="新" * TITLE_MAX)).title == "新" * TITLE_MAX
    assert _refused(_with(title="新" * (TITLE_MAX + 1))).field == "$.title"


def test_confluent_framing_is_read_and_written() -> None:
    body = _with()
    framed = frame(7, body)
    assert framed[:5] == b"\x00\x00\x00\x00\x07"
    assert unframe(framed) == body
    assert unframe(body) is body
    assert LISTING.decode(framed) == LISTING.decode(body)
    writing = Codec(RawListing, schema_id=7)
    assert writing.encode(LISTING.decode(body)) == frame(7, LISTING.encode(LISTING.decode(body)))
    for wrong in (-1, SCHEMA_ID_MAX + 1):
        with pytest.raises(ValueError, match="does not fit"):
            frame(wrong, body)


@pytest.mark.parametrize("payload", [b"", b"\x02p\x02t", b"\x00\x01", b"p"])
def test_avro_behind_the_framing_is_refused_by_name(payload: bytes) -> None:
    error = _refused(frame(7, payload))
    assert error.reason is Reason.UNSUPPORTED_FRAMING
    assert "Avro" in error.rule


def test_encode_checked_lets_nothing_out_that_a_reader_would_refuse() -> None:
    class Scored(Struct):
        vector: Vector
        revision: Revision

    codec = Codec(Scored)
    good = Scored(pack_int8("s", [1.0]), Revision(0, 1, 0))
    assert codec.decode(codec.encode_checked(good)) == good
    with pytest.raises(RecordError) as caught:
        codec.encode_checked(Scored(good.vector, Revision(0, -1, 0)))
    assert caught.value.field == "$.revision.offset"
    with pytest.raises(RecordError) as caught:
        Codec(RawListing).encode_checked(RawListing(product_id="p", title="a\ud800"))
    assert caught.value.reason is Reason.BAD_ENCODING


def test_a_score_that_is_not_a_number_does_not_go_out() -> None:
    body = b'{"code":"zh","score":null,"producer":{"kind":"model","name":"m"}}'
    enriched = Codec(EnrichedListing)
    with pytest.raises(RecordError) as caught:
        enriched.decode(b'{"product_id":"p","language":' + body + b"}")
    assert caught.value.field == "$.language.score"


def test_shown_is_short_whatever_it_gets() -> None:
    for value in ("x" * 10**6, [1] * 10**6, {str(n): n for n in range(10**4)}, 10**200, b"\xff" * 10**6, None):
        assert len(shown(value)) <= VALUE_SHOWN


def test_vectors_say_what_is_wrong_with_them() -> None:
    assert unpack(pack_float32("s", [0.5, -0.25])) == [0.5, -0.25]
    assert unpack(pack_int8("s", [1.0, -1.0, 2.0])) == [1.0, -1.0, 1.0]
    with pytest.raises(ValueError, match="says dim 3 but holds 1"):
        unpack(Vector("s", "int8", 3, "AA=="))
    with pytest.raises(ValueError, match="dtype 'float16'"):
        unpack(Vector("s", "float16", 1, "AAA="))


def test_a_file_path_as_image_is_told_in_words() -> None:
    with pytest.raises(RecordError, match="an http or https URL, not a path") as refused:
        Codec(RawListing).decode(b'{"product_id":"p","title":"t","images":["/etc/passwd"]}')
    assert "regex" not in str(refused.value)
