"""Tag matching: is what a seller says of a listing borne out by its text, contradicted by it, or not told?

The tagger is asked for the seller's attribute; how far what it finds agrees with the seller's value, and whether the
value stands in the text at all, are the signs of a small logistic classifier. Plain numpy; fitted by
inference/training/fit_tags.py.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.tasks.attributes import AttributeHead
from inference.tasks.reading import Reading
from inference.tasks.tag_wording import NUMBER, Place, measured, occurrence, place_of, polarity, rival
from inference.tasks.tagger import Found
from inference.tasks.units import Units
from inference.tasks.weights import HeadFile

LABELS = ("contradicted", "unknown", "entailed")
LEAST = 0.02
"""Probability from which a stretch is looked at: one in fifty still tells what the text may be about."""
SIGNS = 16

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Match:
    """label: one of LABELS; score: its probability. evidence: (start, end) in code points of the text, half open;
    None where nothing in the text speaks to it."""

    label: str
    score: float
    evidence: tuple[int, int] | None


@dataclass(frozen=True)
class Said:
    """What a seller says of a listing. text: as the encoder reads it."""

    text: str
    name: str
    value: str


def candidates(attributes: AttributeHead, reading: Reading, name: str) -> list[Found]:
    """Stretches for a name of the reading, from LEAST on, the likeliest first."""
    return attributes.candidates(reading, (name,), LEAST)[0]


class TagHead:
    """arrays: weights [SIGNS, 3], bias [3]."""

    def __init__(self, file: HeadFile, attributes: AttributeHead) -> None:
        self._weights, self._bias, self._attributes = file.arrays["weights"], file.arrays["bias"], attributes

    def match(self, text: str, reading: Reading, name: str, value: str) -> Match:
        """reading: of a prompt that asks `name`."""
        said, found = Said(text, name, value), candidates(self._attributes, reading, name)
        scores = signs(said, reading.units, found) @ self._weights + self._bias
        odds = np.exp(scores - scores.max())
        odds /= odds.sum()
        label = int(odds.argmax())
        evidence = None
        if LABELS[label] != "unknown":
            evidence = _evidence(said, reading.units, found, LABELS[label])
        return Match(LABELS[label], float(odds[label]), evidence)


def signs(said: Said, units: Units, found: Sequence[Found]) -> Floats:
    """What speaks for and against a value, fp32 [SIGNS]. found: what the tagger says of its attribute."""
    text, value = said.text, said.value
    plain, words = normal(value), [normal(_text(text, units, each)) for each in found]
    likeness = [dice(plain, word) for word in words]
    best = found[0].score if found else 0.0
    exact = max((f.score for f, word in zip(found, words, strict=True) if word == plain), default=0.0)
    like = max((f.score * each for f, each in zip(found, likeness, strict=True)), default=0.0)
    other = max((f.score * (1.0 - each) for f, each in zip(found, likeness, strict=True)), default=0.0)
    stands, denied = occurrence(text, value)
    mine, theirs = set(NUMBER.findall(plain)), set(NUMBER.findall(words[0])) if words else set()
    return np.array(
        [
            exact,
            like,
            other,
            best,
            best * best,
            stands,
            stands * best,
            denied,
            best * bool(mine and theirs and mine <= theirs),
            best * bool(mine and theirs and not mine & theirs),
            min(len(plain), 40) / 40,
            *(float(each is not None) for each in _wording(said)),
        ],
        np.float32,
    )


def _wording(said: Said) -> tuple[Place | None, ...]:
    """Where the wording alone speaks for the value, against it, against it, for it and against it (tag_wording.py)."""
    text, value = said.text, said.value
    return (*measured(text, value), rival(text, value), *polarity(text, said.name, value))


def normal(text: str) -> str:
    """Width, case and spaces folded."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


def dice(one: str, other: str) -> float:
    """Likeness of wordings by their pairs of characters (Dice 1945), 0 to 1."""
    if one == other:
        return 1.0
    pairs = [{each[at : at + 2] for at in range(max(1, len(each) - 1))} for each in (one, other)]
    return 2.0 * len(pairs[0] & pairs[1]) / max(1, len(pairs[0]) + len(pairs[1]))


def _text(text: str, units: Units, each: Found) -> str:
    return text[int(units.starts[each.first]) : int(units.ends[each.last])]


def _evidence(said: Said, units: Units, found: Sequence[Found], label: str) -> tuple[int, int] | None:
    """Where the value stands, if that bears it out or denies it; else where the wording speaks for or against it; else
    what the tagger found: the nearest to the value among the likely for `entailed`, the likeliest for
    `contradicted`."""
    text, value = said.text, said.value
    place = place_of(text, value)
    if place and (label == "entailed" or not found or occurrence(text, value)[1]):
        return place
    same, other, rivals, agrees, opposite = _wording(said)
    if worded := (same or agrees if label == "entailed" else other or opposite or rivals):
        return worded
    if not found:
        return None
    likely = [each for each in found if each.score >= found[0].score / 2]
    best = max(likely, key=lambda each: dice(normal(value), normal(_text(text, units, each))))
    best = best if label == "entailed" else found[0]
    return int(units.starts[best.first]), int(units.ends[best.last])
