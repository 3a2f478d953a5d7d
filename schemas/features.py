"""`item-features` and `user-features`: real-time recommendation features over event-time windows."""

from __future__ import annotations

from msgspec import Struct

from schemas.bounds import Count, Id, Millis
from schemas.profile import LastItem

ITEM_FEATURES_TYPE = "item.features.updated"
USER_FEATURES_TYPE = "user.features.updated"


class ItemWindow(Struct, frozen=True, kw_only=True):
    """Counts of one window ending at the record's `as_of`; views and carts in events, purchases in pieces."""

    views: Count = 0
    carts: Count = 0
    purchases: Count = 0


class ItemFeatures(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An item's windows. Keys of `windows` are `1h` and `24h`.

    newest: event time of the newest event applied. as_of: watermark; events before it are complete,
    windows end there. valid_until: event time at which a count next falls; the record is published
    again then, so a reader whose watermark is past it knows that the record is on its way.
    freshness_ms: publication minus the broker's append time of the newest event applied.
    """

    product_id: Id
    newest: Millis
    as_of: Millis
    valid_until: Millis
    published: Millis
    windows: dict[str, ItemWindow]
    totals: ItemWindow
    freshness_ms: Count = 0


class UserWindow(Struct, frozen=True, kw_only=True):
    """A user's counts in one window: by action, and by top-level taxonomy node id."""

    actions: dict[str, int] = {}
    categories: dict[str, int] = {}


class UserFeatures(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A user's windows (`1h`, `24h`), session length and last items; times as in ItemFeatures."""

    user_id: Id
    newest: Millis
    as_of: Millis
    valid_until: Millis
    published: Millis
    windows: dict[str, UserWindow]
    session_ms: Count = 0
    session_events: Count = 0
    last_items: list[LastItem] = []
    freshness_ms: Count = 0
