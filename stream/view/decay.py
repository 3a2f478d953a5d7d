"""Decayed values as a reader evaluates them, and the strongest of them."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.profile import Decayed


def value_at(decayed: Decayed, at: int, half_life_ms: int) -> float:
    """value * 2 ** -((at - decayed.at) / half_life), as schemas.profile defines it; times in ms."""
    return float(decayed.value * 2.0 ** (-(at - decayed.at) / half_life_ms))


def strongest(values: Mapping[str, Decayed], at: int, half_life_ms: int, count: int) -> list[tuple[str, float]]:
    """The `count` names with the largest values at `at`, largest first, ties by name."""
    now = [(name, value_at(decayed, at, half_life_ms)) for name, decayed in values.items()]
    return sorted(now, key=lambda pair: (-pair[1], pair[0]))[:count]
