"""Batches of about as many tokens, from items of about one length, in an order that the seed decides."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from inference.tuning.task import Item

POOL = 200
"""Batches' worth of items that are sorted into lengths together: neighbours still change from pass to pass."""
LENGTHS: tuple[int, ...] = (*range(8, 64, 8), *range(64, 128, 16), *range(128, 512 + 1, 32))
"""Padded lengths. Few, and a batch of one length has one number of rows: oneDNN makes code for each new shape of a
product, which took a third of the time with shapes as they came."""
PAD = 1


def padded(items: Sequence[Item]) -> tuple[Tensor, Tensor]:
    """Ids and mask, int64 [B, T]."""
    longest = length_of(max(len(item.ids) for item in items))
    ids = np.full((len(items), longest), PAD, np.int64)
    mask = np.zeros((len(items), longest), np.int64)
    for row, item in enumerate(items):
        ids[row, : len(item.ids)], mask[row, : len(item.ids)] = item.ids, 1
    return torch.from_numpy(ids), torch.from_numpy(mask)


def length_of(tokens: int) -> int:
    """The padded length of this many tokens. Raises ValueError above the longest."""
    for length in LENGTHS:
        if tokens <= length:
            return length
    raise ValueError(f"{tokens} tokens are more than {LENGTHS[-1]}")


def cut(order: Sequence[int], items: Sequence[Item], tokens: int) -> list[list[int]]:
    """Places in batches of one padded length each and at most `tokens` padded tokens."""
    by_length: dict[int, list[int]] = {}
    for at in order:
        by_length.setdefault(length_of(len(items[at].ids)), []).append(at)
    batches: list[list[int]] = []
    for length, places in by_length.items():
        most = max(1, tokens // length)
        batches += [places[at : at + most] for at in range(0, len(places), most)]
    return batches


@dataclass
class Stream:
    """Endless batches of one task. passes, at: where it is; with the seed they say which batch comes next."""

    items: Sequence[Item]
    tokens: int
    seed: int
    passes: int = 0
    at: int = 0

    def __post_init__(self) -> None:
        self._batches = self._pass()

    def next(self) -> list[Item]:
        """The next batch."""
        if self.at >= len(self._batches):
            self.passes, self.at = self.passes + 1, 0
            self._batches = self._pass()
        batch = self._batches[self.at]
        self.at += 1
        return [self.items[at] for at in batch]

    def resume(self, passes: int, at: int) -> None:
        """Go on from there."""
        self.passes, self.at = passes, at
        self._batches = self._pass()

    def _pass(self) -> list[list[int]]:
        rng = random.Random(f"{self.seed} {self.passes}")
        order = list(range(len(self.items)))
        rng.shuffle(order)
        mean = max(1.0, sum(len(item.ids) for item in self.items) / max(len(order), 1))
        pool = max(1, int(POOL * self.tokens / mean))
        batches: list[list[int]] = []
        for begin in range(0, len(order), pool):
            batches += cut(order[begin : begin + pool], self.items, self.tokens)
        rng.shuffle(batches)
        return batches
