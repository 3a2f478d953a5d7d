"""What a text states outright: a name, a sign, a value ("Draw Weight: 40 lb", "【拉力】40磅").

The tagger reads names that it learned; a platform's schema has others, and sellers' descriptions are full of lines
like these. Such a line needs no model: it is a second opinion beside the tagger's, and its score is how often labelled
listings agree with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np

from inference.model.tokenizer import IDEOGRAPH
from inference.tasks.tagger import Found
from inference.tasks.units import HALF_WIDTH, Frame

LONGEST, CHARACTERS = 12, 80
"""Units, and characters, of the longest value that is taken for one: what goes on is prose."""
BEFORE = 40
"""Characters before a name that are looked at."""
MOST = 4
"""Stretches of a name: the first statements of a text, and the parts of a list."""
PATTERNS = 4_096
"""Names whose patterns are kept: two schemas of the size of the largest platforms' attribute lists a category."""
_SIGN = r"[:：=]"
_UNIT = r"(?:\s*[(（][^()（）\n]{1,20}[)）])?"
_VALUE = re.compile(
    rf"(?:(?![;；|｜【〔•·。!！?？、\n\t]|{_SIGN}|[,，.](?!\d)).|(?<=\d):(?=\d)){{1,{CHARACTERS}}}",
)
"""To the first sign that ends a statement or begins another; a comma, a point or a colon inside a number ends none."""
_GAP = re.compile(rf"(?<=[{IDEOGRAPH}])\s+(?=[{IDEOGRAPH}])|\s{{2,}}")
"""Ideographs apart are words apart; so is what stands in columns."""
_LAST_WORD = re.compile(rf"\s+[{IDEOGRAPH}]+\s*$")
_LONGER = re.compile(r"[A-Z][\w/&-]* $")
"""A capital word before a capital name: the name is a longer one ("Applicable Material: metal")."""
_WORD = re.compile(rf"[{IDEOGRAPH}]|[^\W_{IDEOGRAPH}]+")
_ENDS = " \"'“”‘’)）]"

Stretch = tuple[int, int]
OtherNames = Callable[[str], Sequence[str]]
"""What else an attribute is called ("Colour" and "颜色" for `Color`)."""


def statements(text: str, name: str) -> list[Stretch]:
    """Values that the text states of a name, (start, end) in code points, half open; at most MOST. The name stands as
    a whole, in any case, before a colon or an equals sign, in brackets, or at a line's start before a dash."""
    plain = text.translate(HALF_WIDTH)
    return _statements(plain, plain.casefold(), name)


def _statements(plain: str, folded: str, name: str) -> list[Stretch]:
    words = name.translate(HALF_WIDTH).split()
    if not words or words[0].casefold() not in folded:
        return []
    found: list[Stretch] = []
    for match in _pattern(" ".join(words)).finditer(plain):
        at = match.start()
        if not _LONGER.search(plain, max(0, at - BEFORE), at) or not plain[at].isupper():
            found += _values(plain, match.end())
    return found[:MOST]


def statements_of(text: str, names: Sequence[str], others: OtherNames) -> dict[str, list[Stretch]]:
    """The same of several names, each under its other names too; only names of which there are."""
    plain = text.translate(HALF_WIDTH)
    folded = plain.casefold()
    found = {
        name: dict.fromkeys(place for each in (name, *others(name)) for place in _statements(plain, folded, each))
        for name in names
    }
    return {name: list(places)[:MOST] for name, places in found.items() if places}


def stated_units(text: str, names: Sequence[str], frame: Frame, others: OtherNames) -> dict[str, tuple[Stretch, ...]]:
    """The same as (first, last) units: those that the prompt had room for, of LONGEST units at most."""
    found = {name: _in_units(places, frame) for name, places in statements_of(text, names, others).items()}
    return {name: places for name, places in found.items() if places}


def _in_units(stated: Sequence[Stretch], frame: Frame) -> tuple[Stretch, ...]:
    found = []
    for start, end in stated:
        first, after = int(np.searchsorted(frame.starts, start)), int(np.searchsorted(frame.ends, end, "right"))
        whole = first < after <= len(frame) and frame.starts[first] == start and frame.ends[after - 1] == end
        if whole and after - first <= LONGEST:
            found.append((first, after - 1))
    return tuple(found)


def with_stated(found: Sequence[Found], stated: Sequence[Stretch], score: float) -> list[Found]:
    """Candidates of one name, with what is stated among them at `score` or more, the likeliest first. A likelier
    candidate that overlaps stays in its place."""
    kept = list(found)
    for first, last in stated:
        over = [each for each in kept if each.first <= last and first <= each.last]
        if all(each.score <= score for each in over):
            kept = [each for each in kept if each not in over] + [Found(first, last, score)]
    return sorted(kept, key=lambda each: (-each.score, each.first))


def not_of_others(found: Sequence[Found], stated: Mapping[str, tuple[Stretch, ...]], name: str) -> list[Found]:
    """Candidates of a name but those that the text states of another: of 359 pairs of a statement and another name that
    the labelled rows ask, one value is gold for both. Names that share a word ("Type", "Product Type") share values."""
    words, mine = set(_WORD.findall(name.casefold())), stated.get(name, ())
    others = [
        place
        for other, places in stated.items()
        if not words & set(_WORD.findall(other.casefold()))
        for place in places
    ]
    return [
        each
        for each in found
        if (each.first, each.last) in mine
        or not any(each.first <= last and first <= each.last for first, last in others)
    ]


@lru_cache(PATTERNS)
def _pattern(name: str) -> re.Pattern[str]:
    words = r"\s+".join(re.escape(word) for word in name.split(" "))
    line = r"(?:^|(?<=[;；|｜•·])|(?<=[.。] ))[^\S\n]*"
    return re.compile(
        rf"(?<![^\W_]|[/&-]){words}{_UNIT}\s*{_SIGN}\s*|[【\[]\s*{words}\s*[】\]]{_SIGN}?\s*|{line}{words}{_UNIT}\s+[-–—]\s+",
        re.IGNORECASE | re.MULTILINE,
    )


def _values(text: str, start: int) -> Iterator[Stretch]:
    """The value that begins here, and where it is a list ("红色、蓝色") its further parts."""
    for at in range(MOST):
        match = _VALUE.match(text, start)
        if match is None or match.end() - start == CHARACTERS:
            return
        end, after = match.end(), text[match.end() : match.end() + 1]
        if after and re.match(_SIGN, after):
            # What follows is another statement: its name is known from the value where ideographs stand apart.
            cut = _LAST_WORD.search(text, start, end)
            if cut is None or at:
                return
            end = cut.start()
        if gap := _GAP.search(text, start, end):
            end = gap.start()
        value = text[start:end].rstrip(_ENDS)
        if not value or not value[0].isalnum():
            return
        yield start, start + len(value)
        if after != "、":
            return
        start = match.end() + 1
