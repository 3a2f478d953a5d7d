"""How much interest each action shows, and how many of what are kept."""

from __future__ import annotations

from typing import Final

from schemas.behaviour import Action

WEIGHTS: Final[dict[str, float]] = {
    # One view is the unit. The steps follow the usual funnel, in which roughly one view in three to five
    # leads to the next step, so each step says three to five times as much as the one before. They are
    # a prior: with labelled outcomes they would be fitted.
    Action.VIEW: 1.0,
    Action.CLICK: 1.0,
    Action.AD_CLICK: 1.0,
    # Shown, not sought: one in a hundred impressions is clicked, but a repeated one is not nothing.
    Action.AD_IMPRESSION: 0.02,
    Action.REVIEW: 2.0,
    Action.FAVOURITE: 3.0,
    Action.CART_ADD: 3.0,
    # Takes back a cart_add of the same age.
    Action.CART_REMOVE: -3.0,
    Action.PURCHASE: 10.0,
}
"""Actions that are not here say nothing of a product."""

AFFINITIES_KEPT: Final = 256
"""Decayed values kept a kind and user. The published twenty come from them; a user who showed interest in
more than 256 brands loses the weakest. 4 kinds of 256 are at most some 40 KB of state."""
AFFINITIES_SLACK: Final = 64
"""How far a kind may exceed it before it is cut, so that cutting is rare."""
UNRESOLVED_KEPT: Final = 100
"""Events remembered until the facts of their product arrive: enrichment takes seconds, a user's hundred
events take minutes at least. The oldest give way."""
ID_DIGEST: Final = 8
"""Bytes of an event id's digest: among 64 remembered ids a false repeat has a chance of 2 ** -58."""
