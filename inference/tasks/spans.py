"""Brand and product words of a Chinese sentence, as the tags of the training data name them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from inference.tasks.tagger import Found, Tagger
from inference.tasks.units import Units
from inference.tasks.weights import HeadFile

LABELS = ("HC", "HP")
"""HC: product words. HP: brand. The order is that of the tagger's label vectors."""
MEANING = {"HC": "product", "HP": "brand"}
"""What the contract of `listing` calls them."""
LABEL_VECTORS: NDArray[np.float32] = np.eye(len(LABELS), dtype=np.float32)


class SpanHead:
    """meta: `least`, the least probability of a span. arrays: those of Tagger."""

    def __init__(self, file: HeadFile) -> None:
        self.tagger = Tagger(file.arrays)
        self.least = float(file.meta["least"])

    def find(self, units: Units) -> list[tuple[str, Found]]:
        """Spans that do not overlap, with their labels, in the order of the text."""
        return resolve(self.tagger.find(units, LABEL_VECTORS, self.least), self.least)


def resolve(found: list[list[Found]], least: float) -> list[tuple[str, Found]]:
    """Where the labels want the same words, the likelier one has them."""
    ranked = [(each, label) for label, spans in zip(LABELS, found, strict=True) for each in spans]
    ranked.sort(key=lambda pair: (-pair[0].score, pair[0].first, pair[1]))
    kept: list[tuple[str, Found]] = []
    for each, label in ranked:
        free = all(each.last < other.first or other.last < each.first for _, other in kept)
        if each.score >= least and free:
            kept.append((label, each))
    return sorted(kept, key=lambda pair: pair[1].first)
