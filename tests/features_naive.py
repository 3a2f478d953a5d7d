"""The straight recount that the features are compared with: every event, no tiles, no state."""

from __future__ import annotations

from collections.abc import Iterable

from schemas.behaviour import BehaviourByProduct
from schemas.features import ItemWindow

HOUR = 3_600_000
LENGTHS = {"1h": (HOUR, 300_000), "24h": (24 * HOUR, HOUR)}
"""Length and rounding of each window, ms, as documented."""


def happened(event: BehaviourByProduct) -> int:
    """Event time, at most the append time."""
    return min(event.event_time, event.appended_at or event.event_time)


def tally(events: Iterable[BehaviourByProduct]) -> ItemWindow:
    """Counts of all of them."""
    found = list(events)
    return ItemWindow(
        views=sum(e.action == "view" for e in found),
        carts=sum(e.action == "cart_add" for e in found),
        purchases=sum(e.quantity for e in found if e.action == "purchase"),
    )


def windows(events: Iterable[BehaviourByProduct], as_of: int) -> dict[str, ItemWindow]:
    """Each window at a watermark."""
    found = list(events)
    return {
        name: tally(e for e in found if happened(e) >= (as_of - length) - (as_of - length) % rounding)
        for name, (length, rounding) in LENGTHS.items()
    }
