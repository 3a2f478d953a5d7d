"""Linear classifiers over the encoder's frozen features, hashed wording and the shop's name, in numpy."""

from __future__ import annotations

import unicodedata
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.tasks.units import UNIT
from inference.tasks.words import words_of

ROWS = 1 << 14
"""Hashed wordings. 16,384 keep 143 classes in 2.3 MB of int8 before compression, most of it zeros."""
FEATURE_SCALE = 0.03
"""Weight of a standardised feature beside the unit-length vector of wordings; chosen on store titles, where
0.02 to 0.04 are within a point and a half."""
SHOP_ROWS = 1 << 13
"""Hashed wordings of shops' names; 1,749 shops of the store titles have some 8,000 distinct ones."""
SHOP_WEIGHT = 8.0
"""Length of the vector of a shop's wordings beside that of the title's, 1. Store titles, development rows: 0.855 at 2,
0.875 at 4, 0.882 at 6, 0.885 at 8 (0.98 where the shop has training rows, 0.81 where it has none); with the shop
withheld 0.805 to 0.809 at each, and 0.803 when fitted without shops."""
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
    return _hashed([*words, *pairs, *endings, *starts], ROWS)


def shop_wordings(name: str) -> Wordings:
    """The name as a whole, its words, and its pairs of characters; of no name nothing."""
    name = unicodedata.normalize("NFKC", name[:CHARACTERS]).casefold().strip()
    words = [name[word.start : word.end] for word in words_of(name)] or name.split()
    pairs = [f"{a}{b}" for a, b in pairwise(name)]
    named = [f"whole {name}"] if name else []
    return _hashed([*named, *(f"word {word}" for word in words if word.strip()), *pairs], SHOP_ROWS)


def _hashed(wordings: Iterable[str], rows: int) -> Wordings:
    hashed = {zlib.crc32(each.encode("utf-8", "replace")) % rows for each in wordings}
    return Wordings(np.array(sorted(hashed), np.int64))


class Linear:
    """A multinomial logistic model.

    mean, scale [F]; idf [ROWS]; dense [F, C]; sparse [ROWS, C]; bias [C]; temperature [1]: divides the scores.
    Where it was fitted with shops, shop_idf [SHOP_ROWS]; shop [SHOP_ROWS, C].
    """

    def __init__(self, labels: Sequence[str], weights: Mapping[str, NDArray[Any]]) -> None:
        self.labels = tuple(labels)
        self._w = {name: np.asarray(value, np.float32) for name, value in weights.items()}

    def log_odds(self, features: Floats, text: str, shop: str = "") -> Floats:
        """Log probabilities of the labels, up to a constant: [C]. shop: the name of who sells it, where it is known."""
        w = self._w
        scores = standardised(features, w["mean"], w["scale"]) @ w["dense"] + w["bias"]
        rows = wordings(text).rows
        scores = scores + unit_weights(w["idf"], rows) @ w["sparse"][rows]
        if shop and "shop" in w:
            rows = shop_wordings(shop).rows
            scores = scores + SHOP_WEIGHT * unit_weights(w["shop_idf"], rows) @ w["shop"][rows]
        return np.asarray(scores / w["temperature"], np.float32)

    def probabilities(self, features: Floats, text: str) -> Floats:
        """Of each label: [C], summing to 1."""
        return softmax(self.log_odds(features, text))


def unit_weights(idf: Floats, rows: NDArray[np.int64]) -> Floats:
    """Weights of a text's wordings, of length 1 together."""
    weights = idf[rows]
    return np.asarray(weights / max(float(np.linalg.norm(weights)), 1e-6), np.float32)


def standardised(features: Floats, mean: Floats, scale: Floats) -> Floats:
    """Features around 0 with deviation FEATURE_SCALE."""
    return np.asarray((features - mean) * scale * np.float32(FEATURE_SCALE), np.float32)


def softmax(scores: NDArray[Any]) -> Floats:
    """Probabilities of scores."""
    odds = np.exp(scores - scores.max())
    return np.asarray(odds / odds.sum(), np.float32)
