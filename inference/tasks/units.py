"""Text as units that spans are made of: runs of letters, runs of digits, single Chinese characters and signs.

What is known of a unit besides its states: its shape, its wording and that of its neighbours, and the Chinese word that
it is part of. A prompt's tokens are single ideographs, so the encoder is not told where words end; a dictionary knows.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.model.encoder import Encoded
from inference.model.tokenizer import IDEOGRAPH
from inference.tasks.words import words_of

UNIT = re.compile(rf"[{IDEOGRAPH}]|[^\W\d_{IDEOGRAPH}]+|\d+|[^\w\s]|_")
HASH_ROWS = 1 << 13
"""Rows of the table of hashed wording: 8,192 x 24 int8 is 200 KB, and a row is shared by few of the common ones."""
HASH_SLOTS = 9
SHAPES = 10
EDGES = slice(6, 8)
"""Of the shapes: whether a token starts or ends where the unit does."""
PLURAL = 4
"""Letters of the shortest word that has an ending of its own."""
EDGE = "\x02"
HALF_WIDTH = {
    code: code - 0xFEE0 for first, last in ("０９", "ＡＺ", "ａｚ") for code in range(ord(first), ord(last) + 1)
}
"""Full-width letters and digits as the tokenizer reads them (NFKC); one character stays one."""


@dataclass(frozen=True)
class Units:
    """Units of one text. starts, ends: code points, half open. states: fp32 [U, 384], the mean of the tokens
    that a unit touches. shapes: fp32 [U, SHAPES]. hashed: int64 [U, HASH_SLOTS], rows of the table."""

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    states: NDArray[np.float32]
    shapes: NDArray[np.float32]
    hashed: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts)


@dataclass(frozen=True)
class Frame:
    """Units of one text before anything is known of their states. touch: fp32 [U, T], a row's weights are those of
    the tokens that the unit touches and add up to 1."""

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    touch: NDArray[np.float32]
    shapes: NDArray[np.float32]
    hashed: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts)

    def units(self, states: NDArray[np.float32]) -> Units:
        """With the states of the tokens [T, 384]."""
        return Units(self.starts, self.ends, (self.touch @ states).astype(np.float32), self.shapes, self.hashed)


def make_frame(text: str, offsets: NDArray[np.int32]) -> Frame:
    """Units of the part of `text` that the tokens cover. offsets [T, 2]."""
    text = text.translate(HALF_WIDTH)
    seen = int(offsets[:, 1].max(initial=0))
    found = [span for match in UNIT.finditer(text, 0, seen) for span in _parts(text, *match.span())]
    places = np.array(found, np.int64).reshape(-1, 2)
    words = [text[start:end] for start, end in found]
    touch, whole = _touch(places, offsets)
    inside = _inside(text[:seen], places)
    shapes = _shapes(text, places, words, whole, inside)
    return Frame(places[:, 0], places[:, 1], touch, shapes, _hashed(words, inside))


def _parts(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """A run as it is, but cut where a capital follows a small letter (`drivePart` where a page lost its line breaks)
    and before a plural's s (values are `Men` in `Mens`): without the two cuts 2.8% of the development values of
    attributes are not whole units, with them 0.8%."""
    for at in range(start + 1, end):
        if text[at].isupper() and text[at - 1].islower():
            yield start, at
            start = at
    if end - start >= PLURAL and text[end - 1] in "sS" and text[end - 2].casefold() not in "siu":
        yield start, end - 1
        start = end - 1
    yield start, end


def make_units(text: str, encoded: Encoded) -> Units:
    """Units of the part of `text` that the encoder saw."""
    return make_frame(text, encoded.offsets).units(encoded.states)


def reread(units: Units, encoded: Encoded) -> Units:
    """The same units by another reading of the same text, whose tokens are others; those that it saw whole."""
    seen = int((units.ends <= int(encoded.offsets[:, 1].max(initial=0))).sum())
    starts, ends = units.starts[:seen], units.ends[:seen]
    touch, edges = _touch(np.stack([starts, ends], 1), encoded.offsets)
    shapes = units.shapes[:seen].copy()
    shapes[:, EDGES] = edges
    return Units(starts, ends, (touch @ encoded.states).astype(np.float32), shapes, units.hashed[:seen])


def _touch(places: NDArray[np.int64], offsets: NDArray[np.int32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights of the touching tokens; and [U, 2], whether a token starts or ends where the unit does."""
    real = offsets[:, 1] > offsets[:, 0]
    starts, ends = offsets[:, 0], offsets[:, 1]
    touch = (starts[None, :] < places[:, 1:2]) & (ends[None, :] > places[:, 0:1]) & real[None, :]
    weight = touch.astype(np.float32)
    weight /= np.maximum(weight.sum(1, keepdims=True), 1.0)
    edges = np.stack([np.isin(places[:, 0], starts[real]), np.isin(places[:, 1], ends[real])], 1)
    return weight, edges.astype(np.float32)


