"""Small weights on disk: one npz without pickles and one JSON a head; big matrices as int8 with a scale a row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.errors import Misconfigured

DEFAULT_WEIGHTS = Path(__file__).parent.parent / "weights" / "v1"
FORMAT = 1
INT8_FROM = 50_000
"""Elements from which a matrix is kept in int8; smaller ones in fp16, where nothing is to be gained."""
SCALE = "~scale"
"""Suffix of a matrix's scales; no array of a head has a tilde in its name."""


@dataclass(frozen=True)
class HeadFile:
    """One head as it was fitted. arrays: fp32 (integers and texts as they are). meta: thresholds, scores, sources."""

    arrays: dict[str, NDArray[Any]]
    meta: dict[str, Any]


def save_head(folder: Path, task: str, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> None:
    """Write TASK.npz and TASK.json; the same arrays give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    packed: dict[str, NDArray[Any]] = {}
    for name in sorted(arrays):
        packed |= _pack(name, arrays[name])
    np.savez_compressed(folder / f"{task}.npz", **packed)  # type: ignore[arg-type]
    body = json.dumps({"format": FORMAT, "task": task, **meta}, indent=1, ensure_ascii=False, sort_keys=True)
    (folder / f"{task}.json").write_text(body + "\n", encoding="utf-8")


def load_head(folder: Path, task: str) -> HeadFile:
    """Read what `save_head` wrote. Raises Misconfigured when it is not there, or of another format."""
    try:
        meta = json.loads((folder / f"{task}.json").read_text(encoding="utf-8"))
        with np.load(folder / f"{task}.npz", allow_pickle=False) as arrays:
            packed = dict(arrays)
    except (OSError, ValueError) as error:
        raise Misconfigured(f"{folder}: no readable weights of task {task}: {error}") from None
    if meta.get("format") != FORMAT:
        raise Misconfigured(f"{folder}/{task}.json: format {FORMAT}; got {meta.get('format')!r}")
    return HeadFile({name: _unpack(packed, name) for name in packed if not name.endswith(SCALE)}, meta)


def as_stored(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """What `load_head` will give for them: thresholds are chosen on these, not on what was fitted."""
    packed: dict[str, NDArray[Any]] = {}
    for name, value in arrays.items():
        packed |= _pack(name, value)
    return {name: _unpack(packed, name) for name in arrays}


def _pack(name: str, value: NDArray[Any]) -> dict[str, NDArray[Any]]:
    if value.dtype.kind != "f":
        return {name: value}
    if value.ndim != 2 or value.size < INT8_FROM:
        return {name: value.astype(np.float16)}
    scale = (np.abs(value).max(1, keepdims=True) / 127.0).astype(np.float16).astype(np.float32)
    whole = np.round(value / np.maximum(scale, 1e-12)).clip(-127, 127).astype(np.int8)
    return {name: whole, name + SCALE: scale.astype(np.float16)}


def _unpack(packed: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    value = packed[name]
    if name + SCALE in packed:
        return value.astype(np.float32) * packed[name + SCALE].astype(np.float32)
    return value.astype(np.float32) if value.dtype.kind == "f" else value
