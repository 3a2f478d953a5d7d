"""`item-features` and `user-features`: real-time recommendation features over event-time windows."""

from __future__ import annotations

from msgspec import Struct

from schemas.bounds import Count, Duration, Id, Millis
from schemas.profile import LastItem

ITEM_FEATURES_TYPE = "item.features.updated"
USER_FEATURES_TYPE = "user.features.updated"


class ItemWindow(Struct, frozen=True, kw_only=True):
    """Counts of one window: from `as_of` less its length, rounded down to 5 min (`1h`) or 1 h (`24h`), up to `newest`.

    views: events. carts: events. purchases: pieces.
    """

    views: Count = 0
    carts: Count = 0
    purchases: Count = 0


class ItemFeatures(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An item's windows.

    newest: event time of the newest event applied, ms since 1970 UTC. as_of: watermark, ms since 1970
    UTC; counts of events before it are complete, newer ones are counted as they come. valid_until: event
    time, ms since 1970 UTC, at which a count next falls (253402300799999 where none does); the record is
    published again then, so a reader whose watermark is past it knows that the record is on its way.
    published: wall clock, ms since 1970 UTC. windows: `1h` and
    `24h` to counts. totals: counts since the item's first event. freshness_ms: publication minus the
    broker's append time of the newest event applied, ms.
    """

    product_id: Id
    newest: Millis
    as_of: Millis
    valid_until: Millis
    published: Millis
    windows: dict[str, ItemWindow]
    totals: ItemWindow
    freshness_ms: Duration = 0


class UserWindow(Struct, frozen=True, kw_only=True):
    """A user's counts in one window.

    actions: action to events. categories: top-level taxonomy node id to events.
    """

    actions: dict[str, Count] = {}
    categories: dict[str, Count] = {}


class UserFeatures(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A user's windows, session length and last items.

    newest: event time of the newest event applied, ms since 1970 UTC. as_of: watermark, ms since 1970
    UTC; events before it are complete, windows end there. valid_until: event time, ms since 1970 UTC, at
    which a count next falls. published: wall clock, ms since 1970 UTC. windows: `1h` and `24h` to counts.
    session_ms: length of the current session, ms. session_events: events in it. last_items: newest
    first. freshness_ms: publication minus the broker's append time of the newest event applied, ms.
    """

    user_id: Id
    newest: Millis
    as_of: Millis
    valid_until: Millis
    published: Millis
    windows: dict[str, UserWindow]
    session_ms: Duration = 0
    session_events: Count = 0
    last_items: list[LastItem] = []
    freshness_ms: Duration = 0
