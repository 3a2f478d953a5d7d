"""Brand and product words of a Chinese sentence, as the tags of the training data name them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from inference.model.encoder import Encoded
from inference.tasks.reading import Reading
from inference.tasks.tagger import Found, Tagger
from inference.tasks.units import reread
from inference.tasks.weights import HeadFile

LABELS = ("HC", "HP")
"""HC: product words. HP: brand."""
MEANING = {"HC": "product", "HP": "brand"}
"""What the contract of `listing` calls them."""
PROMPTS = ("产品", "品牌")
"""What stands for the labels in a prompt, in their order."""
LABEL_VECTORS: NDArray[np.float32] = np.eye(len(LABELS), dtype=np.float32)
"""What stands for the labels where they are not read with the text, in their order."""
OWN = "own."
"""Arrays of the spans head's own tagger."""


class SpanHead:
    """Two opinions, averaged, for they err in different places: that of the shared tagger, on single ideographs read
    with the labels' names; and that of a tagger of its own, on the text as it was read for its category, in the pieces
    that the backbone was pretrained on.

    meta: `least`, the least probability of a span. arrays: `platt` [2]; `own.*`: those of the own Tagger, names [2, 2];
    a version that knows no labelled sentences has none, and one opinion. tagger: the shared one.
    """

    def __init__(self, file: HeadFile, tagger: HeadFile) -> None:
        self._shared = Tagger({**tagger.arrays, "platt": file.arrays["platt"]})
        own = {name.removeprefix(OWN): each for name, each in file.arrays.items() if name.startswith(OWN)}
        self._own = Tagger(own) if own else None
        self.least = float(file.meta["least"])

    def find(self, reading: Reading, text: Encoded) -> list[tuple[str, Found]]:
        """Spans that do not overlap, with their labels, in the order of the text. reading: PROMPTS must have been
        asked. text: the same one as it was read alone, with its states."""
        return resolve(self.by_label(reading, text), self.least)

    def by_label(self, reading: Reading, text: Encoded, least: float | None = None) -> list[list[Found]]:
        """Spans of each label from `least` on, the likeliest first; the two labels' may overlap."""
        if not len(reading.units):
            return [[] for _ in LABELS]
        emissions, steps = self._shared.scores(reading.units, reading.of(PROMPTS))
        if self._own is not None and len(seen := reread(reading.units, text)):
            more, further = self._own.scores(seen, LABEL_VECTORS)
            emissions[:, : len(seen)] = (emissions[:, : len(seen)] + more) / 2
            steps = (steps + further) / 2
        return self._shared.decode(emissions, steps, self.least if least is None else least)


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
