"""An event loop whose clock jumps to the next timer when there is nothing to do: tests of time without waiting."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Jump(selectors.SelectSelector):
    """Polls without blocking and tells the loop how long it would have slept."""

    def __init__(self) -> None:
        super().__init__()
        self.skipped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if timeout is None and not found:
            raise AssertionError("the test waits for something that nothing will ever bring about")
        if not found and timeout:
            self.skipped += timeout
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time is what its timers say; use `loop.time` as the clock of what is tested."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.skipped


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` on a virtual loop, refusing to leave tasks behind."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
