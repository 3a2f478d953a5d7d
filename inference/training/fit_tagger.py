"""Fits the span tagger with torch on frozen token states, and hands its weights over as arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from inference.tasks.tagger import ALLOWED, FIRST, LAST, NEVER, TAGS
from inference.tasks.units import HASH_ROWS, HASH_SLOTS, SHAPES
from inference.training.tagging import Example

STATE = 384
WORDING = 24
UNITS_A_BATCH = 2_500
"""Units times names of a batch stay under 40,000, which is 60 MB of activations."""

Arrays = dict[str, NDArray[np.float32]]
Told = Callable[[int, int, float], None]


@dataclass(frozen=True)
class TaggerConfig:
    """How it is fitted. Chosen on the development split of spans_zh, where 4 to 6 passes are best."""

    hidden: int = 192
    joint: int = 128
    epochs: int = 6
    rate: float = 2e-3
    decay: float = 0.01
    dropout: float = 0.3
    name_dropout: float = 0.1
    seed: int = 20261124


class TaggerNet(nn.Module):
    """The network of inference/tasks/tagger.py, for fitting."""

    def __init__(self, config: TaggerConfig, name_width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(HASH_ROWS, WORDING)
        nn.init.normal_(self.table.weight, 0.0, 0.05)
        self.enter = nn.Linear(STATE + SHAPES + HASH_SLOTS * WORDING, config.hidden)
        self.near = nn.Linear(3 * config.hidden, config.hidden)
        self.join = nn.Linear(config.hidden, config.joint, bias=False)
        self.name_join = nn.Linear(name_width, config.joint, bias=False)
        self.name_gate = nn.Linear(name_width, config.hidden, bias=False)
        self.tag_join = nn.Linear(config.joint, TAGS)
        self.tag_gate = nn.Linear(config.hidden, TAGS, bias=False)
        self.steps = nn.Parameter(torch.zeros(TAGS, TAGS))
        self.drop = nn.Dropout(config.dropout)
        self.name_drop = nn.Dropout(config.name_dropout)

    def forward(self, states: Tensor, shapes: Tensor, hashed: Tensor, names: Tensor) -> Tensor:
        """Tag logits [B, N, U, 5] of states [B, U, 384], shapes, hashed, and names [B, N, V]."""
        wording = self.drop(self.table(hashed).flatten(-2))
        hidden = torch.relu(self.enter(self.drop(torch.cat([states, shapes, wording], -1))))
        padded = nn.functional.pad(hidden, (0, 0, 1, 1))
        around = torch.cat([padded[:, :-2], padded[:, 1:-1], padded[:, 2:]], -1)
        context = self.drop(hidden + torch.relu(self.near(around)))
        names = self.name_drop(names)
        joined = torch.relu(self.join(context)[:, None] + self.name_join(names)[:, :, None])
        gated = context[:, None] * self.name_gate(names)[:, :, None]
        out: Tensor = self.tag_join(self.drop(joined)) + self.tag_gate(gated)
        return out


def fit_tagger(
    examples: Sequence[Example], names: NDArray[np.float32], config: TaggerConfig, told: Told = lambda *_: None
) -> Arrays:
    """Weights for inference.tasks.tagger.Tagger, `platt` the identity. names: [number of names, V]."""
    torch.manual_seed(config.seed)
    mean, scale = _moments(examples)
    net = TaggerNet(config, names.shape[1])
    batches = _batches(examples)
    optimiser = torch.optim.AdamW(net.parameters(), config.rate, weight_decay=config.decay)
    steps = config.epochs * len(batches)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.rate, total_steps=steps, pct_start=0.1)
    rng, matrix, done = np.random.default_rng(config.seed), torch.from_numpy(names), 0
    for _ in range(config.epochs):
        net.train()
        for at in rng.permutation(len(batches)):
            loss = _loss(net, [examples[i] for i in batches[at]], matrix, mean, scale)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            done += 1
            told(done, steps, float(loss.detach()))
    return {**export_tagger(net), "mean": mean, "scale": scale, "platt": np.array([1.0, 0.0], np.float32)}


def _moments(examples: Sequence[Example]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    states = np.concatenate([each.units.states for each in examples[:2_000]])
    return states.mean(0), 1.0 / (states.std(0) + 1e-5)


def _batches(examples: Sequence[Example]) -> list[list[int]]:
    order = sorted((i for i in range(len(examples)) if len(examples[i].units)), key=lambda i: len(examples[i].units))
    batches: list[list[int]] = [[]]
    for i in order:
        if batches[-1] and (len(batches[-1]) + 1) * len(examples[i].units) > UNITS_A_BATCH:
            batches.append([])
        batches[-1].append(i)
    return batches


def _loss(
    net: TaggerNet, batch: list[Example], names: Tensor, mean: NDArray[np.float32], scale: NDArray[np.float32]
) -> Tensor:
    units = max(len(each.units) for each in batch)
    most = max(len(each.names) for each in batch)
    states = np.zeros((len(batch), units, STATE), np.float32)
    shapes = np.zeros((len(batch), units, SHAPES), np.float32)
    hashed = np.zeros((len(batch), units, HASH_SLOTS), np.int64)
    asked = np.zeros((len(batch), most), np.int64)
    tags = np.full((len(batch), most, units), -1, np.int64)
    for row, each in enumerate(batch):
        length = len(each.units)
        states[row, :length] = (each.units.states - mean) * scale
        shapes[row, :length], hashed[row, :length] = each.units.shapes, each.units.hashed
        asked[row, : len(each.names)] = each.names
        tags[row, : len(each.names), :length] = each.tags
    logits = net(*(torch.from_numpy(x) for x in (states, shapes, hashed)), names[torch.from_numpy(asked)])
    loss = chain_loss(logits.flatten(0, 1), torch.from_numpy(tags).flatten(0, 1), net.steps)
    return loss / sum(len(each.names) for each in batch)


def chain_loss(emissions: Tensor, tags: Tensor, steps: Tensor) -> Tensor:
    """Minus the log likelihood of tags [P, U] (-1: past the end) under the chain, summed over pairs."""
    real = tags[:, 0] >= 0
    emissions, tags = emissions[real], tags[real]
    steps = torch.where(torch.from_numpy(ALLOWED), steps, torch.tensor(NEVER))
    inside = tags >= 0
    held = tags.clamp(min=0)
    first, last = (torch.from_numpy(x.astype(np.float32)) for x in (FIRST, LAST))
    ahead = emissions[:, 0] + first
    for at in range(1, emissions.shape[1]):
        moved = torch.logsumexp(ahead[:, :, None] + steps, 1) + emissions[:, at]
        ahead = torch.where(inside[:, at, None], moved, ahead)
    gold = emissions.gather(2, held[..., None])[..., 0] * inside
    walked = steps[held[:, :-1], held[:, 1:]] * inside[:, 1:]
    return (torch.logsumexp(ahead + last, 1) - gold.sum(1) - walked.sum(1)).sum()


def export_tagger(net: TaggerNet) -> Arrays:
    def of(tensor: Tensor) -> NDArray[np.float32]:
        return np.ascontiguousarray(tensor.detach().numpy(), np.float32)

    arrays = {"table": of(net.table.weight), "enter_bias": of(net.enter.bias), "near_bias": of(net.near.bias)}
    arrays |= {"tag_bias": of(net.tag_join.bias), "steps": of(net.steps)}
    for name in ("enter", "near", "join", "name_join", "name_gate", "tag_join", "tag_gate"):
        arrays[name] = of(getattr(net, name).weight.T)
    return arrays
