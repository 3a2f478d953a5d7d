"""What came out: counts, dead letters by reason, latencies, and the newest of everything for the table."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Any

import msgspec
from msgspec import Struct

from schemas.codec import Codec
from schemas.deadletter import REASON
from schemas.envelope import header
from schemas.features import ItemFeatures
from schemas.listing import EnrichedListing
from schemas.profile import EventStamp, UserProfile
from schemas.topics import (
    BEHAVIOUR_DLQ,
    BEHAVIOUR_SIDE,
    ITEM_FEATURES,
    LISTING_ENRICHED,
    PRODUCT_CREATED,
    PRODUCT_DLQ,
    PRODUCT_SIDE,
    USER_BEHAVIOUR,
    USER_FEATURES,
    USER_PROFILE_UPDATED,
    Direction,
    Topic,
)
from stream.demo.latency import Latencies

NEWEST = 12
"""Listings, profiles and items kept for the table: more lines than it shows."""
ENRICHMENT, PROFILES, ITEMS, USERS = "enrichment", "profiles", "item_features", "user_features"
QUEUE, WORK, PUBLISH, SEEN = "enrichment.queue", "enrichment.work", "enrichment.publish", "enrichment.seen"

_ENRICHED = Codec(EnrichedListing)
_PROFILE = Codec(UserProfile)
_ITEM = Codec(ItemFeatures)


class _Stamped(Struct, frozen=True):
    """The part of a profile that its latency needs: decoding the rest 20,000 times would be for nothing."""

    stamp: EventStamp


class _Fresh(Struct, frozen=True):
    freshness_ms: int = 0


_STAMPED = msgspec.json.Decoder(_Stamped)
_FRESH = msgspec.json.Decoder(_Fresh)


class ShownListing(Struct, frozen=True):
    """An enriched listing and how long it took, ms from the event's append to the result's."""

    listing: EnrichedListing
    latency_ms: int | None


class Tally:
    """Counts every record that the observer reads. Topics are named without prefix."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.dead: Counter[str] = Counter()
        self.aside: Counter[str] = Counter()
        self.latencies = Latencies()
        self.listings: OrderedDict[str, ShownListing] = OrderedDict()
        self.status: dict[str, str] = {}
        """Newest status of every product; `withdrawn` after a tombstone."""
        self.models: dict[str, str] = {}
        self._profiles: OrderedDict[bytes, bytes] = OrderedDict()
        self._items: OrderedDict[bytes, bytes] = OrderedDict()
        self._appended: dict[tuple[str, int, int], int] = {}

    def add(self, topic: Topic, record: Any, now_ms: int) -> None:
        """Take in one record as aiokafka gives it. now_ms: the observer's clock."""
        self.seen[topic.name] += 1
        if topic.direction is Direction.IN:
            self._appended[topic.name, record.partition, record.offset] = record.timestamp
        elif topic in (PRODUCT_DLQ, BEHAVIOUR_DLQ):
            self.dead[_reason(record)] += 1
        elif topic in (PRODUCT_SIDE, BEHAVIOUR_SIDE):
            self.aside[_reason(record)] += 1
        elif topic is LISTING_ENRICHED:
            self._listing(record, now_ms)
        elif record.value is not None:
            self._derived(topic, record)

    def profiles(self) -> list[UserProfile]:
        """The newest profiles, newest first."""
        return [_PROFILE.decode(value) for value in reversed(self._profiles.values())]

    def items(self) -> list[ItemFeatures]:
        """The newest item features, newest first."""
        return [_ITEM.decode(value) for value in reversed(self._items.values())]

    def _listing(self, record: Any, now_ms: int) -> None:
        product = record.key.decode()
        if record.value is None:
            self.status[product] = "withdrawn"
            self.listings.pop(product, None)
            return
        listing = _ENRICHED.decode(record.value)
        self.status[product] = listing.status
        self.models = self.models or listing.models
        took = self._measure(listing, record.timestamp, now_ms)
        _keep(self.listings, product, ShownListing(listing, took))

    def _measure(self, listing: EnrichedListing, appended: int, now_ms: int) -> int | None:
        source, times = listing.source, listing.times
        began = self._appended.get((PRODUCT_CREATED.name, source.partition, source.offset))
        self.latencies.add(WORK, times.published - times.received)
        self.latencies.add(PUBLISH, appended - times.published)
        if began is None:
            return None
        self.latencies.add(QUEUE, times.received - began)
        self.latencies.add(ENRICHMENT, appended - began)
        self.latencies.add(SEEN, now_ms - began)
        return appended - began

    def _derived(self, topic: Topic, record: Any) -> None:
        if topic is USER_PROFILE_UPDATED:
            stamp = _STAMPED.decode(record.value).stamp
            began = self._appended.get((USER_BEHAVIOUR.name, stamp.partition, stamp.offset))
            if began is not None:
                self.latencies.add(PROFILES, record.timestamp - began)
            _keep(self._profiles, record.key, record.value)
        elif topic in (ITEM_FEATURES, USER_FEATURES):
            # 0: published again because a window expired, no event waited for it.
            if freshness := _FRESH.decode(record.value).freshness_ms:
                self.latencies.add(ITEMS if topic is ITEM_FEATURES else USERS, freshness)
            if topic is ITEM_FEATURES:
                _keep(self._items, record.key, record.value)


def _keep(newest: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    newest[key] = value
    newest.move_to_end(key)
    if len(newest) > NEWEST:
        newest.popitem(last=False)


def _reason(record: Any) -> str:
    return (header(record.headers, REASON) or b"unknown").decode("utf-8", "backslashreplace")
