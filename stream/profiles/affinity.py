"""Decayed sums: `[value, at]`, where value is what the events so far are worth at `at` (ms)."""

from __future__ import annotations

from stream.profiles.rules import KEPT, SLACK

Sum = list[float]
"""value, at: a list, for it is changed in place once for each event."""
Sums = dict[str, Sum]


def add(sums: Sums, name: str, weight: float, when: int, half_life: float) -> None:
    """Add an event of `weight` at `when`. Late events are decayed to the newest one's time, so that the sum
    does not depend on the order in which events arrive (but for the last bit of a float).
    """
    held = sums.get(name)
    if held is None:
        sums[name] = [weight, when]
    else:
        merge(held, weight, when, half_life)


def merge(held: Sum, weight: float, when: int, half_life: float) -> float:
    """Add to one sum in place; returns the factor by which what was held shrank."""
    value, at = held
    if when > at:
        factor: float = 2.0 ** ((at - when) / half_life)
        held[0] = value * factor + weight
        held[1] = when
        return factor
    held[0] = value + (weight if when == at else weight * 2.0 ** ((when - at) / half_life))
    return 1.0


def worth(held: Sum, now: int, half_life: float) -> float:
    """The value at `now`."""
    value, at = held
    return value if at == now else float(value * 2.0 ** ((at - now) / half_life))


def strongest(sums: Sums, count: int, now: int, half_life: float) -> list[tuple[str, Sum]]:
    """The `count` entries of the highest worth at `now`, best first; equal ones by name."""
    # `worth` is written out: this runs over every affinity of every touched user.
    rate = 1.0 / half_life
    ranked = [
        (-held[0] if held[1] == now else -held[0] * 2.0 ** ((held[1] - now) * rate), name)
        for name, held in sums.items()
    ]
    ranked.sort()
    return [(name, sums[name]) for _, name in ranked[:count]]


def trim(sums: Sums, now: int, half_life: float) -> None:
    """Drop the weakest once there are more than KEPT + SLACK."""
    if len(sums) > KEPT + SLACK:
        kept = {name for name, _ in strongest(sums, KEPT, now, half_life)}
        for name in [name for name in sums if name not in kept]:
            del sums[name]
