"""The watch over progress: lag and nothing finished for a stated time ends the process."""

from __future__ import annotations

import time
from collections.abc import Callable

from stream.errors import Stuck


class ProgressWatch:
    """Call `observe` regularly. Time counts only while there is work that could be done."""

    def __init__(self, stuck_after_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = stuck_after_s
        self._clock = clock
        self._since = clock()
        self._finished = -1

    def observe(self, lag: int, finished: int) -> None:
        """lag: records that could be worked on now; finished: a count that only rises.

        Raises Stuck after `stuck_after_s` of lag without progress.
        """
        now = self._clock()
        if lag <= 0 or finished != self._finished:
            self._since, self._finished = now, finished
            return
        idle = now - self._since
        if idle >= self._limit:
            raise Stuck(
                f"{lag} records wait and none was finished for {idle:.0f} s (worker.stuck_after_s is "
                f"{self._limit:g}): ending, so that the partitions move to a worker that works"
            )
