"""Stretches of event time, and moments spread over them."""

from __future__ import annotations

from random import Random

from msgspec import Struct


class Window(Struct, frozen=True):
    """A stretch of event time, ms since 1970 UTC, half open."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """ms."""
        return self.end - self.start

    def part(self, first: float, last: float) -> Window:
        """The stretch between two fractions of this one."""
        return Window(self.start + round(self.length * first), self.start + round(self.length * last))


def spread(window: Window, count: int, seed: int) -> list[int]:
    """`count` rising moments, one at random in each of `count` equal slices of the window."""
    random = Random(seed)
    step = window.length / max(count, 1)
    return [window.start + int((i + random.random()) * step) for i in range(count)]
