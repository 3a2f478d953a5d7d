"""What a task is: a file in inference/tuning/tasks that ends with `TASKS`. Training, scores, curves, checkpoints and
hashes of the data need nothing else."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from inference.model.tokenizer import UnigramTokenizer
from inference.tuning.backbone import Hidden


@dataclass(frozen=True)
class Item:
    """One input. ids: int64 [T]. body: what the task needs for loss and score. source: the data set; empty: the
    task's own."""

    ids: NDArray[np.int64]
    body: Any
    source: str = ""


@dataclass(frozen=True)
class Loading:
    """What tasks read with. words: the tokenizer of whole texts. characters: the one of prompts. augment: whether
    there are further training rows (augment.py); seed: of what is drawn for them. words_of_backbone: the word
    embeddings, fp32 [vocabulary, 384]. pseudo: rows that a version has labelled, where there are any."""

    data: Path
    words: UnigramTokenizer
    characters: UnigramTokenizer
    words_of_backbone: Callable[[], NDArray[np.float32]]
    augment: bool = True
    seed: int = 1
    pseudo: Path | None = None


Encode = Callable[[Sequence[Item]], list[tuple[NDArray[np.float32], NDArray[np.float32]]]]
"""States [T, 384] and features [1152] of each item, without gradient."""


class Task(Protocol):
    """One task. name: as in `shares`. head_name: tasks of one name share one head. text: items are whole texts, whose
    embedding must stay what it was."""

    name: str
    head_name: str
    text: bool

    def load(self, loading: Loading) -> tuple[list[Item], list[Item]]:
        """Items to fit on and to measure on; duplicates between them left out. Raises DataError, OSError."""
        ...

    def head(self) -> nn.Module:
        """A new head, after `load`."""
        ...

    def loss(self, head: nn.Module, hidden: Hidden, items: Sequence[Item]) -> Tensor:
        """Of a batch."""
        ...

    def score(self, head: nn.Module, items: Sequence[Item], encode: Encode) -> dict[str, float]:
        """Measures on development items, the one that decides first."""
        ...


def device_of(module: nn.Module) -> torch.device:
    """Where it computes."""
    return next(module.parameters()).device


def all_tasks() -> dict[str, Task]:
    """Every task of the package by name."""
    from inference.tuning import tasks

    found: dict[str, Task] = {}
    for module in pkgutil.iter_modules(tasks.__path__):
        for task in importlib.import_module(f"{tasks.__name__}.{module.name}").TASKS:
            found[task.name] = task
    return found
