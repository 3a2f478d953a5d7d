"""Gold spans and values as tags of units, and how well found ones agree with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from inference.model.text import compose
from inference.tasks.attributes import accept, distinct_values
from inference.tasks.spans import LABELS, resolve
from inference.tasks.tagger import BEGIN, END, INSIDE, OUTSIDE, SINGLE, Found
from inference.tasks.units import Frame, Units
from inference.training.data import AttributeRow, SpanRow
from inference.training.metrics import f1

PRIOR, MOST_STEP = 0.1, 1.0
"""Of the calibration: weight of its start against that of one row, and the longest step toward the best line."""
THRESHOLDS = np.arange(0.10, 0.91, 0.02).round(2).tolist()


def bioes(spans: Sequence[tuple[int, int]], units: int) -> NDArray[np.int64]:
    """Tags of spans of units (first, last), the last one included."""
    tags = np.full(units, OUTSIDE, np.int64)
    for first, last in spans:
        tags[first : last + 1] = INSIDE
        tags[first], tags[last] = BEGIN, END
        if first == last:
            tags[first] = SINGLE
    return tags


def attribute_text(row: AttributeRow) -> str:
    """What the encoder reads of a row: the same composition as in serving."""
    return compose(row.title, row.description).text


def span_tags(row: SpanRow, units: Units | Frame) -> NDArray[np.int64]:
    """Tags of each label, int64 [labels, U]; a span whose edges cut a unit is left out."""
    first, last = edges_of(units)
    tags = []
    for label in LABELS:
        inside = [(first[a], last[b]) for a, b, x in row.spans if x == label and a in first and b in last]
        tags.append(bioes(inside, len(units)))
    return np.array(tags, np.int64).reshape(len(LABELS), len(units))


def attribute_f1(
    rows: Sequence[AttributeRow], units: Sequence[Units], found: Sequence[list[list[Found]]], first: float, more: float
) -> float:
    """Micro F1 at two thresholds."""
    predicted, gold = [], []
    for row, each, names in zip(rows, units, found, strict=True):
        text = attribute_text(row)
        values = {
            name: distinct_values(text, each, accept(spans, first, more))
            for name, spans in zip(row.ask, names, strict=True)
        }
        predicted.append(pairs_of(values))
        gold.append(pairs_of(row.values))
    return f1(gold, predicted)


def span_f1(rows: Sequence[SpanRow], units: Sequence[Units], found: Sequence[list[list[Found]]], least: float) -> float:
    """Entity F1 at a threshold."""
    predicted = [span_set(each, resolve(spans, least)) for each, spans in zip(units, found, strict=True)]
    return f1([set(row.spans) for row in rows], predicted)


def pairs_of(values: dict[str, list[str]] | dict[str, tuple[str, ...]]) -> set[tuple[str, str]]:
    """(name, value) pairs as they are compared: case folded, outer space left out."""
    return {(name, value.strip().casefold()) for name, each in values.items() for value in each}


def span_set(units: Units | Frame, found: Iterable[tuple[str, Found]]) -> set[tuple[int, int, str]]:
    """Spans of units as spans of code points."""
    return {(int(units.starts[each.first]), int(units.ends[each.last]), label) for label, each in found}


def platt(scores: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and offset that turn log odds into honest probabilities (Platt 1999), by Newton's method with short steps.

    A penalty of PRIOR holds them near 1 and 0 where few rows, or rows that the scores part without an error, would
    let them run away."""
    line = np.array([1.0, 0.0])
    x = np.stack([scores, np.ones_like(scores)])
    for _ in range(100):
        p = 1.0 / (1.0 + np.exp(-np.clip(line @ x, -50.0, 50.0)))
        slope = x @ (right - p) - PRIOR * (line - (1.0, 0.0))
        step = np.linalg.solve((x * np.maximum(p * (1.0 - p), 1e-6)) @ x.T + PRIOR * np.eye(2), slope)
        step *= min(1.0, MOST_STEP / max(float(np.abs(step).max()), 1e-12))
        line += step
        if float(np.abs(step).max()) < 1e-6:
            break
    return float(line[0]), float(line[1])


def places_of(text: str, units: Units | Frame, values: Sequence[str]) -> list[tuple[int, int]]:
    """Units (first, last) wherever a value stands as whole units, longer values first."""
    first, last = edges_of(units)
    low = text.casefold() if len(text.casefold()) == len(text) else text.lower()
    low = low if len(low) == len(text) else text
    taken = np.zeros(len(units), bool)
    places: list[tuple[int, int]] = []
    for value in sorted({value.strip().casefold() for value in values if value.strip()}, key=lambda v: (-len(v), v)):
        at = low.find(value)
        while at >= 0:
            begin, end = first.get(at), last.get(at + len(value))
            if begin is not None and end is not None and not taken[begin : end + 1].any():
                taken[begin : end + 1] = True
                places.append((begin, end))
            at = low.find(value, at + 1)
    return places


def edges_of(units: Units | Frame) -> tuple[dict[int, int], dict[int, int]]:
    """Unit by the place of its start, and by that of its end."""
    starts, ends = units.starts.tolist(), units.ends.tolist()
    return {start: at for at, start in enumerate(starts)}, {end: at for at, end in enumerate(ends)}