@dataclass(frozen=True)
class _Inside:
    """The Chinese word that a unit is part of; elsewhere the unit stands for itself. starts, ends: whether the word
    does there."""

    word: str
    speech: str
    starts: bool
    ends: bool


def _inside(text: str, places: NDArray[np.int64]) -> list[_Inside]:
    """One a unit."""
    words = list(words_of(text))
    at, found = 0, []
    for start, end in places.tolist():
        while at < len(words) and words[at].end <= start:
            at += 1
        if at < len(words) and words[at].start <= start and end <= words[at].end:
            word = words[at]
            spelt = text[word.start : word.end].casefold()
            found.append(_Inside(spelt, word.speech, word.start == start, word.end == end))
        else:
            found.append(_Inside(text[start:end].casefold(), "", True, True))
    return found


def _shapes(
    text: str,
    places: NDArray[np.int64],
    words: list[str],
    edges: NDArray[np.float32],
    inside: list[_Inside],
) -> NDArray[np.float32]:
    shapes = np.zeros((len(words), SHAPES), np.float32)
    line = text.find("\n")
    for at, ((start, _), word) in enumerate(zip(places.tolist(), words, strict=True)):
        shapes[at, :4] = word.isdigit(), word[0].isupper(), word.isupper() and len(word) > 1, not word.isalnum()
        shapes[at, 4] = at > 0 and places[at - 1, 1] == start
        shapes[at, 5] = 0 <= line < start
    shapes[:, EDGES] = edges
    shapes[:, 8:10] = np.array([(each.starts, each.ends) for each in inside], np.float32).reshape(-1, 2)
    return shapes


def _hashed(words: list[str], inside: list[_Inside]) -> NDArray[np.int64]:
    """Rows for the unit, its neighbours, the pairs with them, the triple around it, its shape, the Chinese word that it
    is part of, and that word's part of speech with those of the units beside it."""
    low = [EDGE, EDGE, *(word.casefold() for word in words), EDGE, EDGE]
    speeches = [EDGE, *(each.speech for each in inside), EDGE]
    rows = np.zeros((len(words), HASH_SLOTS), np.int64)
    for at in range(len(words)):
        before, word, after = low[at + 1 : at + 4]
        whole, speech = inside[at].word, " ".join(speeches[at : at + 3])
        pairs = before + word, word + after, before + word + after
        wordings = (word, before, after, *pairs, _shape(words[at]), whole, speech)
        rows[at] = [zlib.crc32(f"{slot} {w}".encode("utf-8", "replace")) % HASH_ROWS for slot, w in enumerate(wordings)]
    return rows


def _shape(word: str) -> str:
    """Letters to `a` or `A`, digits to `0`, runs shortened; the last two letters kept: endings tell word classes."""
    kind = "".join("A" if c.isupper() else "a" if c.isalpha() else "0" if c.isdigit() else c for c in word[:4])
    return f"{kind} {word[-2:].casefold()}"
