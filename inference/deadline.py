"""One budget of time, shared by every step that must fit into it."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], float]


class Deadline:
    """A point in time on a monotonic clock. Pass the one object on; never start a second one."""

    def __init__(self, seconds: float, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._at = clock() + seconds

    @property
    def left(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._at - self._clock())

    @property
    def passed(self) -> bool:
        """Whether nothing is left."""
        return self.left <= 0.0
