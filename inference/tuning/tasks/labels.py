"""One label a text: the category sets and harmful text. A new set of this kind is one line of TASKS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from inference.training import corpora
from inference.training.data import TextRow
from inference.training.splits import Split
from inference.tuning.backbone import Hidden
from inference.tuning.task import Encode, Item, Loading, device_of

FEATURES = 1152
TOKENS = 128
"""Read of a text while training: 99% of the posts are shorter."""


class Labels:
    """A classification of features by one linear layer."""

    text = True

    def __init__(self, name: str, read: Callable[[Path], Split[TextRow]], head_name: str = "") -> None:
        self.name, self.head_name, self._read = name, head_name or name, read
        self.labels: list[str] = []

    def load(self, loading: Loading) -> tuple[list[Item], list[Item]]:
        split = self._read(loading.data)
        rows = [row for row in split.train if row.label]
        self.labels = sorted({row.label for row in rows})
        return self._items(rows, loading), self._items(split.dev, loading)

    def _items(self, rows: Sequence[TextRow], loading: Loading) -> list[Item]:
        index = {label: at for at, label in enumerate(self.labels)}
        tokens = loading.words.encode([row.text for row in rows])
        return [
            Item(
                np.concatenate([each.ids[: TOKENS - 1], each.ids[-1:]]) if len(each.ids) > TOKENS else each.ids,
                index.get(row.label, -1),
            )
            for row, each in zip(rows, tokens, strict=True)
            if row.label
        ]

    def head(self) -> nn.Module:
        return nn.Sequential(nn.Dropout(0.1), nn.Linear(FEATURES, len(self.labels)))

    def loss(self, head: nn.Module, hidden: Hidden, items: Sequence[Item]) -> Tensor:
        truth = torch.tensor([item.body for item in items], device=hidden.features.device)
        return nn.functional.cross_entropy(head(hidden.features), truth)

    def score(self, head: nn.Module, items: Sequence[Item], encode: Encode) -> dict[str, float]:
        """Accuracy; a label that training never saw counts as wrong."""
        features = torch.from_numpy(np.stack([each for _, each in encode(items)])).to(device_of(head))
        with torch.no_grad():
            said = head(features).argmax(-1).tolist()
        return {"accuracy": float(np.mean([item.body == label for item, label in zip(items, said, strict=True)]))}


def _category(at: int) -> Labels:
    wanted = corpora.CATEGORY_SETS[at]
    return Labels(wanted.name, lambda data: corpora.category_split(data, wanted))


def _safety(at: int, name: str) -> Labels:
    return Labels(name, lambda data: corpora.safety_sets(data)[at].split, "safety")


TASKS = (*(_category(at) for at in range(len(corpora.CATEGORY_SETS))), _safety(0, "cold_zh"), _safety(1, "hate_en"))
