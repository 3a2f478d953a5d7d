"""The queue of listings by length class, and the rule that says when a batch leaves it."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np

from inference.client.limits import Limits
from inference.client.transport import Embedding
from inference.contract import ListingAnswer, ListingInput
from inference.deadline import Deadline
from inference.errors import InferenceError

CLASS_BOUNDS = (32, 64, 128, 256)
"""Upper bounds of the length classes in estimated tokens, a factor of two apart as the server's buckets
are: within a class at most half of a padded batch is padding."""
ASCII_PER_TOKEN = 4.0
"""Code points of Latin text that make a token of the encoder's vocabulary."""
TOKENS_PER_WIDE = 0.7
"""Tokens that a Chinese character makes."""

TIMER_RESOLUTION_S = 1e-6
"""A wait shorter than this is over: added to a clock of days it may round to nothing and never end."""


@dataclass(frozen=True)
class Answer:
    """One listing's answer; embedding: float32 [384], unit length, zeros for a fault."""

    answer: ListingAnswer
    embedding: Embedding


@dataclass(eq=False)
class Work:
    """One admitted listing. since: when it was queued; error: how its newest try failed."""

    row: bytes
    length_class: int
    deadline: Deadline
    since: float
    future: asyncio.Future[Answer]
    error: InferenceError | None = None
    failures: int = 0
    batch: Batch | None = None

    @property
    def open(self) -> bool:
        """Whether somebody still waits for the answer."""
        return not self.future.done()


@dataclass(eq=False)
class Batch:
    """Listings that left the queue together, and the task that works on them."""

    works: list[Work]
    task: asyncio.Task[None] | None = field(default=None)

    @property
    def open(self) -> bool:
        """Whether anybody still waits for any of the answers."""
        return any(work.open for work in self.works)


def length_class(item: ListingInput) -> int:
    """Index of the class by a rough token count; exact counts are the server's, which buckets again.

    In UTF-8 a Chinese character takes three bytes and an ASCII one takes one, which tells how many
    of either there are without looking at each.
    """
    points = len(item.title) + len(item.description)
    size = len(item.title.encode()) + len(item.description.encode())
    wide = (size - points) / 2
    tokens = (points - wide) / ASCII_PER_TOKEN + wide * TOKENS_PER_WIDE
    return bisect_left(CLASS_BOUNDS, tokens)


class LengthQueue:
    """Waiting listings, first come first served within a class."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._classes: list[OrderedDict[Work, None]] = [OrderedDict() for _ in range(len(CLASS_BOUNDS) + 1)]

    def __len__(self) -> int:
        return sum(len(waiting) for waiting in self._classes)

    def add(self, work: Work) -> None:
        """Queue one listing."""
        self._classes[work.length_class][work] = None

    def remove(self, work: Work) -> bool:
        """Take one listing out; False when it had left already."""
        return self._classes[work.length_class].pop(work, work) is None

    def clear(self) -> list[Work]:
        """Take everything out."""
        return [work for waiting in self._classes for work in self._drain(waiting)]

    def due_in(self, now: float) -> float | None:
        """Seconds until the oldest listing has waited long enough; None for an empty queue."""
        oldest = min((_since(waiting) for waiting in self._classes if waiting), default=None)
        return None if oldest is None else self._left(oldest, now)

    def take(self, now: float, *, idle: bool) -> list[Work]:
        """The next batch, or nothing when it is better to wait for mates.

        The class whose oldest listing has waited longest goes first among those that are due; with
        none due, the first full one; with neither, when the server is idle, the oldest.
        """
        waiting = sorted((w for w in self._classes if w), key=_since)
        if not waiting:
            return []
        due = not self._left(_since(waiting[0]), now)
        full = next((w for w in waiting if len(w) >= self._limits.max_batch), None)
        chosen = waiting[0] if due else full
        if chosen is None and idle:
            chosen = waiting[0]
        return self._pop(chosen) if chosen is not None else []

    def _left(self, since: float, now: float) -> float:
        left = since + self._limits.max_batch_wait_s - now
        return left if left > TIMER_RESOLUTION_S else 0.0

    def _drain(self, waiting: OrderedDict[Work, None]) -> list[Work]:
        works = list(waiting)
        waiting.clear()
        return works

    def _pop(self, waiting: OrderedDict[Work, None]) -> list[Work]:
        return [waiting.popitem(last=False)[0] for _ in range(min(len(waiting), self._limits.max_batch))]


def _since(waiting: OrderedDict[Work, None]) -> float:
    return next(iter(waiting)).since


def as_embedding(values: object) -> Embedding:
    """A float32 vector of its own memory, so that one kept row does not hold its whole batch."""
    return np.array(values, dtype=np.float32)
