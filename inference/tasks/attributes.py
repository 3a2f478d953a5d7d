"""Attribute values: stretches of the listing for each name asked, known from training or never seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from inference.tasks.tagger import Found, Tagger
from inference.tasks.units import Units
from inference.tasks.weights import HeadFile

Floats = NDArray[np.float32]


class AttributeHead:
    """meta: `names` (those of the training data), `first` and `more`: the least probability of the best value of
    a name, and of each further one. arrays: those of Tagger, and name_vectors [names, 384] as the encoder pooled
    them, name_mean [384], name_scale [1]."""

    def __init__(self, file: HeadFile) -> None:
        self.tagger = Tagger(file.arrays)
        self.first, self.more = float(file.meta["first"]), float(file.meta["more"])
        self._mean, self._scale = file.arrays["name_mean"], file.arrays["name_scale"]
        vectors = self.centred(file.arrays["name_vectors"])
        self._known = {str(name).casefold(): vectors[at] for at, name in enumerate(file.meta["names"])}

    def centred(self, pooled: Floats) -> Floats:
        """Vectors of names as the tagger wants them. All of a language model's vectors point roughly one way;
        what tells names apart is what is left without it."""
        return np.asarray((pooled - self._mean) * self._scale, np.float32)

    def known(self, name: str) -> Floats | None:
        """The vector of a name of the training data, in whatever case."""
        return self._known.get(name.strip().casefold())

    def vectors(self, asked: Sequence[str], pooled: Mapping[str, Floats]) -> Floats:
        """Vectors of names [N, 384]; `pooled` has the encoder's vector of each name that is not known."""
        found = [known if (known := self.known(name)) is not None else self.centred(pooled[name]) for name in asked]
        return np.stack(found) if found else np.zeros((0, len(self._mean)), np.float32)

    def find(self, units: Units, names: Floats) -> list[list[Found]]:
        """Accepted values of each name, the likeliest first."""
        return [
            accept(each, self.first, self.more) for each in self.tagger.find(units, names, min(self.first, self.more))
        ]


def accept(found: Sequence[Found], first: float, more: float) -> list[Found]:
    """The best one from `first` on, further ones from `more` on."""
    return [each for at, each in enumerate(found) if each.score >= (more if at else first)]


def distinct_values(text: str, units: Units, found: Sequence[Found]) -> list[str]:
    """The listing's own wording of each value, one for values that differ in case only."""
    values = [text[int(units.starts[each.first]) : int(units.ends[each.last])] for each in found]
    return list({value.casefold(): value for value in reversed(values)}.values())[::-1]
