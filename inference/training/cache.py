"""Texts encoded once: features and token states are kept on disk, named by the encoder and the text."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.model.encoder import Encoded, Encoder

CHUNK = 512
"""Texts a file: at 96 tokens about 40 MB of states, and the most that a killed run loses."""

Report = Callable[[int, int], None]


def no_report(done: int, total: int) -> None:
    """Says nothing."""


class EncodingCache:
    """Encodes in chunks, each a file. states False keeps features and pooled only."""

    def __init__(self, encoder: Encoder, encoder_name: str, folder: Path | None) -> None:
        self._encoder = encoder
        self._name = encoder_name
        self._folder = folder

    def encode(self, texts: Sequence[str], states: bool = False, report: Report = no_report) -> list[Encoded]:
        """Each text, encoded; fp16 on disk and so fp16-exact in memory, cached or not."""
        found: list[Encoded] = []
        for at in range(0, len(texts), CHUNK):
            found += self._chunk(list(texts[at : at + CHUNK]), states)
            report(len(found), len(texts))
        return found

    def _chunk(self, texts: list[str], states: bool) -> list[Encoded]:
        if self._folder is None:
            return _unpack(_pack(self._encoder.encode(texts), states), states)
        digest = hashlib.sha256("\x00".join([self._name, str(states), *texts]).encode("utf-8", "replace"))
        file = self._folder / f"{digest.hexdigest()[:24]}.npz"
        if not file.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            partial = file.with_suffix(".partial.npz")
            np.savez(partial, **_pack(self._encoder.encode(texts), states))  # type: ignore[arg-type]
            partial.rename(file)
        with np.load(file, allow_pickle=False) as arrays:
            return _unpack(dict(arrays), states)


def features_of(encoded: Sequence[Encoded]) -> NDArray[np.float32]:
    """Features of each text, fp32 [N, F]."""
    return np.stack([each.features for each in encoded])


def _pack(encoded: Sequence[Encoded], states: bool) -> dict[str, NDArray[np.generic]]:
    arrays: dict[str, NDArray[np.generic]] = {
        "features": np.stack([each.features for each in encoded]).astype(np.float16),
        "pooled": np.stack([each.pooled for each in encoded]).astype(np.float16),
        "truncated": np.array([each.truncated for each in encoded]),
    }
    if states:
        arrays["lengths"] = np.array([len(each.ids) for each in encoded])
        arrays["ids"] = np.concatenate([each.ids for each in encoded]).astype(np.int32)
        arrays["offsets"] = np.concatenate([each.offsets for each in encoded])
        arrays["states"] = np.concatenate([each.states for each in encoded]).astype(np.float16)
    return arrays


def _unpack(arrays: dict[str, NDArray[np.generic]], states: bool) -> list[Encoded]:
    rows = len(arrays["features"])
    ends = np.cumsum(arrays["lengths"]) if states else np.zeros(rows, np.int64)
    starts = ends - arrays["lengths"] if states else ends
    nothing = {"ids": np.zeros(0, np.int32), "offsets": np.zeros((0, 2), np.int32), "states": np.zeros((0, 1))}
    tokens = arrays if states else nothing
    features, pooled = arrays["features"].astype(np.float32), arrays["pooled"].astype(np.float32)
    found = []
    for row, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        ids = tokens["ids"][start:end].astype(np.int64)
        offsets = tokens["offsets"][start:end].astype(np.int32)
        held = tokens["states"][start:end].astype(np.float32)
        found.append(Encoded(ids, offsets, held, features[row], pooled[row], bool(arrays["truncated"][row])))
    return found
