"""Fits the comparison with category names to a platform's own taxonomy and labelled rows.

Without rows a taxonomy works by its names alone. With rows the two maps of the shipped comparison are moved on from
where they are: what they know of product texts stays, what the rows say of this taxonomy is added.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.errors import Rejected
from inference.model.text import compose
from inference.tasks.category import NameMatcher, NameSide, node_side
from inference.tasks.weights import as_stored, load_head, save_head
from inference.taxonomy import Taxonomy
from inference.training.answers import open_encodings
from inference.training.data import DataError, TextRow, read_text_rows
from inference.training.fit_category import Listing, best_heat, fit_matcher
from inference.training.metrics import Measure, mean_measure
from inference.training.predictors import Predictors, Report
from inference.training.splits import split_by_group

COSINES = (8.0, 30.0, 60.0, 100.0, 150.0, 250.0)
"""Weights of the plain cosine that are tried; the development rows choose."""
LEAST_DEV = 5
"""Development rows below which nothing can be chosen; one row in five is for development."""


@dataclass(frozen=True)
class Adapted:
    """before, after: accuracy on the development rows, at the root first, then at or under the labelled node."""

    before: list[Measure]
    after: list[Measure]
    train: int
    dev: int


def adapt(rows: Path, taxonomy: Taxonomy, weights: Path, out: Path, cache: Path, report: Report) -> Adapted:
    """Write a weights folder to `out`: that of `weights` with the comparison fitted to the rows.

    rows: JSON lines with title, category (an id of the taxonomy) and, where there is one, description. Raises DataError
    for a bad row, Rejected for too few, Misconfigured, OSError.
    """
    labelled = read_own_rows(rows, taxonomy)
    split = split_by_group(labelled, lambda row: row.text, lambda row: row.text)
    if len(split.dev) < LEAST_DEV or not split.train:
        raise Rejected(f"{rows}: {len(labelled)} rows leave {len(split.dev)} for development; at least {LEAST_DEV}")
    # Kept: names are asked for twice, and a second try with other rows has most of its texts already.
    predictors = Predictors(weights, open_encodings(cache, weights, 0, keep=True), taxonomy, report)
    names = predictors.node_names()
    side = node_side([names["node.en"], names["node.zh"]], taxonomy)
    at = {node: row for row, node in enumerate(taxonomy.nodes)}
    train, dev = (_listings(part, predictors, taxonomy, at) for part in (split.train, split.dev))
    known = [
        Listing(encoded, np.array([row], np.int64))
        for language in ("en", "zh")
        for row, encoded in enumerate(predictors.encode("names", [each.name(language) for each in taxonomy]))
    ]
    head = load_head(weights, "category")
    start = {name: array for name, array in head.arrays.items() if "." not in name}
    before = _scores(NameMatcher(start), side, dev, split.dev, taxonomy)
    fitted = fit_matcher([*train, *known], side, lambda done, total, _: report("fit", done, total), start)
    fitted = max(_weighed(fitted, side, dev), key=lambda pair: pair[0])[1]
    after = _scores(NameMatcher(as_stored(fitted)), side, dev, split.dev, taxonomy)
    if weights.resolve() != out.resolve():
        shutil.copytree(weights, out, dirs_exist_ok=True)
    own = {"own": {"rows": [len(split.train), len(split.dev), split.dropped], "taxonomy": taxonomy.version}}
    meta = {key: value for key, value in head.meta.items() if key not in ("format", "task")}
    save_head(out, "category", {**head.arrays, **fitted}, {**meta, **own})
    return Adapted(before, after, len(split.train), len(split.dev))


def read_own_rows(file: Path, taxonomy: Taxonomy) -> list[TextRow]:
    """The rows, each checked against the taxonomy. Raises DataError, OSError."""
    rows = read_text_rows(file)
    for row in rows:
        if row.columns.get("category", "") not in taxonomy.nodes:
            raise DataError(file, row.line, "category", row.columns.get("category"), "an id of the taxonomy")
    return [
        TextRow(compose(row.text, row.description).text, row.columns["category"], row.group, row.source) for row in rows
    ]


def _listings(rows: Sequence[TextRow], predictors: Predictors, taxonomy: Taxonomy, at: dict[str, int]) -> list[Listing]:
    """A row lies at its node or anywhere under it."""
    encoded = predictors.encode("rows", [row.text for row in rows])
    return [
        Listing(each, np.array(sorted(at[node] for node in taxonomy.under(row.label)), np.int64))
        for each, row in zip(encoded, rows, strict=True)
    ]


def _weighed(
    fitted: dict[str, NDArray[np.float32]], side: NameSide, dev: Sequence[Listing]
) -> list[tuple[float, dict[str, NDArray[np.float32]]]]:
    """For each weight of the plain cosine: the share of development rows that are right, and the arrays with the
    temperature that goes with it."""
    found = []
    for cosine in COSINES:
        arrays = {**fitted, "cosine": np.array([cosine], np.float32)}
        matcher = NameMatcher(as_stored(arrays))
        vectors = matcher.vectors(side)
        scores = np.stack([matcher.scores(each.encoded, vectors) for each in dev])
        right = float(np.mean([row.argmax() in each.allowed for row, each in zip(scores, dev, strict=True)]))
        heat = best_heat(scores, [each.allowed for each in dev])
        found.append((right, {**arrays, "heat": np.array([heat], np.float32)}))
    return found


def _scores(
    matcher: NameMatcher, side: NameSide, dev: Sequence[Listing], rows: Sequence[TextRow], taxonomy: Taxonomy
) -> list[Measure]:
    vectors, ids = matcher.vectors(side), list(taxonomy.nodes)
    said = [ids[int(matcher.scores(each.encoded, vectors).argmax())] for each in dev]
    common = [
        (taxonomy.common(node, row.label), taxonomy.depth(row.label)) for node, row in zip(said, rows, strict=True)
    ]
    return [
        mean_measure("right root", [shared >= 1 for shared, _ in common]),
        mean_measure("at or under the row's node", [shared >= depth for shared, depth in common]),
    ]
