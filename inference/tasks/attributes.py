"""Attribute values: stretches of the listing for each name asked, known from training or never seen."""

from __future__ import annotations

from collections.abc import Sequence

from inference.tasks.reading import Reading
from inference.tasks.statements import not_of_others, with_stated
from inference.tasks.tagger import Found, Tagger
from inference.tasks.units import Frame, Units
from inference.tasks.weights import HeadFile

WORTH = 0.02
"""Probability from which a stretch is worth ranking."""


class AttributeHead:
    """meta: `first` and `more`: the least probability of the best value of a name, and of each further one; `stated`:
    the probability of what the text states outright. arrays: `platt` [2]. tagger: the shared one."""

    def __init__(self, file: HeadFile, tagger: HeadFile) -> None:
        self.tagger = Tagger({**tagger.arrays, "platt": file.arrays["platt"]})
        self.first, self.more = float(file.meta["first"]), float(file.meta["more"])
        self.stated = float(file.meta["stated"])

    def find(self, reading: Reading, names: Sequence[str]) -> list[list[Found]]:
        """Accepted values of each of these names of the reading, the likeliest first."""
        least = min(self.first, self.more)
        found = self.tagger.find(reading.units, reading.of(names), least)
        if reading.stated:
            found = [self._told(reading, *pair) for pair in zip(names, found, strict=True)]
        return [accept(each, self.first, self.more) for each in found]

    def _told(self, reading: Reading, name: str, found: Sequence[Found]) -> list[Found]:
        own = not_of_others(found, reading.stated, name)
        return with_stated(own, reading.stated.get(name, ()), self.stated)

    def words(self, reading: Reading, name: str) -> list[Found]:
        """Stretches of a name of the reading from WORTH on, whatever the thresholds: signs of keywords, not answers."""
        return self.tagger.find(reading.units, reading.of((name,)), WORTH)[0]


def accept(found: Sequence[Found], first: float, more: float) -> list[Found]:
    """The best one from `first` on, further ones from `more` on."""
    return [each for at, each in enumerate(found) if each.score >= (more if at else first)]


def distinct_values(text: str, units: Units | Frame, found: Sequence[Found]) -> list[str]:
    """The listing's own wording of each value, one for values that differ in case only."""
    values = [text[int(units.starts[each.first]) : int(units.ends[each.last])] for each in found]
    return list({value.casefold(): value for value in reversed(values)}.values())[::-1]
