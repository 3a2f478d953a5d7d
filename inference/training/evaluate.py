"""Scores of the heads on a file, with bootstrap intervals, by source and language, and calibration."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from inference.errors import Rejected
from inference.serving.language import detect
from inference.tasks.tags import LABELS
from inference.taxonomy import LabelMap, Taxonomy
from inference.training import data, metrics
from inference.training.fit_keywords import gold_words
from inference.training.metrics import Measure
from inference.training.perturb import Kind, perturb
from inference.training.predictors import Predictors, Value
from inference.training.tagging import pairs_of


class Evaluation(msgspec.Struct, frozen=True):
    """The measures of one file, the main one first. left_out: rows without a label."""

    task: str
    file: str
    measures: list[Measure]
    left_out: int = 0


HALF = 0.5
"""Where safety says harmful, and from where on a keyword is likelier one than not."""
REJECTED = 0.95
"""Probability of harmful from which on enrichment rejects unless told otherwise (`reject_below` 0.05 of safe)."""
Scorer = Callable[[list[int]], Measure]


def evaluate(
    task: str,
    file: Path,
    labels: Path | None,
    predictors: Predictors,
    taxonomy: Taxonomy,
    maps: LabelMap,
    kind: Kind | None = None,
) -> Evaluation:
    """kind: how the rows are perturbed before they are answered. Raises DataError for a bad file, Rejected for rows
    that hold nothing to measure on."""
    if task == "attributes":
        return _attributes(file, predictors, kind)
    if task == "spans":
        return _spans(file, predictors, kind)
    if task == "keywords":
        return _keywords(file, predictors, kind)
    if task == "safety":
        return _safety(file, predictors, kind)
    if task == "tags":
        return _tags(file, predictors, kind)
    rows = perturb(data.read_text_rows(file), kind)
    known = [row for row in rows if row.label.strip()]
    needed(known, file, "a category")
    if labels is not None:
        measures = category_measures(known, predictors, data.read_labels(labels))
    else:
        measures = node_measures(known, predictors, taxonomy, maps)
    return Evaluation(task, str(file), measures, len(rows) - len(known))


def category_measures(rows: Sequence[data.TextRow], predictors: Predictors, labels: Sequence[str]) -> list[Measure]:
    """Accuracy over a list of labels, and calibration."""
    found = predictors.labels(rows, labels)
    right = [choice.label == row.label for choice, row in zip(found, rows, strict=True)]
    measures = _sliced("accuracy", [row.language for row in rows], lambda at: metrics.mean_measure("", _at(right, at)))
    scores = [choice.score for choice in found]
    return [*measures, metrics.sure_measure("accuracy", scores, right), metrics.calibration_measure(scores, right)]


def node_measures(
    rows: Sequence[data.TextRow], predictors: Predictors, taxonomy: Taxonomy, maps: LabelMap
) -> list[Measure]:
    """Accuracy at each depth: over the rows whose label's nodes all lie that deep, whether the predicted node
    agrees with one of them from the root down to that depth."""
    source = label_source(maps, rows)
    found = predictors.nodes(rows)
    measures: list[Measure] = []
    allowed = [maps.nodes(source, row.label) for row in rows]
    for depth in range(1, max((taxonomy.depth(node) for node in taxonomy.nodes), default=0) + 1):
        hits = [
            any(taxonomy.common(choice.label, node) >= depth for node in nodes)
            for choice, nodes in zip(found, allowed, strict=True)
            if nodes and all(taxonomy.depth(node) >= depth for node in nodes)
        ]
        if hits:
            measures.append(metrics.mean_measure(f"accuracy at depth {depth}", hits))
    inside = [(c, n) for c, n in zip(found, allowed, strict=True) if n]
    right = [any(taxonomy.common(c.label, node) >= taxonomy.depth(node) for node in n) for c, n in inside]
    scores = [c.score for c, _ in inside]
    measures += [metrics.sure_measure("accuracy", scores, right), metrics.calibration_measure(scores, right)]
    measures.insert(0, metrics.mean_measure("at or under the label's node", right))
    return [msgspec.structs.replace(each, name=f"taxonomy, {each.name}") for each in measures]


def label_source(maps: LabelMap, rows: Sequence[data.TextRow]) -> str:
    """The map that knows most of the rows' labels. Raises Rejected when none knows any."""
    labels = {row.label for row in rows}
    best = max(maps.maps, key=lambda source: len(labels & set(maps.maps[source])))
    if not labels & set(maps.maps[best]):
        raise Rejected(f"no label map knows these labels ({sorted(labels)[:5]}): give a --labels file")
    return best


