"""What the features tests share: events, the stage, and the comparison with a recount."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Sequence
from typing import ClassVar

from schemas.behaviour import BY_PRODUCT_TYPE, BehaviourByProduct
from schemas.codec import Codec
from schemas.envelope import Envelope, headers_of
from schemas.features import ItemFeatures
from schemas.topics import BEHAVIOUR_BY_PRODUCT, ITEM_FEATURES
from stream.features.run import STAGE, TOPICS_USED
from stream.kafka.publish import partition_of
from tests.features_naive import HOUR, happened, tally, windows
from tests.worker_kit import PARTITIONS, WorkerEnv, eventually

START = 1_760_000_000_000
LATENESS_MS = 60_000
"""The default of settings.features.allowed_lateness_s."""

_features = Codec(ItemFeatures)
_events = Codec(BehaviourByProduct)


def make_events(count: int, products: int = 40, hours: int = 30, seed: int = 5) -> list[BehaviourByProduct]:
    """Events over `hours` of event time, slightly out of order, one in twenty of them hours late."""
    rng = random.Random(seed)
    offsets = defaultdict[int, int](int)
    found = []
    for number in range(count):
        late = rng.randrange(20 * HOUR) if rng.random() < 0.05 else rng.randrange(90_000)
        partition = rng.randrange(3)
        found.append(
            BehaviourByProduct(
                product_id=f"p{int(products * rng.random() ** 2)}",
                user_id=f"u{rng.randrange(50)}",
                action=rng.choice(("view", "view", "click", "cart_add", "purchase")),
                event_time=START + number * hours * HOUR // count - late,
                origin_partition=partition,
                origin_offset=offsets[partition],
                quantity=rng.randrange(1, 4),
            )
        )
        offsets[partition] += 1
    return found


class Env(WorkerEnv):
    """One test's topics, publisher and features workers."""

    stage = command = STAGE
    sources = (BEHAVIOUR_BY_PRODUCT,)
    topics = TOPICS_USED
    overrides: ClassVar = {"FEATURES__MAX_BATCH": "200"}

    async def send(self, events: Sequence[BehaviourByProduct]) -> None:
        """Write events in order, as the profiles worker does."""
        sent = []
        for event in events:
            id_ = f"b{event.origin_partition}.{event.origin_offset}"
            headers = headers_of(Envelope(id_, BY_PRODUCT_TYPE, "shangxin/test", event.event_time))
            sent.append(await self.queue(event.product_id.encode(), _events.encode(event), headers))
        await asyncio.gather(*sent)

    async def newest(self) -> dict[str, ItemFeatures]:
        """Newest record of each item."""
        records = await self.records(ITEM_FEATURES)
        for record in records:
            assert partition_of(record.key, PARTITIONS) == record.partition
        return {record.key.decode(): _features.decode(record.value) for record in records}

    async def equal_to_recount(self, events: Sequence[BehaviourByProduct]) -> None:
        """Until the newest record of every item says what a recount says at the watermark where the stream ends.

        `events` without replays. The comparison is repeated, for expiry may still be going on.
        """
        problem = ""

        async def equal() -> bool:
            nonlocal problem
            problem = difference(await self.newest(), events)
            return not problem

        try:
            await eventually("equal to a recount", equal, 30.0)
        except AssertionError:
            raise AssertionError(problem) from None


def difference(newest: dict[str, ItemFeatures], events: Sequence[BehaviourByProduct]) -> str:
    """The first difference between records and recount; empty when there is none."""
    marks = defaultdict[int, int](int)
    by_item = defaultdict[str, list[BehaviourByProduct]](list)
    for event in events:
        partition = partition_of(event.product_id.encode(), PARTITIONS)
        marks[partition] = max(marks[partition], happened(event) - LATENESS_MS)
        if event.action in ("view", "cart_add", "purchase"):
            by_item[event.product_id].append(event)
    if newest.keys() != by_item.keys():
        return f"items differ: {newest.keys() ^ by_item.keys()}"
    for item, found in by_item.items():
        record, mark = newest[item], marks[partition_of(item.encode(), PARTITIONS)]
        expected = (windows(found, mark), tally(found), max(happened(event) for event in found))
        if (record.windows, record.totals, record.newest) != expected:
            return f"{item} at {mark}: {record}, recount {expected}"
        if not record.as_of <= mark < record.valid_until:
            return f"{item}: {mark} is not in [{record.as_of}, {record.valid_until})"
    return ""
