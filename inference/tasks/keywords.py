"""Keywords: words of the listing, ranked; nothing that the listing does not contain."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.tasks.category import unit
from inference.tasks.tagger import Found
from inference.tasks.units import Units
from inference.tasks.weights import HeadFile
from inference.tasks.words import CHINESE, words_of

MOST = 10
"""Keywords of a listing."""
LONGEST_PHRASE = 3
SIGNS = 10
DEEPEST = 120
"""Units from the start of the text in which phrases are looked for; what names a product stands early."""
_ENGLISH = (
    "a an and are as at be by for from has in into is it its new no not of off on or our per so than that the their "
    "this to up use used uses with you your all any can will more most other out over set free hot sale 2018 2019"
)
_CHINESE = "的 了 和 与 及 或 在 是 有 为 把 被 也 就 都 而 但 等 个 款 新 这 那 一 包邮 新款 正品 特价 促销"
STOP_WORDS = frozenset(_ENGLISH.split()) | frozenset(_CHINESE.split())


@dataclass(frozen=True)
class Keyword:
    """Units [first, last] of the text, and the probability that a person would call it a keyword."""

    first: int
    last: int
    score: float


@dataclass(frozen=True)
class Candidate:
    """A stretch of units and what speaks for it: fp32 [SIGNS]."""

    first: int
    last: int
    signs: NDArray[np.float32]


class KeywordHead:
    """arrays: weights [SIGNS], bias [1]. meta: `least`, the least probability of a keyword."""

    def __init__(self, file: HeadFile) -> None:
        self._weights, self._bias = file.arrays["weights"], float(file.arrays["bias"][0])
        self._least = float(file.meta["least"])

    def rank(self, text: str, units: Units, heads: Sequence[Found], words: Sequence[Found]) -> list[Keyword]:
        """At most MOST, best first, no wording twice; one may be part of another (`rod`, `fishing rod`). heads: values,
        brand and product words that were found; words: what the tagger found for the name that stands for keywords."""
        found = [
            Keyword(each.first, each.last, 1.0 / (1.0 + math.exp(-float(each.signs @ self._weights) - self._bias)))
            for each in candidates(text, units, heads, words)
        ]
        found.sort(key=lambda each: (-each.score, each.first, each.last))
        kept: dict[str, Keyword] = {}
        for each in found:
            if each.score < self._least or len(kept) == MOST:
                break
            kept.setdefault(text_of(text, units, each.first, each.last).casefold(), each)
        return list(kept.values())


def text_of(text: str, units: Units, first: int, last: int) -> str:
    """The text of a stretch of units."""
    return text[int(units.starts[first]) : int(units.ends[last])]


def candidates(text: str, units: Units, heads: Sequence[Found], words: Sequence[Found]) -> list[Candidate]:
    """What the heads found, words of the Chinese dictionary, and short phrases of other scripts."""
    if not len(units):
        return []
    sure, named = _by_place(heads), _by_place(words)
    stretches = {*sure, *named, *_phrases(text, units), *_words(text, units)}
    states = unit(units.states - units.states.mean(0))
    whole = unit(units.states.mean(0, keepdims=True))[0]
    title_ends = text.find("\n") if "\n" in text else len(text)
    return [
        Candidate(first, last, _signs(text, units, (first, last), (sure, named), states, whole, title_ends))
        for first, last in sorted(stretches)
    ]


def _by_place(found: Sequence[Found]) -> dict[tuple[int, int], float]:
    best: dict[tuple[int, int], float] = {}
    for each in found:
        best[each.first, each.last] = max(each.score, best.get((each.first, each.last), 0.0))
    return best


def _signs(
    text: str,
    units: Units,
    stretch: tuple[int, int],
    found: tuple[dict[tuple[int, int], float], dict[tuple[int, int], float]],
    states: NDArray[np.float32],
    whole: NDArray[np.float32],
    title_ends: int,
) -> NDArray[np.float32]:
    first, last = stretch
    sure, named = found
    within, around = (
        max((s for (a, b), s in each.items() if a <= first and last <= b), default=0.0) for each in (sure, named)
    )
    mean = states[first : last + 1].mean(0)
    word = text_of(text, units, first, last)
    return np.array(
        [
            sure.get(stretch, 0.0),
            within,
            named.get(stretch, 0.0),
            around,
            float(unit(units.states[first : last + 1].mean(0)) @ whole),
            float(np.linalg.norm(mean)),
            float(units.starts[first] < title_ends),
            first / DEEPEST,
            float(last - first),
            float(any(c.isdigit() for c in word)),
        ],
        np.float32,
    )


def _phrases(text: str, units: Units) -> Iterator[tuple[int, int]]:
    """One to LONGEST_PHRASE neighbouring words of letters that neither start nor end with a stop word."""
    words = [text_of(text, units, at, at) for at in range(min(len(units), DEEPEST))]
    good = [word[0].isalpha() and len(word) > 1 and word.casefold() not in STOP_WORDS for word in words]
    for first in range(len(words)):
        for last in range(first, min(first + LONGEST_PHRASE, len(words))):
            if last > first and text[int(units.ends[last - 1]) : int(units.starts[last])] != " ":
                break
            if good[first] and good[last]:
                yield first, last


def _words(text: str, units: Units) -> Iterator[tuple[int, int]]:
    """Words of two characters or more, and neighbouring pairs of them, as the dictionary cuts the text."""
    starts = {start: at for at, start in enumerate(units.starts[:DEEPEST].tolist())}
    ends = {end: at for at, end in enumerate(units.ends[:DEEPEST].tolist())}
    before: int | None = None
    for found in words_of(text[: int(units.ends[:DEEPEST][-1])]):
        start, end = found.start, found.end
        word = text[start:end]
        good = start in starts and end in ends and CHINESE.search(word)
        if good and word not in STOP_WORDS:
            if len(word) > 1:
                yield starts[start], ends[end]
            if before is not None:
                yield before, ends[end]
            before = starts[start]
        else:
            before = None
