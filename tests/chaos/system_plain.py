"""Records as plain values, and their comparison: everything equal, numbers within a tolerance, nothing left out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import msgspec

from schemas.vector import Vector, unpack

INT8_STEP = 1 / 127


def plain(record: object) -> Any:
    """Structs as dictionaries, vectors as lists of numbers."""
    return _unpacked(msgspec.to_builtins(record))


def _unpacked(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"space", "dtype", "dim", "data"}:
            return {"space": value["space"], "dtype": value["dtype"], "numbers": unpack(Vector(**value))}
        return {name: _unpacked(each) for name, each in value.items()}
    return [_unpacked(each) for each in value] if isinstance(value, list | tuple) else value


def unequal(found: Any, expected: Any, tolerance: float, at: str = "$") -> Iterator[str]:
    """Every place in which two plain values differ. tolerance: of floats, relative and absolute; of int8 a step."""
    if isinstance(found, dict) and isinstance(expected, dict):
        if found.get("dtype") == "int8":
            tolerance = INT8_STEP + 1e-6
        for name in sorted(found.keys() | expected.keys()):
            if name not in found or name not in expected:
                yield f"{at}.{name}: {'is not there' if name not in found else 'should not be there'}"
            else:
                yield from unequal(found[name], expected[name], tolerance, f"{at}.{name}")
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        for number, pair in enumerate(zip(found, expected, strict=True)):
            yield from unequal(*pair, tolerance, f"{at}[{number}]")
    elif isinstance(found, float) and isinstance(expected, float):
        if not math.isclose(found, expected, rel_tol=tolerance, abs_tol=tolerance):
            yield f"{at}: {found!r}, recounted {expected!r}"
    elif found != expected:
        yield f"{at}: {found!r}, recounted {expected!r}"
