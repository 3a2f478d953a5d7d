"""Calibration and thresholds of the two heads over the tagger, attributes and spans: chosen on dev."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.model.encoder import Encoded
from inference.tasks.reading import Reading
from inference.tasks.spans import LABELS, SpanHead
from inference.tasks.statements import OtherNames, statements_of
from inference.tasks.tagger import WORTH, Found, Tagger
from inference.tasks.weights import HeadFile, as_stored
from inference.training.data import AttributeRow, SpanRow
from inference.training.tagging import (
    THRESHOLDS,
    attribute_f1,
    attribute_text,
    pairs_of,
    platt,
    span_f1,
    span_set,
)

WORTH_LEAST = 0.02
"""Candidates from here on are calibrated: the chain's own floor is WORTH = 0.01."""
PRIOR = (4, 1)
"""Statements, right and wrong, that are believed before any row is counted: who writes a sign behind a name means it.
A judgement, and a weak one: sets without statements would have none read, and some thirty rows outweigh it."""
IDENTITY = np.array([1.0, 0.0], np.float32)

Fitted = tuple[dict[str, NDArray[Any]], dict[str, Any]]
Asked = Sequence[Sequence[str]]


def fit_span_thresholds(
    tagger: HeadFile,
    own: Mapping[str, NDArray[Any]],
    rows: Sequence[SpanRow],
    readings: Sequence[Reading],
    texts: Sequence[Encoded],
) -> Fitted:
    """Arrays and meta of the spans head. own: arrays of its own tagger, as they will be stored. readings: of PROMPTS.
    texts: the rows' as they are read alone."""

    def found(line: NDArray[np.float32]) -> list[list[list[Found]]]:
        head = SpanHead(HeadFile({**own, "platt": line}, {"least": WORTH_LEAST}), tagger)
        return [head.by_label(*pair) for pair in zip(readings, texts, strict=True)]

    units = [each.units for each in readings]
    right = [
        (each.score, span in set(row.spans))
        for row, unit, labels in zip(rows, units, found(IDENTITY), strict=True)
        for label, spans in zip(LABELS, labels, strict=True)
        for each in spans
        for span in span_set(unit, [(label, each)])
    ]
    line = _line(right)
    calibrated = found(line)
    least = max(THRESHOLDS, key=lambda at: span_f1(rows, units, calibrated, at))
    return {**own, "platt": line}, {"least": least}


def fit_attribute_thresholds(tagger: HeadFile, rows: list[AttributeRow], readings: list[Reading]) -> Fitted:
    """Arrays and meta of the attributes head. readings: of the names that each row asks."""
    asked = [row.ask for row in rows]
    line = _line(_judged(rows, readings, _found(tagger, IDENTITY, readings, asked)))
    found = _found(tagger, line, readings, asked)
    units = [each.units for each in readings]
    first, more = 0.5, 0.5
    for _ in range(2):  # by turns: the best value's, then the further ones'
        first = max(THRESHOLDS, key=lambda at: attribute_f1(rows, units, found, at, more))
        more = max(THRESHOLDS, key=lambda at: attribute_f1(rows, units, found, first, at))
    return {"platt": line}, {"first": first, "more": more}


def stated_right(rows: Iterable[AttributeRow], others: OtherNames, before: Sequence[int] = (0, 0)) -> tuple[int, int]:
    """Of what the rows' texts state outright of the names asked: how often it is a gold value, and how often there is
    something stated. others: of the schema, as in serving. before: counts of other rows, which these are added to."""
    hits = [
        (name, text[start:end].strip().casefold()) in gold
        for row in rows
        for text, gold in [(attribute_text(row), pairs_of(row.values))]
        for name, places in statements_of(text, row.ask, others).items()
        for start, end in places
    ]
    return before[0] + sum(hits), before[1] + len(hits)


def stated_score(right: int, said: int) -> float:
    """Its probability: the counts, with those of PRIOR before them (the mean of a beta distribution's posterior)."""
    return round((right + PRIOR[0]) / (said + sum(PRIOR)), 4)


def _found(
    tagger: HeadFile, line: NDArray[np.float32], readings: Sequence[Reading], asked: Asked
) -> list[list[list[Found]]]:
    network = Tagger({**tagger.arrays, "platt": line})
    return [
        network.find(reading.units, reading.of(names), WORTH_LEAST)
        for reading, names in zip(readings, asked, strict=True)
    ]


def _line(judged: list[tuple[float, bool]]) -> NDArray[np.float32]:
    """The calibration as it will be stored."""
    scores = np.array([score for score, _ in judged], np.float64).clip(np.exp(WORTH) / 2, 1 - 1e-6)
    right = np.array([hit for _, hit in judged], bool)
    slope, offset = platt(np.log(scores / (1.0 - scores)), right)
    return np.asarray(as_stored({"platt": np.array([slope, offset], np.float32)})["platt"], np.float32)


def _judged(
    rows: list[AttributeRow], readings: list[Reading], found: list[list[list[Found]]]
) -> list[tuple[float, bool]]:
    judged = []
    for row, reading, names in zip(rows, readings, found, strict=True):
        text, gold, unit = attribute_text(row), pairs_of(row.values), reading.units
        for name, spans in zip(row.ask, names, strict=True):
            for each in spans:
                value = text[int(unit.starts[each.first]) : int(unit.ends[each.last])]
                judged.append((each.score, (name, value.strip().casefold()) in gold))
    return judged
