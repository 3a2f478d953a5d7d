"""Fits the category head: linear weights for each set's labels, and the comparison with names (torch)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from inference.model.encoder import Encoded
from inference.tasks.category import NameSide, unit
from inference.training.softmax import Arrays

Told = Callable[[int, int, float], None]
"""Told (done, total, loss) after each pass."""
WIDTH = 96
"""Of the common space: 440 KB for both maps; not tuned."""
EPOCHS = 14
BATCH = 256
RATE, DECAY, DROPOUT = 2e-3, 0.05, 0.2
FEATURE_NOISE = 0.3
COSINE_START = 8.0
"""Centred cosines lie within +-0.6; times 8 that is a likelihood ratio of 100, a mild opinion."""
COSINE = 60.0
"""Weight of the plain cosine once the maps are learned. Learned along with them it stays at 8, for the three sets
know 168 labels: the maps then drown what the encoder knows of all other goods. Right root on the project's own 210
listings of 34 roots, none fitted on: 0.75 at 30, 0.79 at 60, 0.81 at 100, 0.81 at 150, 0.78 with the cosine alone;
right node on fashion's development rows: 0.959, 0.934, 0.906, 0.881."""
SPREAD = 40.0
"""A label that allows many nodes (a Chinese store title is `clothes`) says nothing of which: they share its weight by
the plain cosine times this. With the likelihood of all of them together one node takes everything: dresses were
children's wear."""
HEATS = np.geomspace(0.25, 64.0, 49)
SEED = 20261124


@dataclass(frozen=True)
class Listing:
    """A text and the nodes that it may belong to (rows of the name side). weight: of its loss."""

    encoded: Encoded
    allowed: NDArray[np.int64]
    weight: float = 1.0


class _Matcher(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        start = torch.randn(width, WIDTH) / width**0.5
        self.query, self.name = nn.Parameter(start.clone() * 0.5), nn.Parameter(start.clone() * 0.5)
        self.cosine = nn.Parameter(torch.tensor(COSINE_START))
        self.drop = nn.Dropout(DROPOUT)

    def forward(self, query: Tensor, cosine: Tensor, names: Tensor) -> Tensor:
        out: Tensor = (self.drop(query) @ self.query) @ (self.drop(names) @ self.name).T + self.cosine * cosine
        return out


def fit_matcher(listings: Sequence[Listing], side: NameSide, told: Told, start: Arrays | None = None) -> Arrays:
    """Weights of a NameMatcher, heat 1, that say of a listing which of its allowed nodes are the likely ones.

    start: weights to go on from; their means and scales stay."""
    torch.manual_seed(SEED)
    features = np.stack([each.encoded.features for each in listings])
    pooled = np.stack([each.encoded.pooled for each in listings])
    fixed = {
        "query_mean": features.mean(0), "query_scale": 1.0 / (features.std(0) + 1e-4),
        "name_mean": side.features.mean(0), "name_scale": 1.0 / (side.features.std(0) + 1e-4),
        "pooled_mean": pooled.mean(0), "name_pooled_mean": side.pooled.mean(0),
    }  # fmt: skip
    fixed = {name: start[name] for name in fixed} if start else fixed
    query = torch.from_numpy((features - fixed["query_mean"]) * fixed["query_scale"])
    names = torch.from_numpy((side.features - fixed["name_mean"]) * fixed["name_scale"])
    cosine = torch.from_numpy(unit(pooled - fixed["pooled_mean"]) @ unit(side.pooled - fixed["name_pooled_mean"]).T)
    allowed = torch.zeros(len(listings), len(side.features), dtype=torch.bool)
    for row, each in enumerate(listings):
        allowed[row, torch.from_numpy(each.allowed)] = True
    weights = torch.tensor([each.weight for each in listings])
    net = _Matcher(features.shape[1])
    if start:
        net.query.data, net.name.data = (torch.from_numpy(start[name].astype(np.float32)) for name in ("query", "name"))
    shares = torch.softmax((SPREAD * cosine).masked_fill(~allowed, -1e9), 1)
    _train(net, query, cosine, names, shares, weights, told)
    learned = {name: getattr(net, name).detach().numpy() for name in ("query", "name")}
    return {**fixed, **learned, "cosine": np.array([COSINE], np.float32), "heat": np.ones(1, np.float32)}


def _train(
    net: _Matcher, query: Tensor, cosine: Tensor, names: Tensor, shares: Tensor, weights: Tensor, told: Told
) -> None:
    optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=DECAY)
    batches = (len(query) + BATCH - 1) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=EPOCHS * batches, pct_start=0.1)
    rng, done = np.random.default_rng(SEED), 0
    net.train()
    for _ in range(EPOCHS):
        order = rng.permutation(len(query))
        for at in range(batches):
            rows = torch.from_numpy(order[at * BATCH : (at + 1) * BATCH])
            noisy = query[rows] + FEATURE_NOISE * torch.randn(len(rows), query.shape[1])
            log_p = torch.log_softmax(net(noisy, cosine[rows], names), 1)
            loss = -((log_p * shares[rows]).sum(1) * weights[rows]).sum() / weights[rows].sum()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            done += 1
            told(done, EPOCHS * batches, float(loss.detach()))


def best_heat(scores: NDArray[np.float32], allowed: Sequence[NDArray[np.int64]]) -> float:
    """The divisor of the scores [rows, N] under which the allowed nodes of the rows are likeliest."""
    found = [(float(np.mean(_surprise(scores / heat, allowed))), float(heat)) for heat in HEATS]
    return min(found)[1]


def _surprise(scores: NDArray[np.float32], allowed: Sequence[NDArray[np.int64]]) -> list[float]:
    log_p = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
    return [-float(np.logaddexp.reduce(row[nodes])) for row, nodes in zip(log_p, allowed, strict=True)]


def with_prefix(prefix: str, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Arrays of one set's Linear under its name."""
    return {f"{prefix}.{name}": value for name, value in arrays.items()}
