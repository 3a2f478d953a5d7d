"""The spans head's own tagger (inference/tasks/spans.py): fitted on the frozen states of whole sentences."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from inference.tasks.spans import LABEL_VECTORS, OWN
from inference.tasks.units import Units
from inference.tasks.weights import as_stored
from inference.training.data import SpanRow
from inference.training.tagging import span_tags
from inference.tuning.extraction import names_loss, tagger_arrays
from inference.tuning.tagger import STATE, TaggerConfig, TaggerNet

CONFIG = TaggerConfig(hidden=192, dropout=0.5)
"""Some 4,000 sentences are few: at a dropout of 0.3 (hidden 256) F1 was 0.704 after 6 passes and 0.695 after 12."""
PASSES = 8
RATE, DECAY, CLIP = 2e-3, 0.01, 5.0
UNITS_A_BATCH = 2_500
"""About 95 sentences."""
MEASURED_ON = 2_000
"""Sentences that the states' mean and spread are taken from; without them the states' common part drowns the rest."""
SEED = 20261128

Told = Callable[[int, int], None]


def fit_span_tagger(rows: Sequence[tuple[SpanRow, Units]], told: Told) -> dict[str, NDArray[Any]]:
    """Arrays `own.*` as they will be stored; scores are the chain's own, not calibrated."""
    kept = [(units, span_tags(row, units)) for row, units in rows if len(units)]
    mean, scale = _moments([units for units, _ in kept[:MEASURED_ON]])
    examples = [(replace(units, states=(units.states - mean) * scale), tags) for units, tags in kept]
    torch.manual_seed(SEED)
    rng = random.Random(SEED)
    net = TaggerNet(CONFIG, len(LABEL_VECTORS))
    batches = _batches([len(units) for units, _ in examples])
    steps = PASSES * len(batches)
    optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps + 1, pct_start=0.1)
    net.train()
    for done in range(steps):
        if done % len(batches) == 0:
            rng.shuffle(batches)
        batch = [examples[at] for at in batches[done % len(batches)]]
        states = np.zeros((len(batch), max(len(units) for units, _ in batch), STATE), np.float32)
        for at, (units, _) in enumerate(batch):
            states[at, : len(units)] = units.states
        names = torch.from_numpy(LABEL_VECTORS).expand(len(batch), -1, -1)
        loss = names_loss(net, torch.from_numpy(states), names, batch)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), CLIP)
        optimiser.step()
        schedule.step()
        told(done + 1, steps)
    return as_stored({OWN + name: each for name, each in _unscaled(tagger_arrays(net), mean, scale).items()})


def _moments(units: Sequence[Units]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    states = np.concatenate([each.states for each in units])
    return states.mean(0), np.float32(1.0) / (states.std(0) + np.float32(1e-5))


def _unscaled(
    arrays: dict[str, NDArray[np.float32]], mean: NDArray[np.float32], scale: NDArray[np.float32]
) -> dict[str, NDArray[np.float32]]:
    """The same network for states as they are."""
    enter = arrays["enter"].copy()
    enter[:STATE] *= scale[:, None]
    return {**arrays, "enter": enter, "enter_bias": arrays["enter_bias"] - mean @ enter[:STATE]}


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Sentences of about one length together."""
    batches: list[list[int]] = [[]]
    for at in sorted(range(len(lengths)), key=lambda at: lengths[at]):
        if batches[-1] and (len(batches[-1]) + 1) * lengths[at] > UNITS_A_BATCH:
            batches.append([])
        batches[-1].append(at)
    return batches
