"""Progress of long steps: bars on a terminal, plain lines without one."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

# Without a terminal a step reports what it is at this often: seldom enough for a log, often enough to see life.
PLAIN_EVERY_S = 5.0
NOTE_WIDTH = 48
PLAIN_WIDTH = 100


class Step(Protocol):
    """One long step under way."""

    def note(self, text: str, advance: float = 0.0) -> None:
        """What it is at now, and how much further it got."""


class Report(Protocol):
    """Where the stack tells what it does."""

    def say(self, text: str) -> None:
        """One line that stays."""

    def step(self, title: str, total: float | None = None) -> contextlib.AbstractContextManager[Step]:
        """A long step; total None where its length is not known. A failure inside passes through."""


class ConsoleReport:
    """To standard error: standard output stays free for what a command gives."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)

    def say(self, text: str) -> None:
        """One line that stays."""
        self._console.print(text, markup=False, soft_wrap=True)

    @contextlib.contextmanager
    def step(self, title: str, total: float | None = None) -> Iterator[Step]:
        """A bar while it lasts, and one line with its time when it is done."""
        began = time.monotonic()
        if self._console.is_terminal:
            with self._bar() as progress:
                yield _BarStep(progress, progress.add_task(title, total=total, note=""))
        else:
            self.say(f"{title} ...")
            yield _PlainStep(self)
        self.say(f"{title}: done in {time.monotonic() - began:.1f} s")

    def _bar(self) -> Progress:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn())
        return Progress(*columns, TextColumn("[dim]{task.fields[note]}"), console=self._console, transient=True)


class SilentReport:
    """Says nothing: for tests and for callers that show their own progress."""

    def say(self, text: str) -> None:
        """Nothing."""

    @contextlib.contextmanager
    def step(self, title: str, total: float | None = None) -> Iterator[Step]:
        """Nothing but the step."""
        yield _SilentStep()


class _BarStep:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def note(self, text: str, advance: float = 0.0) -> None:
        self._progress.update(self._task, note=text.replace("[", r"\[")[:NOTE_WIDTH], advance=advance)


class _PlainStep:
    def __init__(self, report: ConsoleReport) -> None:
        self._report = report
        self._next = time.monotonic() + PLAIN_EVERY_S

    def note(self, text: str, advance: float = 0.0) -> None:
        if (now := time.monotonic()) >= self._next:
            self._next = now + PLAIN_EVERY_S
            self._report.say(f"  {text}"[:PLAIN_WIDTH])


class _SilentStep:
    def note(self, text: str, advance: float = 0.0) -> None:
        """Nothing."""
