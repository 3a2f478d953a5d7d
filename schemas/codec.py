"""Bytes to types and back. Every refusal names the field, the value that stood there and the rule.

What JSON leaves open is settled so: the last of several equal names wins; NaN and Infinity are no
JSON; a number out of the range of its type is refused; nesting deeper than the interpreter's
recursion limit, bytes after the document and a byte order mark are refused; unknown fields are
ignored (a newer writer may send them); an integer is written without fraction or exponent.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from schemas.blame import invalid, malformed
from schemas.errors import Reason, RecordError

T = TypeVar("T")

CONFLUENT_MAGIC = 0
"""First byte of the Confluent framing: zero, then a 4-byte schema id, then the payload."""
CONFLUENT_PREFIX = 5
SCHEMA_ID_MAX = 2**32 - 1


class Codec(Generic[T]):
    """Decoder and encoder of one type; made once, for msgspec compiles the type on construction.

    schema_id: id in a Confluent registry; given, what is encoded carries the Confluent framing.
    """

    def __init__(self, type_: type[T], schema_id: int | None = None) -> None:
        self.type = type_
        self._decoder = msgspec.json.Decoder(type_)
        self._encoder = msgspec.json.Encoder()
        self._prefix = b"" if schema_id is None else frame(schema_id, b"")

    def decode(self, data: bytes) -> T:
        """The value in `data`, with or without the Confluent framing (JSON payload).

        Raises RecordError: not-json, bad-encoding, missing-field, invalid-field, unsupported-framing.
        """
        body = unframe(data) if data[:1] == b"\x00" else data
        try:
            return self._decoder.decode(body)
        except msgspec.ValidationError as error:
            raise invalid(error, body, self._decoder) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise malformed(error, body) from None

    def encode(self, value: T) -> bytes:
        """Compact JSON, UTF-8, fields in the order of the type. The bounds are not checked: see `encode_checked`.

        Raises RecordError (bad-encoding) for half a character (a lone surrogate).
        """
        try:
            return self._prefix + self._encoder.encode(value)
        except UnicodeEncodeError as error:
            raise RecordError(Reason.BAD_ENCODING, "$", error.object, "text without lone surrogates") from None

    def encode_checked(self, value: T) -> bytes:
        """As `encode`, and read back, so that nothing leaves that its reader would refuse (NaN, a score of 1.2).

        Costs a decode. Raises RecordError as `decode` does.
        """
        data = self.encode(value)
        self.decode(data)
        return data


def unframe(data: bytes) -> bytes:
    """The JSON document behind the Confluent framing, or `data` itself where it has none.

    Raises RecordError (unsupported-framing) for a payload that is no JSON object or array: Avro or Protobuf.
    """
    if not data or data[0] != CONFLUENT_MAGIC:
        return data
    body = data[CONFLUENT_PREFIX:]
    if body[:1] not in (b"{", b"[") and body.lstrip(b" \t\r\n")[:1] not in (b"{", b"["):
        rule = "a JSON payload behind the Confluent framing; Avro and Protobuf are not read"
        raise RecordError(Reason.UNSUPPORTED_FRAMING, "$", data[:16], rule)
    return body


def frame(schema_id: int, data: bytes) -> bytes:
    """`data` in the Confluent framing. Raises ValueError when the id does not fit four bytes."""
    if not 0 <= schema_id <= SCHEMA_ID_MAX:
        raise ValueError(f"schema id {schema_id} does not fit the four bytes of the Confluent framing")
    return bytes([CONFLUENT_MAGIC]) + schema_id.to_bytes(4, "big") + data
