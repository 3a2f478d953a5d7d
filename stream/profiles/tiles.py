"""A user's windows: counts by action and by top-level category, in the tiles of stream.features.tiles."""

from __future__ import annotations

from msgspec import Struct

from schemas.features import UserWindow
from stream.features.tiles import NEVER, WINDOWS, Window


class UserCounts(Struct, array_like=True):
    """Events of one tile by action, and by top-level taxonomy node."""

    actions: dict[str, int] = {}
    categories: dict[str, int] = {}


UserTiles = dict[int, UserCounts]
"""Counts by tile number (start divided by the tile's length)."""


def empty_tiles() -> list[UserTiles]:
    """One mapping a window."""
    return [{} for _ in WINDOWS]


def count_action(tiles: list[UserTiles], action: str, when: int, as_of: int) -> None:
    """Count an action at event time `when`, in each window that still holds its tile at `as_of`."""
    for held, window in zip(tiles, WINDOWS, strict=True):
        if (tile := _tile(held, window, when, as_of)) is not None:
            tile.actions[action] = tile.actions.get(action, 0) + 1


def count_category(tiles: list[UserTiles], node: str, when: int, as_of: int) -> None:
    """Count a top-level category, as count_action."""
    for held, window in zip(tiles, WINDOWS, strict=True):
        if (tile := _tile(held, window, when, as_of)) is not None:
            tile.categories[node] = tile.categories.get(node, 0) + 1


def prune_tiles(tiles: list[UserTiles], as_of: int) -> None:
    """Drop the tiles that count in no window from `as_of` on."""
    for held, window in zip(tiles, WINDOWS, strict=True):
        first = window.begins(as_of) // window.tile
        for number in [number for number in held if number < first]:
            del held[number]


def window_total(held: UserTiles, window: Window, as_of: int) -> UserWindow:
    """Counts of the window at `as_of`."""
    first = window.begins(as_of) // window.tile
    actions: dict[str, int] = {}
    categories: dict[str, int] = {}
    for number, tile in held.items():
        if number >= first:
            for name, many in tile.actions.items():
                actions[name] = actions.get(name, 0) + many
            for name, many in tile.categories.items():
                categories[name] = categories.get(name, 0) + many
    return UserWindow(actions=actions, categories=categories)


def next_fall(tiles: list[UserTiles], as_of: int) -> int:
    """Watermark after `as_of` at which a count next falls; NEVER when nothing is held."""
    falls = [
        window.leaves(number * window.tile)
        for held, window in zip(tiles, WINDOWS, strict=True)
        for number in held
        if number * window.tile >= window.begins(as_of)
    ]
    return min(falls, default=NEVER)


def _tile(held: UserTiles, window: Window, when: int, as_of: int) -> UserCounts | None:
    if when < window.begins(as_of):
        return None
    number = when // window.tile
    found = held.get(number)
    if found is None:
        found = held[number] = UserCounts()
    return found