def _attributes(file: Path, predictors: Predictors, kind: Kind | None) -> Evaluation:
    rows = perturb(data.read_attribute_rows(file), kind)
    needed(rows, file, "a listing")
    answers = predictors.attributes(rows)
    gold = [pairs_of(row.values) for row in rows]
    predicted = pairs_said(answers)
    measures = _sliced(
        "micro F1", [row.source for row in rows], lambda at: metrics.f1_measure("", _at(gold, at), _at(predicted, at))
    )
    measures += metrics.ratio_measures(gold, predicted)
    judged = [
        (value.score, (name, value.text.strip().casefold()) in right)
        for each, right in zip(answers, gold, strict=True)
        for name, values in each.items()
        for value in values
    ]
    return Evaluation("attributes", str(file), [*measures, *_judged(judged)])


def _judged(judged: Sequence[tuple[float, bool]]) -> list[Measure]:
    """Of answers with their scores, and whether they are right: precision of the sure ones, calibration."""
    return [metrics.sure_measure("precision", *_apart(judged)), metrics.calibration_measure(*_apart(judged))]


def _apart(judged: Sequence[tuple[float, bool]]) -> tuple[list[float], list[bool]]:
    return [score for score, _ in judged], [hit for _, hit in judged]


def pairs_said(answers: Sequence[Mapping[str, Sequence[Value]]]) -> list[set[tuple[str, str]]]:
    """The attribute answers as the pairs that are compared with the gold ones."""
    return [pairs_of({name: [v.text for v in values] for name, values in each.items()}) for each in answers]


def _spans(file: Path, predictors: Predictors, kind: Kind | None) -> Evaluation:
    rows = perturb(data.read_span_rows(file), kind)
    needed(rows, file, "a sentence")
    found = predictors.spans(rows)
    gold: list[set[Any]] = [set(row.spans) for row in rows]
    predicted = [{span[:3] for span in each} for each in found]
    measures = [metrics.f1_measure("entity F1", gold, predicted)]
    for label in sorted({span[2] for each in gold for span in each}):
        only = [[{s for s in each if s[2] == label} for each in side] for side in (gold, predicted)]
        measures.append(metrics.f1_measure(f"entity F1 [{label}]", *only))
    measures += metrics.ratio_measures(gold, predicted)
    judged = [(span[3], span[:3] in right) for each, right in zip(found, gold, strict=True) for span in each]
    return Evaluation("spans", str(file), [*measures, *_judged(judged)])


def _keywords(file: Path, predictors: Predictors, kind: Kind | None) -> Evaluation:
    rows = perturb(keyword_rows(file), kind)
    answers = keyword_answers(rows, predictors)
    needed(answers, file, "a listing with gold words")
    return Evaluation("keywords", str(file), keyword_measures(answers), len(rows) - len(answers))


class KeywordAnswer(msgspec.Struct, frozen=True):
    """A listing's gold words, case folded, and the keywords that were found, with their scores."""

    source: str
    gold: frozenset[str]
    found: list[tuple[str, float]]

    @property
    def recall(self) -> float:
        """Share of the gold words among what was found, which is ten at most."""
        return len({word.casefold() for word, _ in self.found} & self.gold) / len(self.gold)


def keyword_answers(rows: Sequence[data.AttributeRow], predictors: Predictors) -> list[KeywordAnswer]:
    """Of the rows that have gold words; what a row asks is not shown to the model."""
    gold = [
        gold_words(f"{row.title}\n{row.description}", [v for vs in row.values.values() for v in vs]) for row in rows
    ]
    kept = [(row, words) for row, words in zip(rows, gold, strict=True) if words]
    found = predictors.keywords([data.AttributeRow(row.title, row.description, (), {}) for row, _ in kept])
    return [KeywordAnswer(row.source, words, each) for (row, words), each in zip(kept, found, strict=True)]


def keyword_measures(answers: Sequence[KeywordAnswer]) -> list[Measure]:
    """Recall at ten, by source; what is a gold word of those above one half and of the sure ones; calibration. A good
    keyword that is nobody's value counts as wrong."""
    measures = _sliced(
        "recall@10",
        [each.source for each in answers],
        lambda at: metrics.mean_measure("", [each.recall for each in _at(answers, at)]),
    )
    judged = [(score, word.casefold() in each.gold) for each in answers for word, score in each.found]
    return [*measures, metrics.sure_measure("precision", *_apart(judged), HALF), *_judged(judged)]


