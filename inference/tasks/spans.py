"""Brand and product words of a Chinese sentence, as the tags of the training data name them."""

from __future__ import annotations

from inference.tasks.reading import Reading
from inference.tasks.tagger import Found, Tagger
from inference.tasks.weights import HeadFile

LABELS = ("HC", "HP")
"""HC: product words. HP: brand."""
MEANING = {"HC": "product", "HP": "brand"}
"""What the contract of `listing` calls them."""
PROMPTS = ("产品", "品牌")
"""What stands for the labels in a prompt, in their order."""


class SpanHead:
    """meta: `least`, the least probability of a span. arrays: `platt` [2]. tagger: the shared one."""

    def __init__(self, file: HeadFile, tagger: HeadFile) -> None:
        self.tagger = Tagger({**tagger.arrays, "platt": file.arrays["platt"]})
        self.least = float(file.meta["least"])

    def find(self, reading: Reading) -> list[tuple[str, Found]]:
        """Spans that do not overlap, with their labels, in the order of the text; PROMPTS must have been asked."""
        return resolve(self.tagger.find(reading.units, reading.of(PROMPTS), self.least), self.least)


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
