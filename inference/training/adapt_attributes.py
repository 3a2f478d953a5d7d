"""Fits the tagger to a platform's own attribute rows: the reader stays, so do prompts and speed; minutes on two cores.

The tagger goes on from where the shipped one is; the mean of both, weight for weight, is what is written, for it keeps
more of what the shipped one knows of other names (WiSE-FT: Wortsman et al., CVPR 2022; docs/adr/0008).
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference.errors import Rejected
from inference.model.prompt import NAMES_A_PROMPT
from inference.tasks.bundle import TAGGER
from inference.tasks.reading import Reading
from inference.tasks.weights import HeadFile, load_head, save_head
from inference.taxonomy import load_taxonomy
from inference.training.answers import open_encodings
from inference.training.data import AttributeRow, read_attribute_rows
from inference.training.evaluate import pairs_said
from inference.training.fit_thresholds import fit_attribute_thresholds, stated_right, stated_score
from inference.training.metrics import Measure, f1_measure
from inference.training.predictors import Predictors, Report, Value
from inference.training.splits import split_by_group
from inference.training.tagging import attribute_text, bioes, pairs_of, places_of
from inference.tuning.extraction import WIDTH, names_loss
from inference.tuning.tagger import TaggerConfig, TaggerNet, export_tagger, load_tagger

PASSES, BATCH, RATE, DECAY = 12, 16, 2e-3, 0.01
LEAST_STEPS = 120
"""Of few rows there are more passes: 60 rows in 12 passes are 48 steps, and leave much unlearned."""
SHARE = 0.85
"""Of the fitted tagger in the mean."""
LEAST_DEV = 10
"""Development rows below which thresholds cannot be chosen; one row in five is for development."""
SEED = 20261125


@dataclass(frozen=True)
class AdaptedAttributes:
    """Micro F1 on the development rows, before and after."""

    before: Measure
    after: Measure
    train: int
    dev: int


@dataclass(frozen=True)
class _Row:
    row: AttributeRow
    reading: Reading
    tags: NDArray[np.int64]


def adapt_attributes(file: Path, weights: Path, out: Path, cache: Path, report: Report) -> AdaptedAttributes:
    """Write a weights folder to `out`: that of `weights` with tagger and attribute thresholds fitted to the rows.

    file: JSON lines with title, attributes {name: [values]}, absent [names], and where there is one a description.
    Raises DataError for a bad row, Rejected for too few, Misconfigured, OSError.
    """
    rows = [replace(row, ask=row.ask[:NAMES_A_PROMPT]) for row in read_attribute_rows(file) if row.ask]
    split = split_by_group(rows, attribute_text, attribute_text)
    if len(split.dev) < LEAST_DEV or not split.train:
        raise Rejected(f"{file}: {len(rows)} rows leave {len(split.dev)} for development; at least {LEAST_DEV}")
    predictors = Predictors(weights, open_encodings(cache, weights, 0, keep=False), load_taxonomy(), report)
    train, dev = (_read(part, predictors) for part in (split.train, split.dev))
    before = _f1(predictors.attributes(split.dev), split.dev)
    if weights.resolve() != out.resolve():
        shutil.copytree(weights, out, dirs_exist_ok=True)
    tagger = load_head(weights, TAGGER)
    arrays = {**tagger.arrays, **_fit(tagger, train, report)}
    own = {"own": {"rows": [len(split.train), len(split.dev), split.dropped]}}
    _save(out, TAGGER, arrays, tagger, own)
    fitted = load_head(out, TAGGER)
    thresholds, meta = fit_attribute_thresholds(fitted, [each.row for each in dev], [each.reading for each in dev])
    was = load_head(weights, "attributes")
    statements = stated_right(split.train, predictors.schema.other_names, was.meta.get("statements", (0, 0)))
    meta |= {"stated": stated_score(*statements), "statements": list(statements)}
    _save(out, "attributes", thresholds, was, {**meta, **own})
    again = Predictors(out, open_encodings(cache, out, 0, keep=False), load_taxonomy(), report)
    return AdaptedAttributes(before, _f1(again.attributes(split.dev), split.dev), len(split.train), len(split.dev))


def _save(
    out: Path, task: str, arrays: dict[str, NDArray[np.float32]], was: HeadFile, added: Mapping[str, Any]
) -> None:
    meta = {key: value for key, value in was.meta.items() if key not in ("format", "task")}
    save_head(out, task, arrays, {**meta, **added})


def _read(rows: Sequence[AttributeRow], predictors: Predictors) -> list[_Row]:
    readings = predictors.read("rows", [attribute_text(row) for row in rows], [row.ask for row in rows])
    found = []
    for row, (reading, *_) in zip(rows, readings, strict=True):
        places = [places_of(attribute_text(row), reading.units, row.values.get(name, ())) for name in reading.names]
        tags = np.array([bioes(each, len(reading.units)) for each in places], np.int64)
        if len(reading.units):
            found.append(_Row(row, reading, tags))
    return found


def _fit(tagger: HeadFile, rows: Sequence[_Row], report: Report) -> dict[str, NDArray[np.float32]]:
    torch.manual_seed(SEED)
    net = TaggerNet(TaggerConfig(), WIDTH)
    load_tagger(net, tagger.arrays)
    optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=DECAY)
    rng, order = random.Random(SEED), list(range(len(rows)))
    batches = (len(rows) + BATCH - 1) // BATCH
    passes = max(PASSES, -(-LEAST_STEPS // batches))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=passes * batches, pct_start=0.1)
    net.train()
    for _ in range(passes):
        rng.shuffle(order)
        for at in range(0, len(order), BATCH):
            loss = _loss(net, [rows[each] for each in order[at : at + BATCH]])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            report("fit tagger", schedule.last_epoch, passes * batches)
    fitted = export_tagger(net)
    was = tagger.arrays
    return {name: (SHARE * mine + (1.0 - SHARE) * was[name]).astype(np.float32) for name, mine in fitted.items()}


def _loss(net: TaggerNet, rows: Sequence[_Row]) -> Tensor:
    """As in tuning, of states that stay."""
    units, most = max(len(each.reading.units) for each in rows), max(len(each.tags) for each in rows)
    states = np.zeros((len(rows), units, WIDTH), np.float32)
    names = np.zeros((len(rows), most, WIDTH), np.float32)
    for at, each in enumerate(rows):
        states[at, : len(each.reading.units)] = each.reading.units.states
        names[at, : len(each.tags)] = each.reading.vectors
    pairs = [(each.reading.units, each.tags) for each in rows]
    return names_loss(net, torch.from_numpy(states), torch.from_numpy(names), pairs)


def _f1(answers: Sequence[dict[str, list[Value]]], rows: Sequence[AttributeRow]) -> Measure:
    return f1_measure("micro F1", [pairs_of(row.values) for row in rows], pairs_said(answers))
