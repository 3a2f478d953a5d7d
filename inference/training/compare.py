"""Two weights folders on the same rows: what the second is better by, with the interval of a paired bootstrap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.taxonomy import LabelMap
from inference.training import data, metrics
from inference.training.evaluate import keyword_answers, keyword_rows, label_source, needed, pairs_said
from inference.training.metrics import Measure
from inference.training.predictors import Predictors
from inference.training.tagging import pairs_of


@dataclass(frozen=True)
class Outcome:
    """table: fp64 [rows, 3], right, predicted and gold; for shares (accuracy, recall) the last two are 1.
    keys: the slice of each row."""

    measure: str
    table: NDArray[np.float64]
    keys: list[str]


def compare(one: Outcome, other: Outcome) -> list[Measure]:
    """All rows first, then by slice."""
    found = [metrics.difference(one.table, other.table, one.measure)]
    for key, rows in sorted(metrics.slices(one.keys).items()):
        found.append(metrics.difference(one.table[rows], other.table[rows], f"{one.measure} [{key or 'none'}]"))
    return found


def outcome(task: str, file: Path, labels: Path | None, predictors: Predictors, maps: LabelMap) -> Outcome:
    """Of one weights folder. Raises DataError for a bad file, Rejected for rows that hold nothing to measure on."""
    if task == "attributes":
        listings = data.read_attribute_rows(file)
        needed(listings, file, "a listing")
        said = pairs_said(predictors.attributes(listings))
        return Outcome("micro F1", metrics.counts([pairs_of(r.values) for r in listings], said), _sources(listings))
    if task == "spans":
        sentences = data.read_span_rows(file)
        needed(sentences, file, "a sentence")
        found = [{span[:3] for span in each} for each in predictors.spans(sentences)]
        table = metrics.counts([set(row.spans) for row in sentences], found)
        return Outcome("entity F1", table, [""] * len(sentences))
    if task == "keywords":
        answers = keyword_answers(keyword_rows(file), predictors)
        needed(answers, file, "a listing with gold words")
        return Outcome("recall@10", _shares([each.recall for each in answers]), [each.source for each in answers])
    if task == "safety":
        posts = [row for row in data.read_safety_rows(file) if row.label]
        needed(posts, file, "a label")
        scores = predictors.safety(posts)
        right = [(score >= 0.5) == (row.label == "1") for score, row in zip(scores, posts, strict=True)]
        return Outcome("accuracy", _shares(right), [row.columns["topic"] for row in posts])
    if task == "tags":
        pairs = [row for row in data.read_tag_rows(file) if row.label]
        needed(pairs, file, "a label")
        right = [match.label == row.label for match, row in zip(predictors.tags(pairs), pairs, strict=True)]
        return Outcome("accuracy", _shares(right), [row.label for row in pairs])
    rows = [row for row in data.read_text_rows(file) if row.label.strip()]
    needed(rows, file, "a category")
    return Outcome("accuracy", _shares(_categories(rows, labels, predictors, maps)), [row.language for row in rows])


def _categories(rows: list[data.TextRow], labels: Path | None, predictors: Predictors, maps: LabelMap) -> list[bool]:
    if labels is not None:
        found = predictors.labels(rows, data.read_labels(labels))
        return [choice.label == row.label for choice, row in zip(found, rows, strict=True)]
    source = label_source(maps, rows)
    return [
        choice.label in maps.nodes(source, row.label) for choice, row in zip(predictors.nodes(rows), rows, strict=True)
    ]


def _shares(values: Sequence[float]) -> NDArray[np.float64]:
    held = np.asarray(values, np.float64)
    return np.stack([held, np.ones_like(held), np.ones_like(held)], 1)


def _sources(rows: Sequence[data.AttributeRow]) -> list[str]:
    return [row.source for row in rows]
