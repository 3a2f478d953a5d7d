"""Linear classifiers over the encoder's frozen features and hashed wording, in numpy."""

from __future__ import annotations

import unicodedata
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.tasks.units import UNIT

ROWS = 1 << 14
"""Hashed wordings. 16,384 keep 143 classes in 2.3 MB of int8 before compression, most of it zeros."""
FEATURE_SCALE = 0.03
"""Weight of a standardised feature beside the unit-length vector of wordings; chosen on store titles, where
0.02 to 0.04 are within a point and a half."""
CHARACTERS = 2_000
"""Of a text that are hashed; the encoder sees 256 tokens, which is less."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Wordings:
    """Hashed wordings of one text: rows of the table, distinct and sorted."""

    rows: NDArray[np.int64]


def wordings(text: str) -> Wordings:
    """Units (letters, digits, single Chinese characters), their pairs, and the endings of long words."""
    words = UNIT.findall(unicodedata.normalize("NFKC", text[:CHARACTERS]).casefold())
    pairs = [f"{a} {b}" for a, b in pairwise(words)]
    endings = [f"*{word[-4:]}" for word in words if len(word) > 5]
    starts = [f"{word[:4]}*" for word in words if len(word) > 5]
    hashed = {zlib.crc32(each.encode("utf-8", "replace")) % ROWS for each in (*words, *pairs, *endings, *starts)}
    return Wordings(np.array(sorted(hashed), np.int64))


class Linear:
    """A multinomial logistic model.

    mean, scale [F]; idf [ROWS]; dense [F, C]; sparse [ROWS, C]; bias [C]; temperature [1]: divides the scores.
    """

    def __init__(self, labels: Sequence[str], weights: Mapping[str, NDArray[Any]]) -> None:
        self.labels = tuple(labels)
        self._w = {name: np.asarray(value, np.float32) for name, value in weights.items()}

    def log_odds(self, features: Floats, text: str) -> Floats:
        """Log probabilities of the labels, up to a constant: [C]."""
        w = self._w
        dense = standardised(features, w["mean"], w["scale"]) @ w["dense"]
        rows = wordings(text).rows
        weights = w["idf"][rows]
        weights = weights / max(float(np.linalg.norm(weights)), 1e-6)
        return np.asarray((dense + weights @ w["sparse"][rows] + w["bias"]) / w["temperature"], np.float32)

    def probabilities(self, features: Floats, text: str) -> Floats:
        """Of each label: [C], summing to 1."""
        return softmax(self.log_odds(features, text))


def standardised(features: Floats, mean: Floats, scale: Floats) -> Floats:
    """Features around 0 with deviation FEATURE_SCALE."""
    return np.asarray((features - mean) * scale * np.float32(FEATURE_SCALE), np.float32)


def softmax(scores: NDArray[Any]) -> Floats:
    """Probabilities of scores."""
    odds = np.exp(scores - scores.max())
    return np.asarray(odds / odds.sum(), np.float32)
