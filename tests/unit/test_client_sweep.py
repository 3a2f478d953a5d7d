"""The sweep counts every listing that is answered, and every call that is not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from inference.client.sweep import Seen, Setting, sweep, table
from inference.client.transport import Reply
from inference.contract import EMBEDDING_DIM, ListingInput
from inference.errors import Overloaded

TEXTS = {"short": [ListingInput(title=f"shirt {at}") for at in range(5)]}


class Counting:
    """A transport that answers after a moment, and refuses every `refuses`-th call."""

    def __init__(self, refuses: int = 0) -> None:
        self.answered, self.calls, self._refuses = 0, 0, refuses

    async def infer(self, rows: Sequence[bytes], timeout_s: float) -> list[Reply]:
        self.calls += 1
        number = self.calls
        await asyncio.sleep(0.002)
        if self._refuses and number % self._refuses == 0:
            raise Overloaded("full")
        self.answered += len(rows)
        return [(b"", np.zeros(EMBEDDING_DIM, np.float32))] * len(rows)

    async def ready(self) -> bool:
        return True

    async def version(self) -> str:
        return "v1-test"

    async def close(self) -> None:
        """Nothing to close."""


def run(transport: Counting, callers: Sequence[int], rounds: int = 2) -> dict[Setting, Seen]:
    return asyncio.run(sweep(transport, TEXTS, [3], callers, 0.05, rounds, lambda *_: None))


def test_every_listing_is_counted_however_many_call_at_once() -> None:
    transport = Counting()
    found = run(transport, [1, 6])
    assert sum(seen.listings for seen in found.values()) == transport.answered
    for setting, seen in found.items():
        assert seen.listings == setting.rows * len(seen.calls)
        assert seen.rate == pytest.approx(seen.listings / seen.seconds)
        assert 0.0 < seen.percentile(0.5) <= seen.percentile(0.99)


def test_refused_calls_are_counted_apart() -> None:
    transport = Counting(refuses=3)
    (seen,) = run(transport, [4]).values()
    assert seen.refused == transport.calls // 3
    assert seen.listings == transport.answered


def test_the_table_marks_the_fastest() -> None:
    slow, fast = Seen([0.2, 0.2], 10, 0, 1.0), Seen([0.1, 0.3], 40, 1, 1.0)
    lines = table({Setting("short", 1, 1): slow, Setting("short", 8, 4): fast}).splitlines()
    assert lines[2:] == ["| short | 1 | 1 | 10 | 200 | 200 | 0 |", "| short | 8 | 4 | **40** | 200 | 298 | 1 |"]
