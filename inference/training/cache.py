"""Texts encoded once: features and token states are kept in one SQLite file, named by the encoder and the text."""

from __future__ import annotations

import hashlib
import io
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.model.encoder import Encoded, Encoder
from inference.model.prompt import Prompt

CHUNK = 256
"""Texts between two commits: some seconds of work, and the most that a killed run loses."""
LOCK_S = 60.0
"""A second run that writes to the same file waits this long for a commit, which takes milliseconds."""

Report = Callable[[int, int], None]


def no_report(done: int, total: int) -> None:
    """Says nothing."""


class EncodingCache:
    """Encodes what is not there yet. file None keeps nothing."""

    def __init__(self, encoder: Encoder, encoder_name: str, file: Path | None) -> None:
        self._encoder = encoder
        self._name = encoder_name
        self._keeps = file is not None
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
        self._store = sqlite3.connect(file or ":memory:", timeout=LOCK_S)
        self._store.execute("create table if not exists encoded (key blob primary key, body blob) without rowid")

    def encode(self, texts: Sequence[str], states: bool = False, report: Report = no_report) -> list[Encoded]:
        """Each text, encoded; rounded to fp16, whether it was kept or not. states False: features and pooled only."""
        found: list[Encoded] = []
        for at in range(0, len(texts), CHUNK):
            found += self._chunk(list(texts[at : at + CHUNK]), states)
            report(len(found), len(texts))
        return found

    def ask(
        self, texts: Sequence[str], asked: Sequence[Sequence[str]], report: Report = no_report
    ) -> list[tuple[Prompt, Encoded]]:
        """Each text with the names asked of it; never kept: only development rows are asked, once."""
        found: list[tuple[Prompt, Encoded]] = []
        for at in range(0, len(texts), CHUNK):
            found += self._encoder.ask(texts[at : at + CHUNK], asked[at : at + CHUNK])
            report(len(found), len(texts))
        return found

    def _chunk(self, texts: list[str], states: bool) -> list[Encoded]:
        keys = [self.key(text, states) for text in texts]
        bodies = {key: self._kept(key) for key in keys}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if bodies[key] is None}
        for key, encoded in zip(missing, self._encoder.encode(list(missing.values())), strict=True):
            bodies[key] = pack(encoded, states)
        rows = [(key, bodies[key]) for key in missing if self._keeps]
        with self._store:  # one transaction
            self._store.executemany("insert or replace into encoded values (?, ?)", rows)
        return [_unpack(body) for key in keys if (body := bodies[key]) is not None]

    def _kept(self, key: bytes) -> bytes | None:
        row = self._store.execute("select body from encoded where key = ?", (key,)).fetchone()
        return row[0] if row else None

    def key(self, text: str, states: bool) -> bytes:
        """Name of one encoding."""
        return hashlib.sha256(f"{self._name}\x00{states}\x00{text}".encode("utf-8", "replace")).digest()[:16]


def features_of(encoded: Sequence[Encoded]) -> NDArray[np.float32]:
    """Features of each text, fp32 [N, F]."""
    return np.stack([each.features for each in encoded])


def pack(encoded: Encoded, states: bool) -> bytes:
    """One encoding as an npz without pickles."""
    body = io.BytesIO()
    kept = slice(None) if states else slice(0)
    np.savez(
        body,
        ids=encoded.ids[kept].astype(np.int32),
        offsets=encoded.offsets[kept].astype(np.int32),
        states=encoded.states[kept].astype(np.float16),
        features=encoded.features.astype(np.float16),
        pooled=encoded.pooled.astype(np.float16),
        truncated=np.array(encoded.truncated),
    )
    return body.getvalue()


def _unpack(body: bytes) -> Encoded:
    with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
        ids, offsets = arrays["ids"].astype(np.int64), arrays["offsets"].astype(np.int32)
        states, features, pooled = (arrays[name].astype(np.float32) for name in ("states", "features", "pooled"))
        return Encoded(ids, offsets, states, features, pooled, bool(arrays["truncated"]))
