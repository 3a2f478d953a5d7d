"""The tagger as a torch module, the loss of its chain, and its weights as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from inference.tasks.tagger import ALLOWED, FIRST, LAST, NEVER, TAGS
from inference.tasks.units import HASH_ROWS, HASH_SLOTS, SHAPES

STATE = 384
WORDING = 24
Arrays = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class TaggerConfig:
    """Its widths, and what is left out at random while it is fitted."""

    hidden: int = 256
    joint: int = 128
    dropout: float = 0.2


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

    def forward(self, states: Tensor, shapes: Tensor, hashed: Tensor, names: Tensor) -> Tensor:
        """Tag logits [B, N, U, 5] of states [B, U, 384], shapes, hashed, and names [B, N, V]."""
        wording = self.drop(self.table(hashed).flatten(-2))
        hidden = torch.relu(self.enter(self.drop(torch.cat([states, shapes, wording], -1))))
        padded = nn.functional.pad(hidden, (0, 0, 1, 1))
        around = torch.cat([padded[:, :-2], padded[:, 1:-1], padded[:, 2:]], -1)
        context = self.drop(hidden + torch.relu(self.near(around)))
        joined = torch.relu(self.join(context)[:, None] + self.name_join(names)[:, :, None])
        gated = context[:, None] * self.name_gate(names)[:, :, None]
        out: Tensor = self.tag_join(self.drop(joined)) + self.tag_gate(gated)
        return out


def chain_loss(emissions: Tensor, tags: Tensor, steps: Tensor) -> Tensor:
    """Minus the log likelihood of tags [P, U] (-1: past the end, each has one at least) under the chain, summed over
    pairs."""
    device = emissions.device
    steps = torch.where(torch.from_numpy(ALLOWED).to(device), steps, torch.tensor(NEVER, device=device))
    inside = tags >= 0
    held = tags.clamp(min=0)
    first, last = (torch.from_numpy(x.astype(np.float32)).to(device) for x in (FIRST, LAST))
    ahead = emissions[:, 0] + first
    for at in range(1, emissions.shape[1]):
        moved = torch.logsumexp(ahead[:, :, None] + steps, 1) + emissions[:, at]
        ahead = torch.where(inside[:, at, None], moved, ahead)
    gold = emissions.gather(2, held[..., None])[..., 0] * inside
    walked = steps[held[:, :-1], held[:, 1:]] * inside[:, 1:]
    return (torch.logsumexp(ahead + last, 1) - gold.sum(1) - walked.sum(1)).sum()


def export_tagger(net: TaggerNet) -> Arrays:
    def of(tensor: Tensor) -> NDArray[np.float32]:
        return np.ascontiguousarray(tensor.detach().cpu().numpy(), np.float32)

    arrays = {"table": of(net.table.weight), "enter_bias": of(net.enter.bias), "near_bias": of(net.near.bias)}
    arrays |= {"tag_bias": of(net.tag_join.bias), "steps": of(net.steps)}
    for name in ("enter", "near", "join", "name_join", "name_gate", "tag_join", "tag_gate"):
        arrays[name] = of(getattr(net, name).weight.T)
    return arrays


def load_tagger(net: TaggerNet, arrays: Mapping[str, NDArray[np.float32]]) -> None:
    """Begin with what `export_tagger` gave."""
    with torch.no_grad():
        for name in ("enter", "near", "join", "name_join", "name_gate", "tag_join", "tag_gate"):
            getattr(net, name).weight.copy_(torch.from_numpy(np.array(arrays[name].T)))
        for name, tensor in (
            ("table", net.table.weight),
            ("enter_bias", net.enter.bias),
            ("near_bias", net.near.bias),
            ("tag_bias", net.tag_join.bias),
            ("steps", net.steps),
        ):
            tensor.copy_(torch.from_numpy(np.array(arrays[name])))
