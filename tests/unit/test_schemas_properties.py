"""Properties: any bytes give a value or a RecordError and nothing else; what is written is read back the same."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.behaviour import BEHAVIOUR_TYPE
from schemas.codec import Codec, frame
from schemas.deadletter import parked_headers
from schemas.envelope import Envelope, headers_of, parse_time, read_envelope, rfc3339
from schemas.errors import VALUE_SHOWN, RecordError
from schemas.examples import VALUES
from schemas.topics import TOPICS
from schemas.validate import read_behaviour, read_product
from schemas.vector import pack_float32, pack_int8, unpack

NOW = 1_767_225_600_000
TYPES = list(dict.fromkeys(type_ for topic in TOPICS for type_ in topic.types))
CODECS: list[Codec[Any]] = [Codec(type_) for type_ in TYPES]

names = st.text(st.characters(exclude_categories=()), max_size=6)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=()), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)
"""Any JSON, lone surrogates, NaN and huge integers among it."""
FIELDS = sorted({field.name for type_ in TYPES for field in msgspec.structs.fields(type_)})
near = st.dictionaries(st.sampled_from(FIELDS), anything, max_size=8)
"""Objects with our field names and wrong values: they get further into the decoder."""
documents = (anything | near).map(lambda value: json.dumps(value).encode())
blobs = st.binary(max_size=64) | documents | st.builds(frame, st.integers(0, 9), st.binary(max_size=32) | documents)


def _value_or_record_error(call: Any, *arguments: Any) -> None:
    error = _error_of(call, *arguments)
    if error is not None:
        assert error.field
        assert error.rule
        assert len(error.value) <= VALUE_SHOWN
        assert str(error).isprintable()
        assert all(value is None or value.decode() for _, value in parked_headers([], error, "t", 0, 0))


def _error_of(call: Any, *arguments: Any) -> RecordError | None:
    try:
        call(*arguments)
    except RecordError as error:
        return error
    return None


@given(blobs, st.sampled_from(CODECS))
def test_any_bytes_give_a_value_or_a_record_error(data: bytes, codec: Codec[Any]) -> None:
    _value_or_record_error(codec.decode, data)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ce_id", "ce_type", "ce_source", "ce_time", "content-type", "traceparent", "x"]),
            st.none() | st.binary(max_size=40) | st.just(b"2026-01-01T00:00:00Z"),
        ),
        max_size=8,
    )
)
def test_any_headers_give_an_envelope_or_a_record_error(headers: list[tuple[str, bytes | None]]) -> None:
    _value_or_record_error(read_envelope, headers, NOW)


@given(
    st.sampled_from(["product.created", "product.updated", "product.withdrawn", BEHAVIOUR_TYPE, "other"]),
    st.none() | st.binary(max_size=12) | st.just(b"p"),
    st.none() | blobs,
)
def test_any_record_gives_a_value_or_a_record_error(ce_type: str, key: bytes | None, value: bytes | None) -> None:
    headers = headers_of(Envelope("e", ce_type, "/s", NOW))
    _value_or_record_error(read_product, headers, key, value, NOW)
    _value_or_record_error(read_behaviour, headers, key, value, NOW)


@given(near, st.sampled_from(CODECS))
def test_what_is_read_is_written_and_read_back_the_same(fields: dict[str, Any], codec: Codec[Any]) -> None:
    example = next(value for value in VALUES.values() if type(value) is codec.type)
    mixed = {**msgspec.to_builtins(example), **{k: v for k, v in fields.items() if v is None or isinstance(v, str)}}
    try:
        value = codec.decode(json.dumps(mixed).encode())
    except RecordError:
        value = example
    assert codec.decode(codec.encode_checked(value)) == value


@pytest.mark.parametrize("name", VALUES)
def test_examples_survive_the_way_there_and_back(name: str) -> None:
    codec: Codec[Any] = Codec(type(VALUES[name]))
    data = codec.encode(VALUES[name])
    assert codec.decode(data) == VALUES[name]
    assert codec.encode(codec.decode(data)) == data


@given(st.integers(946_684_800_000, 4_102_444_800_000))
def test_times_survive_the_way_there_and_back(when: int) -> None:
    assert parse_time(rfc3339(when), "t") == when


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=64))
def test_vectors_survive_the_way_there_and_back(values: list[float]) -> None:
    assert unpack(pack_float32("s", values)) == values
    assert unpack(pack_int8("s", values)) == pytest.approx(values, abs=0.5 / 127 + 1e-9)
