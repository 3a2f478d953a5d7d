"""Recount of `behaviour-by-product` and `item-features`: straight from `user-behaviour`, event by event."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from schemas.behaviour import BehaviourByProduct
from schemas.codec import Codec
from schemas.features import ItemFeatures
from schemas.topics import BEHAVIOUR_BY_PRODUCT, ITEM_FEATURES, USER_BEHAVIOUR
from stream.kafka.publish import partition_of
from stream.profiles.apply import Rules
from stream.profiles.recount import Told, told
from stream.profiles.verify import read_all
from stream.settings import Settings
from tests.chaos.system_listings import newest
from tests.features_naive import LENGTHS, happened, tally, windows

NEVER = 253_402_300_799_999
COUNTED = ("view", "cart_add", "purchase")

_events = Codec(BehaviourByProduct)
_features = Codec(ItemFeatures)


async def wrong_items(settings: Settings) -> list[str]:
    """Every way in which the events by product and the newest features of every item are not what a recount gives."""
    users = told(await read_all(settings, USER_BEHAVIOUR), Rules.of(settings.profiles))
    events = [event for user in users.values() for event in by_product(user)]
    return [*await _wrong_events(settings, events), *await _wrong_features(settings, events)]


def by_product(user: Told) -> Iterator[BehaviourByProduct]:
    """What profiles must hand on of one user."""
    for event, (offset, appended) in zip(user.events, user.places, strict=True):
        if isinstance(event.product_id, str):
            yield BehaviourByProduct(
                product_id=event.product_id,
                user_id=event.user_id,
                action=event.action,
                event_time=event.event_time,
                origin_partition=user.partition,
                origin_offset=offset,
                appended_at=appended,
                channel=event.channel,
                quantity=event.quantity,
                price=event.price,
                currency=event.currency,
            )


async def _wrong_events(settings: Settings, events: Sequence[BehaviourByProduct]) -> Iterator[str]:
    """Each event once or more, whole, and no other."""
    expected = {(e.origin_partition, e.origin_offset): e for e in events}
    found: dict[tuple[int, int], BehaviourByProduct] = {}
    wrong = []
    for record in await read_all(settings, BEHAVIOUR_BY_PRODUCT):
        event = _events.decode(record.value)
        place = (event.origin_partition, event.origin_offset)
        found[place] = event
        if event != expected.get(place):
            wrong.append(f"by product {place}: {event}, recounted {expected.get(place)}")
    wrong += [f"by product {place}: not there" for place in expected.keys() - found.keys()]
    return iter(wrong)


async def _wrong_features(settings: Settings, events: Sequence[BehaviourByProduct]) -> Iterator[str]:
    partitions, lateness = settings.topics.product_partitions, round(settings.features.allowed_lateness_s * 1000)
    marks = defaultdict[int, int](int)
    by_item = defaultdict[str, list[BehaviourByProduct]](list)
    for event in events:
        home = partition_of(event.product_id.encode(), partitions)
        marks[home] = max(marks[home], happened(event) - lateness)
        if event.action in COUNTED:
            by_item[event.product_id].append(event)
    records = await newest(settings, ITEM_FEATURES)
    wrong = [f"{item}: items differ" for item in records.keys() ^ by_item.keys()]
    for item, counted in by_item.items():
        if value := records.get(item):
            mark = marks[partition_of(item.encode(), partitions)]
            wrong += [f"{item}: {why}" for why in _differences(_features.decode(value), item, counted, mark)]
    return iter(wrong)


def _differences(found: ItemFeatures, item: str, events: Sequence[BehaviourByProduct], mark: int) -> Iterator[str]:
    expected = ItemFeatures(
        product_id=item,
        newest=max(map(happened, events)),
        as_of=found.as_of,
        valid_until=min((falls for falls in _falls(events) if falls > mark), default=NEVER),
        published=found.published,  # wall clock, as freshness_ms
        windows=windows(events, mark),
        totals=tally(events),
        freshness_ms=found.freshness_ms,
    )
    if found != expected:
        yield f"{found}, recounted {expected}"
    if not found.as_of <= mark < found.valid_until:
        yield f"{mark} is not in [{found.as_of}, {found.valid_until})"


def _falls(events: Sequence[BehaviourByProduct]) -> Iterator[int]:
    """When each event leaves each window: a tile's length and the window's after its tile began."""
    for event in events:
        for length, rounding in LENGTHS.values():
            yield happened(event) - happened(event) % rounding + rounding + length
