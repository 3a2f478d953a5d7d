"""Decayed values: adding to them in any order of event time, and cutting them down to the strongest."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.profile import Decayed

Held = dict[str, tuple[float, int]]
"""Name to (value, at): the value at event time `at`, ms."""


def merged(value: float, at: int, weight: float, when: int, half_life: float) -> tuple[float, int]:
    """(value, at) with `weight` of event time `when` added, at the later of the two times.

    A late event is worth what is left of it at `at`, so the sum does not depend on the order.
    """
    if when >= at:
        return value * 2.0 ** ((at - when) / half_life) + weight, when
    return value + weight * 2.0 ** ((when - at) / half_life), at


def add(held: Held, name: str, weight: float, when: int, half_life: float) -> None:
    """Add to one name."""
    found = held.get(name)
    held[name] = (weight, when) if found is None else merged(found[0], found[1], weight, when, half_life)


def strength(entry: tuple[float, int], at: int, half_life: float) -> float:
    """Value at `at`."""
    value: float = entry[0] * 2.0 ** ((entry[1] - at) / half_life)
    return value


def cut(held: Held, keep: int, slack: int, at: int, half_life: float) -> None:
    """Drop the weakest when there are more than `keep` + `slack`, ties by name."""
    if len(held) <= keep + slack:
        return
    order = sorted(held, key=lambda name: (-abs(strength(held[name], at, half_life)), name))
    for name in order[keep:]:
        del held[name]


def top(held: Mapping[str, tuple[float, int]], count: int, at: int, half_life: float) -> dict[str, Decayed]:
    """The `count` strongest of positive value, strongest first, ties by name."""
    # `strength`, written out: this runs five times a published profile.
    ranked = [(-value * 2.0 ** ((when - at) / half_life), name) for name, (value, when) in held.items() if value > 0]
    ranked.sort()
    return {name: Decayed(*held[name]) for _, name in ranked[:count]}
