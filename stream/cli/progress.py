"""Progress of long steps, with the time left: bars on a terminal, elsewhere a plain line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Report = Callable[[str, int, int], None]
QUIET_S = 60.0
"""Between two plain lines of one step."""


@contextmanager
def progress() -> Iterator[Report]:
    """A function to be told (step, done, total) while the block runs."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Plain(sys.stderr.write, time.monotonic)
        return
    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, TaskID] = {}

        def report(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=total)
            bars.update(tasks[step], completed=done, total=total)

        yield report


class Plain:
    """A line when a step is done, and every QUIET_S while it is not, with the time left at the pace so far."""

    def __init__(self, write: Callable[[str], object], clock: Callable[[], float]) -> None:
        self._write, self._clock = write, clock
        self._begun: dict[str, tuple[float, int]] = {}
        self._said: dict[str, float] = {}

    def __call__(self, step: str, done: int, total: int) -> None:
        now = self._clock()
        begun, first = self._begun.setdefault(step, (now, done))
        if done == total:
            self._write(f"{step}: {done}/{total}\n")
            self._begun.pop(step), self._said.pop(step, None)  # names of steps come again
        elif done > first and now - self._said.setdefault(step, begun) >= QUIET_S:
            self._said[step] = now
            left = (now - begun) / (done - first) * (total - done)
            self._write(f"{step}: {done}/{total}, {left / 60.0:.0f} minutes left\n")
