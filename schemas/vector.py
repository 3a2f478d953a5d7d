"""Vectors on the wire: an object that names its space, so that two encoders' vectors are never mixed."""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct

from schemas.bounds import DIM_MAX, ShortText, Word

INT8_SCALE = 127.0
"""A unit vector's components lie in [-1, 1]; 127 steps a side keep the cosine within 0.01 at 384 dimensions."""

_CODES = {"float32": "f", "int8": "b"}


class Vector(Struct, frozen=True):
    """A dense vector.

    space: encoder version that made it; vectors of different spaces are never compared. dtype: float32
    or int8 (the value is then the step / 127). data: base64 of `dim` little-endian values of `dtype`.
    """

    space: ShortText
    dtype: Word
    dim: Annotated[int, Meta(ge=1, le=DIM_MAX, description="Number of components.")]
    data: str


def pack_float32(space: str, values: Sequence[float]) -> Vector:
    """float32 vector of `len(values)` components."""
    return _pack(space, "float32", array("f", values), len(values))


def pack_int8(space: str, values: Sequence[float]) -> Vector:
    """int8 vector of a unit-length input; components outside [-1, 1] are clipped."""
    steps = array("b", (max(-127, min(127, round(v * INT8_SCALE))) for v in values))
    return _pack(space, "int8", steps, len(values))


def unpack(vector: Vector) -> list[float]:
    """The components as floats. Raises ValueError for an unknown dtype, or when `data` does not hold `dim` values."""
    if vector.dtype not in _CODES:
        raise ValueError(f"vector of space {vector.space} has dtype {vector.dtype!r}; known: {', '.join(_CODES)}")
    items: array[float] | array[int] = array(_CODES[vector.dtype])
    items.frombytes(base64.b64decode(vector.data, validate=True))
    if len(items) != vector.dim:
        raise ValueError(f"vector of space {vector.space} says dim {vector.dim} but holds {len(items)} values")
    if sys.byteorder == "big":
        items.byteswap()
    return [v / INT8_SCALE for v in items] if vector.dtype == "int8" else list(items)


def _pack(space: str, dtype: str, items: array[float] | array[int], dim: int) -> Vector:
    if sys.byteorder == "big":
        items.byteswap()
    return Vector(space, dtype, dim, base64.b64encode(items.tobytes()).decode("ascii"))
