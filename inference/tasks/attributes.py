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
    the probability of what the text states outright; heads fitted before statements were read have none.
    arrays: `platt` [2]. tagger: the shared one."""

    def __init__(self, file: HeadFile, tagger: HeadFile) -> None:
        self.tagger = Tagger({**tagger.arrays, "platt": file.arrays["platt"]})
        self.first, self.more = float(file.meta["first"]), float(file.meta["more"])
        self._stated: float | None = file.meta.get("stated")

    def find(self, reading: Reading, names: Sequence[str]) -> list[list[Found]]:
        """Accepted values of each of these names of the reading, the likeliest first."""
        found = self.candidates(reading, names, min(self.first, self.more))
        return [accept(each, self.first, self.more) for each in found]

    def candidates(self, reading: Reading, names: Sequence[str], least: float) -> list[list[Found]]:
        """Of each of these names, the likeliest first: what the tagger finds from `least` on, and what is stated."""
        found = self.tagger.find(reading.units, reading.of(names), least)
        if self._stated is None or not reading.stated:
            return found
        return [
            with_stated(not_of_others(each, reading.stated, name), reading.stated.get(name, ()), self._stated)
            for name, each in zip(names, found, strict=True)
        ]

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
