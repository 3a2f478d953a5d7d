"""The numbers of the profile: weights of actions, bounds of what is kept, and the settings in ms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from schemas.behaviour import Action
from stream.settings import ProfileSettings

DAY_MS: Final = 86_400_000

WEIGHTS: Final[dict[str, float]] = {
    # Interest that an action shows, in views. A purchase is worth what a funnel of common shops asks for
    # one: some tens of views, damped to its order of magnitude so that one basket does not drown browsing.
    Action.VIEW: 1.0,
    Action.CLICK: 1.5,
    Action.AD_CLICK: 1.5,
    Action.FAVOURITE: 4.0,
    Action.REVIEW: 4.0,
    Action.CART_ADD: 5.0,
    Action.PURCHASE: 8.0,
    # Takes most of a cart_add back, not all: the interest was there.
    Action.CART_REMOVE: -3.0,
}
"""Actions that are not listed say nothing of taste (an impression, a link of ids)."""

KEPT: Final = 256
"""Entries kept of each kind of affinity: twelve times what is published, so an entry that is dropped would
need twelve others to fade first. At 40 bytes each a full user holds 40 KB of state."""
SLACK: Final = 32
"""Entries over KEPT before the weakest are dropped: one sort for each 32 new entries, not one for each."""
PENDING: Final = 64
"""Events kept whose product is not known yet: a session's worth; the facts arrive within seconds."""


@dataclass(frozen=True)
class Rules:
    """The settings of the stage, in ms. last_items, top, seen: entries."""

    half_life: float
    session_gap: int
    last_items: int
    top: int
    seen: int

    @classmethod
    def of(cls, settings: ProfileSettings) -> Rules:
        """From the settings' days and seconds."""
        return cls(
            half_life=settings.half_life_days * DAY_MS,
            session_gap=round(settings.session_gap_s * 1000),
            last_items=settings.last_items,
            top=settings.top_affinities,
            seen=settings.seen_ids,
        )
