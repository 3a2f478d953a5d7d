"""Fits the ranking of keywords: gold words are attribute values, and brand and product words, of the listing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.tasks.keywords import MOST, SIGNS, candidates, text_of
from inference.tasks.tagger import Found
from inference.tasks.units import Units

LEAST = 0.02
"""Most listings have ten words from here on, in the order of their scores, which say how likely a word is one: who
wants few takes those above one half. With 0.05, and of words that overlap only the best, recall@10 was 0.807 and eight
in ten of the missed words were missed by lists of fewer than ten; now 0.869."""
STEPS, PENALTY = 60, 1.0

Fitted = tuple[dict[str, NDArray[Any]], dict[str, Any]]


@dataclass(frozen=True)
class KeywordRow:
    """A listing as the heads saw it, and its gold words, case folded."""

    text: str
    units: Units
    heads: list[Found]
    words: list[Found]
    gold: frozenset[str]


def gold_words(text: str, values: Sequence[str]) -> frozenset[str]:
    """The documented gold of keywords: values and product words that stand in the listing's text and hold a letter."""
    low = text.casefold()
    words = {value.strip().casefold() for value in values}
    return frozenset(word for word in words if word and word in low and any(c.isalpha() for c in word))


def fit_keywords(rows: Sequence[KeywordRow]) -> Fitted:
    """Logistic regression over the signs of each candidate, by Newton's method."""
    signs, right = [], []
    for row in rows:
        for each in candidates(row.text, row.units, row.heads, row.words):
            signs.append(each.signs)
            right.append(text_of(row.text, row.units, each.first, each.last).casefold() in row.gold)
    x = np.concatenate([np.array(signs, np.float64).reshape(-1, SIGNS), np.ones((len(signs), 1))], 1)
    y, w = np.array(right, np.float64), np.zeros(SIGNS + 1)
    for _ in range(STEPS):
        p = 1.0 / (1.0 + np.exp(-(x @ w)))
        hessian = (x * (p * (1 - p))[:, None]).T @ x + PENALTY * np.eye(SIGNS + 1)
        w += np.linalg.solve(hessian, x.T @ (y - p) - PENALTY * w)
    return {"weights": w[:-1].astype(np.float32), "bias": w[-1:].astype(np.float32)}, {"least": LEAST, "most": MOST}
