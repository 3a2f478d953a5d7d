"""Fits the two heads that are taggers, attributes and spans: network, calibration, thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.model.encoder import Encoded
from inference.tasks.spans import LABEL_VECTORS
from inference.tasks.tagger import WORTH, Found, Tagger
from inference.tasks.units import Units
from inference.tasks.weights import as_stored
from inference.training.data import AttributeRow, SpanRow
from inference.training.fit_tagger import Arrays, TaggerConfig, Told, fit_tagger
from inference.training.tagging import (
    THRESHOLDS,
    attribute_example,
    attribute_f1,
    attribute_text,
    pairs_of,
    platt,
    span_example,
    span_f1,
    span_set,
)

SPAN_CONFIG = TaggerConfig(epochs=6, name_dropout=0.0)
ATTRIBUTE_CONFIG = TaggerConfig(epochs=6, hidden=256)
WORTH_LEAST = 0.02
"""Candidates from here on are calibrated: the chain's own floor is WORTH = 0.01."""

Fitted = tuple[dict[str, NDArray[Any]], dict[str, Any]]


def fit_spans(train: list[tuple[SpanRow, Encoded]], dev: list[tuple[SpanRow, Encoded]], told: Told) -> Fitted:
    """Arrays and meta of the spans head; the threshold is the best one on dev."""
    arrays = as_stored(fit_tagger([span_example(*pair) for pair in train], LABEL_VECTORS, SPAN_CONFIG, told))
    rows, units = [row for row, _ in dev], [span_example(*pair).units for pair in dev]
    found = _found(arrays, units, [LABEL_VECTORS] * len(units))
    right = [
        (each.score, span in set(row.spans))
        for row, unit, labels in zip(rows, units, found, strict=True)
        for label, spans in zip(("HC", "HP"), labels, strict=True)
        for each in spans
        for span in span_set(unit, [(label, each)])
    ]
    arrays = _calibrated(arrays, right)
    found = _found(arrays, units, [LABEL_VECTORS] * len(units))
    least = max(THRESHOLDS, key=lambda at: span_f1(rows, units, found, at))
    return arrays, {"least": least, "labels": ["HC", "HP"]}


def fit_attributes(
    train: list[tuple[AttributeRow, Encoded]],
    dev: list[tuple[AttributeRow, Encoded]],
    names: dict[str, Encoded],
    told: Told,
) -> Fitted:
    """Arrays and meta of the attributes head. names: each name that a row asks for, encoded."""
    known = sorted({name for row, _ in train for name in row.ask})
    vectors = np.stack([names[name].pooled for name in known])
    mean = vectors.mean(0)
    scale = np.array([1.0 / float((vectors - mean).std())], np.float32)
    stored = as_stored({"name_vectors": vectors, "name_mean": mean, "name_scale": scale})

    def centred(name: str) -> NDArray[np.float32]:
        return np.asarray((names[name].pooled - stored["name_mean"]) * stored["name_scale"], np.float32)

    index = {name: at for at, name in enumerate(known)}
    examples = [attribute_example(row, encoded, index) for row, encoded in train]
    matrix = np.stack([centred(name) for name in known])
    arrays = as_stored(fit_tagger(examples, matrix, ATTRIBUTE_CONFIG, told))
    rows = [row for row, _ in dev]
    everything = {name: at for at, name in enumerate(names)}
    units = [attribute_example(row, encoded, everything).units for row, encoded in dev]
    asked = [np.stack([centred(name) for name in row.ask]) for row in rows]
    arrays = _calibrated(arrays, _judged(rows, units, _found(arrays, units, asked)))
    first, more = _thresholds(rows, units, _found(arrays, units, asked))
    return {**arrays, **stored}, {"names": known, "first": first, "more": more}


def _found(arrays: Arrays, units: Sequence[Units], names: Sequence[NDArray[np.float32]]) -> list[list[list[Found]]]:
    tagger = Tagger(arrays)
    return [tagger.find(each, vectors, WORTH_LEAST) for each, vectors in zip(units, names, strict=True)]


def _calibrated(arrays: Arrays, judged: list[tuple[float, bool]]) -> Arrays:
    scores = np.array([score for score, _ in judged], np.float64).clip(np.exp(WORTH) / 2, 1 - 1e-6)
    right = np.array([hit for _, hit in judged], bool)
    slope, offset = platt(np.log(scores / (1.0 - scores)), right)
    return as_stored({**arrays, "platt": np.array([slope, offset], np.float32)})


def _judged(rows: list[AttributeRow], units: list[Units], found: list[list[list[Found]]]) -> list[tuple[float, bool]]:
    judged = []
    for row, unit, names in zip(rows, units, found, strict=True):
        text, gold = attribute_text(row), pairs_of(row.values)
        for name, spans in zip(row.ask, names, strict=True):
            for each in spans:
                value = text[int(unit.starts[each.first]) : int(unit.ends[each.last])]
                judged.append((each.score, (name, value.strip().casefold()) in gold))
    return judged


def _thresholds(rows: list[AttributeRow], units: list[Units], found: list[list[list[Found]]]) -> tuple[float, float]:
    """By turns: the best value's, then the further ones'."""
    first, more = 0.5, 0.5
    for _ in range(2):
        first = max(THRESHOLDS, key=lambda at: attribute_f1(rows, units, found, at, more))
        more = max(THRESHOLDS, key=lambda at: attribute_f1(rows, units, found, first, at))
    return first, more
