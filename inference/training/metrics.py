"""Measures with bootstrap intervals: accuracy, micro F1, calibration error."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1_000
"""Of the bootstrap: the ends of a 95% interval are then known to a tenth of its width."""
BINS = 10
SURE = 0.9
"""The score that people gate on; enrichment remarks on contradictions from here on."""
SEED = 20261124


class Measure(msgspec.Struct, frozen=True):
    """A score with its 95% bootstrap interval over rows. rows: what it was measured on."""

    name: str
    score: float
    low: float
    high: float
    rows: int


def f1(gold: Sequence[set[Any]], predicted: Sequence[set[Any]]) -> float:
    """Micro F1 of sets, row by row; 0 where nothing is right."""
    return float(_f1(counts(gold, predicted).sum(0)))


def counts(gold: Sequence[set[Any]], predicted: Sequence[set[Any]]) -> NDArray[np.float64]:
    """[rows, 3]: right, predicted, gold."""
    rows = [(len(g & p), len(p), len(g)) for g, p in zip(gold, predicted, strict=True)]
    return np.array(rows, np.float64).reshape(-1, 3)


def f1_measure(name: str, gold: Sequence[set[Any]], predicted: Sequence[set[Any]]) -> Measure:
    """Micro F1 with its interval."""
    table = counts(gold, predicted)
    return _measure(name, _f1(table.sum(0)), [_f1(table[rows].sum(0)) for rows in _resamples(len(table))], len(table))


def difference(one: NDArray[np.float64], other: NDArray[np.float64], name: str = "") -> Measure:
    """What `other` is better by, in micro F1 of tables as `counts` gives (a share where predicted and gold are 1),
    with the interval of a paired bootstrap: the same rows are drawn for both (Koehn 2004)."""
    again = [_f1(other[rows].sum(0)) - _f1(one[rows].sum(0)) for rows in _resamples(len(one))]
    return _measure(name, _f1(other.sum(0)) - _f1(one.sum(0)), again, len(one))


def mean_measure(name: str, values: Sequence[float] | NDArray[Any]) -> Measure:
    """A mean over rows (accuracy, recall) with its interval."""
    held = np.asarray(values, np.float64)
    score = float(held.mean()) if len(held) else 0.0
    return _measure(name, score, [float(held[rows].mean()) for rows in _resamples(len(held))], len(held))


def ratio_measures(gold: Sequence[set[Any]], predicted: Sequence[set[Any]]) -> list[Measure]:
    """Micro precision and recall with their intervals."""
    table = counts(gold, predicted)
    again = [table[rows].sum(0) for rows in _resamples(len(table))]
    return [
        _measure(name, _share(table.sum(0), of), [_share(sums, of) for sums in again], len(table))
        for name, of in (("precision", 1), ("recall", 2))
    ]


def sure_measure(name: str, scores: Sequence[float], right: Sequence[bool], at: float = SURE) -> Measure:
    """What is right of the answers whose score is `at` or more; rows: how many those are. A score of 0.9 that means 0.9
    gives more, for it is a mean over 0.9 to 1."""
    return mean_measure(f"{name} at {at} and more", [hit for s, hit in zip(scores, right, strict=True) if s >= at])


def calibration_measure(scores: Sequence[float], right: Sequence[bool]) -> Measure:
    """Expected calibration error with its interval, over what was scored."""
    held, hit = np.asarray(scores, np.float64), np.asarray(right, np.float64)
    again = [_calibration_error(held[rows], hit[rows]) for rows in _resamples(len(held))]
    return _measure("expected calibration error", _calibration_error(held, hit), again, len(held))


def calibration_error(scores: Sequence[float], right: Sequence[bool]) -> float:
    """Expected calibration error over BINS equal bins of the score (Guo et al. 2017)."""
    return _calibration_error(np.asarray(scores, np.float64), np.asarray(right, np.float64))


def slices(keys: Sequence[Hashable]) -> dict[str, list[int]]:
    """Rows of each key, for a measure by source or language; nothing where all are the same."""
    found: dict[str, list[int]] = {}
    for row, key in enumerate(keys):
        found.setdefault(str(key), []).append(row)
    return found if len(found) > 1 else {}


def _calibration_error(scores: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    bins = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    gaps = np.bincount(bins, scores - right, BINS)
    return float(np.abs(gaps).sum() / max(len(scores), 1))


def _share(sums: NDArray[np.float64], of: int) -> float:
    return float(sums[0] / max(sums[of], 1.0))


def _f1(sums: NDArray[np.float64]) -> float:
    return float(2.0 * sums[0] / max(sums[1] + sums[2], 1.0))


def _resamples(rows: int) -> list[NDArray[np.int64]]:
    rng = np.random.default_rng(SEED)
    return [rng.integers(0, rows, rows) for _ in range(RESAMPLES)] if rows else []


def _measure(name: str, score: float, again: list[float], rows: int) -> Measure:
    low, high = np.quantile(again, [0.025, 0.975]).tolist() if again else (0.0, 0.0)
    return Measure(name, round(score, 4), round(low, 4), round(high, 4), rows)
