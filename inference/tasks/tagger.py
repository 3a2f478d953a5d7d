"""Finds spans for named labels: a chain of BIOES tags for each label, scored by the vector of its name.

One network for attributes (label = attribute name, seen in training or not) and for brand and product
words (labels with vectors of their own). Plain numpy; fitted by inference/tuning/extraction.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.tasks.units import Units

BEGIN, INSIDE, OUTSIDE, END, SINGLE = range(5)
TAGS = 5
LONGEST = 16
"""Units of the longest span that is looked for: 99.9% of the gold ones in the training data are no longer."""
TINY = 1e-9
WORTH = float(np.log(0.01))
"""Stretches less likely than 1 in 100 are not looked at: no threshold that is shipped lies below."""
NEVER = -1e4
"""Score of what cannot be: exp of it is 0."""
_STARTS, _GOES_ON = (OUTSIDE, BEGIN, SINGLE), (INSIDE, END)
ALLOWED = np.zeros((TAGS, TAGS), bool)
for _tag in range(TAGS):
    ALLOWED[_tag, list(_GOES_ON if _tag in (BEGIN, INSIDE) else _STARTS)] = True
FIRST = np.where(np.isin(np.arange(TAGS), _STARTS), 0.0, NEVER)
LAST = np.where(np.isin(np.arange(TAGS), (OUTSIDE, END, SINGLE)), 0.0, NEVER)

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Found:
    """A candidate: units [first, last], and the calibrated probability that it is one."""

    first: int
    last: int
    score: float


class Tagger:
    """The network. Weights (H, G: hidden widths; V: width of a name's vector; E: of a hashed wording):

    table [rows, E]; enter [384 + shapes + slots E, H]; enter_bias [H]; near [3 H, H];
    near_bias [H]; join [H, G]; name_join [V, G]; name_gate [V, H]; tag_join [G, 5]; tag_gate [H, 5];
    tag_bias [5]; steps [5, 5] (scores from tag to tag); platt [2] (slope and offset of the calibration).
    """

    def __init__(self, weights: Mapping[str, NDArray[Any]]) -> None:
        self._w = {name: np.asarray(value, np.float32) for name, value in weights.items()}

    def contexts(self, units: Units) -> Floats:
        """What is known of each unit before a label is asked: [U, H]."""
        w = self._w
        wording = w["table"][units.hashed].reshape(len(units), -1)
        hidden = _relu(np.concatenate([units.states, units.shapes, wording], 1) @ w["enter"] + w["enter_bias"])
        edge = np.zeros((1, hidden.shape[1]), np.float32)
        padded = np.concatenate([edge, hidden, edge])
        around = np.concatenate([padded[:-2], padded[1:-1], padded[2:]], 1)
        return hidden + _relu(around @ w["near"] + w["near_bias"])

    def emissions(self, contexts: Floats, names: Floats) -> Floats:
        """Scores of the tags for labels with vectors `names` [N, V]: [N, U, 5]."""
        w = self._w
        joined = _relu((contexts @ w["join"])[None] + (names @ w["name_join"])[:, None]) @ w["tag_join"]
        gated = (contexts[None] * (names @ w["name_gate"])[:, None]) @ w["tag_gate"]
        return np.asarray(joined + gated + w["tag_bias"], np.float32)

    def scores(self, units: Units, names: Floats) -> tuple[Doubles, Doubles]:
        """Of the tags for each label [N, U, 5], and from tag to tag [5, 5]."""
        return self.emissions(self.contexts(units), names).astype(np.float64), self._w["steps"].astype(np.float64)

    def find(self, units: Units, names: Floats, least: float) -> list[list[Found]]:
        """For each label, spans of probability `least` or more that do not overlap, the likeliest first."""
        if not len(units) or not len(names):
            return [[] for _ in names]
        return self.decode(*self.scores(units, names), least)

    def decode(self, emissions: Doubles, steps: Doubles, least: float) -> list[list[Found]]:
        """As `find`, from scores [N, U, 5] and [5, 5] of one unit at least."""
        steps = np.where(ALLOWED, steps, NEVER)
        ahead, behind, total = chain(emissions, steps)
        return [
            self._apart(candidates(each, steps, ahead[n], behind[n], float(total[n])), least, len(each))
            for n, each in enumerate(emissions)
        ]

    def _apart(self, ranked: list[tuple[float, int, int]], least: float, units: int) -> list[Found]:
        slope, offset = self._w["platt"].tolist()
        taken = np.zeros(units, bool)
        found: list[Found] = []
        for log_p, first, last in ranked:
            score = 1.0 / (1.0 + float(np.exp(-(slope * logit(log_p) + offset))))
            if score < least:
                break
            if not taken[first : last + 1].any():
                taken[first : last + 1] = True
                found.append(Found(first, last, score))
        return found


def chain(emissions: Doubles, steps: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """Forward and backward scores [N, U, 5] and log partition [N] of a linear-chain conditional random field
    (Lafferty, McCallum, Pereira 2001)."""
    ahead, behind = np.empty_like(emissions), np.empty_like(emissions)
    ahead[:, 0] = emissions[:, 0] + FIRST
    for at in range(1, emissions.shape[1]):
        ahead[:, at] = _log_sum(ahead[:, at - 1, :, None] + steps, 1) + emissions[:, at]
    behind[:, -1] = LAST
    for at in range(emissions.shape[1] - 2, -1, -1):
        behind[:, at] = _log_sum(steps + (emissions[:, at + 1] + behind[:, at + 1])[:, None, :], 2)
    return ahead, behind, _log_sum(ahead[:, -1] + LAST, 1)


def candidates(
    emissions: Doubles, steps: Doubles, ahead: Doubles, behind: Doubles, total: float
) -> list[tuple[float, int, int]]:
    """(log probability, first, last) of each stretch of one label that is likely enough to be worth a look,
    best first. The probability is exact: that the chain has a span from `first` to `last`."""
    marginal = ahead + behind - total
    found = [(float(marginal[at, SINGLE]), int(at), int(at)) for at in np.flatnonzero(marginal[:, SINGLE] > WORTH)]
    for first in np.flatnonzero(marginal[:, BEGIN] > WORTH).tolist():
        so_far, tag = float(ahead[first, BEGIN]), BEGIN
        for last in range(first + 1, min(len(emissions), first + LONGEST)):
            ends = so_far + float(steps[tag, END] + emissions[last, END] + behind[last, END]) - total
            if ends > WORTH:
                found.append((ends, first, last))
            so_far, tag = so_far + float(steps[tag, INSIDE] + emissions[last, INSIDE]), INSIDE
            if so_far + float(behind[last, INSIDE]) - total < WORTH:
                break
    return sorted(found, key=lambda each: (-each[0], each[1], each[2]))


def logit(log_p: float) -> float:
    """Log odds of a log probability."""
    return log_p - float(np.log(max(-np.expm1(log_p), TINY)))


def _log_sum(x: Doubles, axis: int) -> Doubles:
    peak = x.max(axis, keepdims=True)
    return np.asarray(np.log(np.exp(x - peak).sum(axis)) + peak.squeeze(axis))


def _relu(x: NDArray[Any]) -> Floats:
    return np.asarray(np.maximum(x, np.float32(0.0)), np.float32)
