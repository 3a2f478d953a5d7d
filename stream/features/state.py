"""State of one item, its compact form in the changelog, and how an event is applied to it."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from msgspec import Struct, field

from schemas.behaviour import Action, BehaviourByProduct
from schemas.features import ItemFeatures, ItemWindow
from schemas.topics import ITEM_FEATURES_STATE
from stream.batchpath.versions import StateCodec
from stream.features.tiles import WINDOWS, Counts, Tiles, count, next_fall, prune, total

STATE_VERSION: Final = 1
READABLE: Final = (1,)
"""State versions that this code reads: its own and the previous one (rule 8)."""

Position = tuple[int, int]
"""Source epoch and offset; the higher is the later."""


class Applied(StrEnum):
    """What became of an event; a label of shangxin_events_total."""

    APPLIED = "applied"
    REPLAYED = "replayed"
    DUPLICATE = "duplicate"


class ItemState(Struct, array_like=True):
    """Everything known of one item.

    stamp: the last record of behaviour-by-product applied (rule 1); an item's records stand in one
    partition, so one stamp is enough. origins: for each partition of user-behaviour the last event
    applied, for the stage before this one writes an event again after a crash. newest: event time of
    the newest event applied, appended: its append time. as_of: watermark of a publication that is on the
    broker, or that a replay of the source will repeat. tiles: as in WINDOWS.
    """

    version: int = STATE_VERSION
    stamp: Position = (0, -1)
    origins: dict[int, Position] = field(default_factory=dict)
    newest: int = 0
    appended: int = 0
    as_of: int = 0
    totals: Counts = field(default_factory=Counts)
    tiles: list[Tiles] = field(default_factory=lambda: [{} for _ in WINDOWS])

    def apply(self, event: BehaviourByProduct, source: Position, as_of: int) -> Applied:
        """Apply one record that stands at `source`; tiles that `as_of` has passed are not filled any more."""
        if source <= self.stamp:
            return Applied.REPLAYED
        self.stamp = source
        origin = (event.origin_epoch, event.origin_offset)
        if origin <= self.origins.get(event.origin_partition, (0, -1)):
            return Applied.DUPLICATE
        self.origins[event.origin_partition] = origin
        self._count(event, as_of)
        return Applied.APPLIED

    def advance(self, as_of: int) -> None:
        """Move to a watermark and drop what it has passed; it never goes back."""
        self.as_of = max(self.as_of, as_of)
        for tiles, window in zip(self.tiles, WINDOWS, strict=True):
            prune(tiles, window, self.as_of)

    def valid_until(self, as_of: int) -> int:
        """Watermark after `as_of` at which a count next falls; NEVER when nothing is held."""
        return min(next_fall(tiles, window, as_of) for tiles, window in zip(self.tiles, WINDOWS, strict=True))

    def features(self, product_id: str, as_of: int, published: int) -> ItemFeatures:
        """The record as of a watermark not before `self.as_of`; changes nothing. published: ms, wall clock."""
        return ItemFeatures(
            product_id=product_id,
            newest=self.newest,
            as_of=as_of,
            valid_until=self.valid_until(as_of),
            published=published,
            windows={
                window.name: _window(total(tiles, window, as_of))
                for tiles, window in zip(self.tiles, WINDOWS, strict=True)
            },
            totals=_window(self.totals),
            freshness_ms=max(0, published - self.appended) if self.appended else 0,
        )

    def _count(self, event: BehaviourByProduct, as_of: int) -> None:
        when = event_time(event)
        if when >= self.newest:
            self.newest = when
        self.appended = max(self.appended, event.appended_at)
        counts = counts_of(event)
        self.totals.add(counts)
        for tiles, window in zip(self.tiles, WINDOWS, strict=True):
            count(tiles, window, when, counts, max(as_of, self.as_of))


def event_time(event: BehaviourByProduct) -> int:
    """Event time, but not after the broker's append: a clock that runs ahead must not age everybody's windows."""
    return min(event.event_time, event.appended_at) if event.appended_at else event.event_time


def counts_of(event: BehaviourByProduct) -> Counts:
    """What the event adds: a view, a cart, or its pieces; a click leads to a view and is not one itself."""
    match event.action:
        case Action.VIEW:
            return Counts(views=1)
        case Action.CART_ADD:
            return Counts(carts=1)
        case Action.PURCHASE:
            return Counts(purchases=event.quantity)
    return Counts()


COUNTED: Final = frozenset({Action.VIEW, Action.CART_ADD, Action.PURCHASE})
"""Actions that change a feature; others move the watermark only."""

CODEC: Final = StateCodec(ItemState, "item", READABLE, ITEM_FEATURES_STATE)
"""Of the changelog."""


def _window(counts: Counts) -> ItemWindow:
    return ItemWindow(views=counts.views, carts=counts.carts, purchases=counts.purchases)
