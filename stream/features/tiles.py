"""Windows kept as tiles: fixed stretches of event time, each with its counts.

A window of length W at watermark A counts every event applied whose time is not before A - W, rounded
down to the window's tile. So it covers W in full and at most one tile more, and, at its young end,
also what is newer than A: that part is there at once and may still grow, while everything before A is
complete. A late event counts in its tile while that is held, and in the totals always.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from msgspec import Struct

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
NEVER: Final = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z, the `valid_until` of counts that do not fall: a time that no watermark passes."""


@dataclass(frozen=True)
class Window:
    """Length and tile of one window, ms; the length is a whole number of tiles."""

    name: str
    length: int
    tile: int

    def begins(self, as_of: int) -> int:
        """Start of the oldest tile that counts at `as_of`."""
        return (as_of - self.length) // self.tile * self.tile

    def leaves(self, start: int) -> int:
        """Watermark at which the tile that starts at `start` stops counting."""
        return start + self.tile + self.length


WINDOWS: Final = (
    # Twelve tiles an hour: the window is at most 8 % longer than its name. 24 a day: 4 %. Both together
    # are 38 tiles, some 300 bytes of state; halving either tile doubles its share and its republications.
    Window("1h", HOUR_MS, 5 * MINUTE_MS),
    Window("24h", 24 * HOUR_MS, HOUR_MS),
)


class Counts(Struct, array_like=True):
    """views and carts in events, purchases in pieces."""

    views: int = 0
    carts: int = 0
    purchases: int = 0

    def add(self, other: Counts) -> None:
        """Add in place."""
        self.views += other.views
        self.carts += other.carts
        self.purchases += other.purchases


Tiles = dict[int, Counts]
"""Counts by tile number (start divided by the tile's length)."""


def count(tiles: Tiles, window: Window, when: int, counts: Counts, as_of: int) -> bool:
    """Count at event time `when`; False when its tile is not held any more at `as_of`."""
    if when < window.begins(as_of):
        return False
    held = tiles.get(when // window.tile)
    if held is None:
        held = tiles[when // window.tile] = Counts()
    held.add(counts)
    return True


def prune(tiles: Tiles, window: Window, as_of: int) -> None:
    """Drop the tiles that count in no window from `as_of` on."""
    first = window.begins(as_of) // window.tile
    for number in [number for number in tiles if number < first]:
        del tiles[number]


def total(tiles: Mapping[int, Counts], window: Window, as_of: int) -> Counts:
    """Counts of the window at `as_of`."""
    first = window.begins(as_of) // window.tile
    found = Counts()
    for number, counts in tiles.items():
        if number >= first:
            found.add(counts)
    return found


def next_fall(tiles: Mapping[int, Counts], window: Window, as_of: int) -> int:
    """Watermark after `as_of` at which the window's counts next fall; NEVER when they are all zero."""
    first = window.begins(as_of) // window.tile
    oldest = min((number for number in tiles if number >= first), default=None)
    return NEVER if oldest is None else window.leaves(oldest * window.tile)