def keyword_rows(file: Path) -> list[data.AttributeRow]:
    """Attribute rows as they are; a sentence of a BIOES file with its spans as values."""
    if ".json" in file.name:
        return data.read_attribute_rows(file)
    return [span_as_listing(row) for row in data.read_span_rows(file)]


def span_as_listing(row: data.SpanRow) -> data.AttributeRow:
    """Its brand and product words as values."""
    values: dict[str, tuple[str, ...]] = {}
    for start, end, label in row.spans:
        values[label] = (*values.get(label, ()), row.text[start:end])
    return data.AttributeRow(row.text, "", tuple(values), values, "spans_zh")


def _safety(file: Path, predictors: Predictors, kind: Kind | None) -> Evaluation:
    rows = perturb(data.read_safety_rows(file), kind)
    known = [row for row in rows if row.label]
    needed(known, file, "a label")
    return Evaluation("safety", str(file), safety_measures(known, predictors), len(rows) - len(known))


def safety_measures(rows: Sequence[data.TextRow], predictors: Predictors) -> list[Measure]:
    """Accuracy at one half, by topic; F1, precision and recall of harmful there, precision where enrichment rejects;
    calibration. Rows have a label."""
    scores = predictors.safety(rows)
    harmful = [row.label == "1" for row in rows]
    right = [(score >= HALF) == truth for score, truth in zip(scores, harmful, strict=True)]
    topics = [row.columns["topic"] for row in rows]
    measures = _sliced("accuracy", topics, lambda at: metrics.mean_measure("", _at(right, at)))
    gold = [{1} if truth else set() for truth in harmful]
    said = [{1} if score >= HALF else set() for score in scores]
    return [
        *measures,
        metrics.f1_measure("F1 of harmful", gold, said),
        *(msgspec.structs.replace(m, name=f"{m.name} of harmful") for m in metrics.ratio_measures(gold, said)),
        metrics.sure_measure("precision of harmful", scores, harmful, REJECTED),
        metrics.calibration_measure([max(score, 1.0 - score) for score in scores], right),
    ]


def _tags(file: Path, predictors: Predictors, kind: Kind | None) -> Evaluation:
    rows = perturb(data.read_tag_rows(file), kind)
    known = [row for row in rows if row.label]
    needed(known, file, "a label")
    return Evaluation("tags", str(file), tag_measures(known, predictors), len(rows) - len(known))


def tag_measures(rows: Sequence[data.TagRow], predictors: Predictors) -> list[Measure]:
    """Accuracy, by language; precision and recall of each label, and precision where sure; calibration."""
    found = predictors.tags(rows)
    right = [match.label == row.label for match, row in zip(found, rows, strict=True)]
    languages = [detect(f"{row.title} {row.description}", "").code for row in rows]
    measures = _sliced("accuracy", languages, lambda at: metrics.mean_measure("", _at(right, at)))
    for label in LABELS:
        gold = [{1} if row.label == label else set() for row in rows]
        said = [{1} if match.label == label else set() for match in found]
        measures += [
            msgspec.structs.replace(each, name=f"{each.name} of {label}") for each in metrics.ratio_measures(gold, said)
        ]
        own = [(match.score, hit) for match, hit in zip(found, right, strict=True) if match.label == label]
        sure = metrics.sure_measure(f"precision of {label}", *_apart(own))
        measures += [sure] if sure.rows else []  # `unknown` never is
    return [*measures, metrics.calibration_measure([match.score for match in found], right)]


def _sliced(name: str, keys: Sequence[Hashable], score: Scorer) -> list[Measure]:
    everything = msgspec.structs.replace(score(list(range(len(keys)))), name=name)
    parts = [
        msgspec.structs.replace(score(at), name=f"{name} [{key or 'none'}]")
        for key, at in sorted(metrics.slices(keys).items())
    ]
    return [everything, *parts]


def _at(values: Sequence[Any], rows: Sequence[int]) -> list[Any]:
    return [values[row] for row in rows]


def needed(rows: Sequence[object], file: Path, what: str) -> None:
    """Raises Rejected where there is nothing to measure on."""
    if not rows:
        raise Rejected(f"{file}: at least one row with {what}")
