"""Bytes to types and back. Every refusal names the field, the value that stood there and the rule."""

from __future__ import annotations

import json
import re
from typing import Any, Generic, TypeVar

import msgspec

from schemas.errors import Reason, RecordError

T = TypeVar("T")

_AT = re.compile(r"^(?P<rule>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)
_MISSING = re.compile(r"missing required field `([^`]+)`")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")

CONFLUENT_MAGIC = 0
"""First byte of the Confluent framing: zero, then a 4-byte schema id, then the payload."""
CONFLUENT_PREFIX = 5


class Codec(Generic[T]):
    """Decoder and encoder of one type; made once, for msgspec compiles the type on construction."""

    def __init__(self, type_: type[T]) -> None:
        self.type = type_
        self._decoder = msgspec.json.Decoder(type_)
        self._encoder = msgspec.json.Encoder()

    def decode(self, data: bytes) -> T:
        """The value in `data`, with or without the Confluent framing (JSON payload).

        Raises RecordError: not-json, bad-encoding, missing-field, invalid-field, unsupported-framing.
        """
        body = unframe(data)
        try:
            return self._decoder.decode(body)
        except msgspec.ValidationError as error:
            raise _invalid(error, body) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _malformed(error, body) from None

    def encode(self, value: T) -> bytes:
        """Compact JSON, UTF-8, fields in the order of the type."""
        return self._encoder.encode(value)


def unframe(data: bytes) -> bytes:
    """The payload behind the Confluent framing, or `data` itself. Avro payloads are refused by name."""
    if not data or data[0] != CONFLUENT_MAGIC:
        return data
    if len(data) <= CONFLUENT_PREFIX or data[CONFLUENT_PREFIX : CONFLUENT_PREFIX + 1] not in b'{[ \t\r\n"':
        rule = "the Confluent framing is read with JSON payloads only; Avro needs a registry"
        raise RecordError(Reason.UNSUPPORTED_FRAMING, "$", data[:16], rule)
    return data[CONFLUENT_PREFIX:]


def frame(schema_id: int, data: bytes) -> bytes:
    """`data` in the Confluent framing."""
    return bytes([CONFLUENT_MAGIC]) + schema_id.to_bytes(4, "big") + data


def _invalid(error: msgspec.ValidationError, body: bytes) -> RecordError:
    match = _AT.match(str(error))
    assert match is not None  # the pattern accepts any text
    path, rule = match["path"] or "$", match["rule"]
    missing = _MISSING.search(rule)
    if missing:
        return RecordError(Reason.MISSING_FIELD, f"{path}.{missing[1]}", None, "a required field is not there")
    return RecordError(Reason.INVALID_FIELD, path, _at(body, path), rule)


def _malformed(error: Exception, body: bytes) -> RecordError:
    if isinstance(error, UnicodeDecodeError):
        return RecordError(Reason.BAD_ENCODING, "$", body[:80], "UTF-8 text")
    try:
        lone = _lone_surrogate(json.loads(body), "$")
    except (ValueError, RecursionError):
        lone = None
    if lone is not None:
        path, text = lone
        return RecordError(Reason.BAD_ENCODING, path, text, "no lone surrogate: half a character cannot be stored")
    return RecordError(Reason.NOT_JSON, "$", body[:80], f"a JSON document ({error})")


def _lone_surrogate(value: Any, path: str) -> tuple[str, str] | None:
    if isinstance(value, str):
        return (path, value) if any("\ud800" <= c <= "\udfff" for c in value) else None
    steps: Any = ()
    if isinstance(value, dict):
        steps = [(f"{path}.{k}", v) for k, v in value.items()] + [(f"{path} (name)", k) for k in value]
    elif isinstance(value, list):
        steps = [(f"{path}[{i}]", v) for i, v in enumerate(value)]
    for where, inner in steps:
        if (found := _lone_surrogate(inner, where)) is not None:
            return found
    return None


def _at(body: bytes, path: str) -> object:
    """What stands at a msgspec path; the container where the path says `...` (any key)."""
    try:
        value: Any = msgspec.json.decode(body)
        for name, index in _STEP.findall(path.removeprefix("$")):
            if index == "...":
                return value
            value = value[int(index)] if index else value[name]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, LookupError, TypeError, ValueError):
        return "?"
    return value
