"""What a join takes from `listing-facts`: decoded once a product, strings shared, the vector as numbers."""

from __future__ import annotations

import base64
import sys
from dataclasses import dataclass

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from schemas.vector import INT8_SCALE


@dataclass(frozen=True, slots=True)
class Facts:
    """category: node ids from the root. vector: unit length, float32, None where there is none; space: of it."""

    category: tuple[str, ...]
    brand: str
    attributes: tuple[str, ...]
    price_band: str
    language: str
    space: str
    vector: NDArray[np.float32] | None


class _Vector(Struct):
    space: str
    dtype: str
    data: str


class _Record(Struct):
    """The fields of ListingFacts that a join needs; the rest is skipped undecoded."""

    withdrawn: bool = False
    category: list[str] = []
    brand: str = ""
    attributes: list[str] = []
    price_band: str = ""
    language: str = ""
    embedding: _Vector | None = None


_decoder = msgspec.json.Decoder(_Record)


def read_facts(value: bytes) -> Facts | None:
    """Facts that can be joined; None where they hold no category: withdrawn, rejected, or still degraded.

    Raises msgspec.DecodeError for a record that is none of listing-facts.
    """
    record = _decoder.decode(value)
    if not record.category:
        return None
    found = record.embedding
    return Facts(
        category=tuple(map(sys.intern, record.category)),
        brand=sys.intern(record.brand),
        attributes=tuple(map(sys.intern, record.attributes)),
        price_band=sys.intern(record.price_band),
        language=sys.intern(record.language),
        space=sys.intern(found.space) if found else "",
        vector=_numbers(found) if found else None,
    )


def _numbers(vector: _Vector) -> NDArray[np.float32]:
    raw = base64.b64decode(vector.data, validate=True)
    if vector.dtype == "int8":
        return np.frombuffer(raw, "<i1").astype(np.float32) / np.float32(INT8_SCALE)
    return np.frombuffer(raw, "<f4").astype(np.float32)
