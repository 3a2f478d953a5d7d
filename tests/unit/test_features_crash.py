"""The features stage against a broker of lists, crashed at any send: afterwards every item equals a recount.

What was sent and not confirmed survives a crash partly, each partition on its own, as with a real
broker. The real one is in tests/broker/test_features.py; this one tries hundreds of interleavings.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest
from faust.types import TP
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.behaviour import BehaviourByProduct
from schemas.codec import Codec
from schemas.features import ItemFeatures
from schemas.topics import BEHAVIOUR_BY_PRODUCT, ITEM_FEATURES, ITEM_FEATURES_STATE
from stream.batchpath.path import BatchPath
from stream.batchpath.state import KeyedState
from stream.batchpath.store import MemoryShelf, StateTable
from stream.faults import Faults
from stream.features import handler as module
from stream.features.handler import FeaturesHandler
from stream.features.state import CODEC, ItemState
from stream.kafka.publish import partition_of
from stream.metrics import Meters
from stream.settings import Settings
from tests.features_env import START, difference, make_events
from tests.features_naive import HOUR
from tests.worker_kit import PARTITIONS

SOURCE, SINK, STATE = (t.name for t in (BEHAVIOUR_BY_PRODUCT, ITEM_FEATURES, ITEM_FEATURES_STATE))
_events, _features = Codec(BehaviourByProduct), Codec(ItemFeatures)
SENDS = 100
"""About as many as one life makes, so that crashes fall everywhere, the last expiry included."""


class Crash(Exception):
    """The process is gone."""


@dataclass(frozen=True)
class Stored:
    """A record of the source."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
    headers: tuple[()] = ()


class Broker:
    """What survives a crash."""

    def __init__(self, events: Sequence[BehaviourByProduct], rng: random.Random, repeated: float = 0.1) -> None:
        self.logs: dict[tuple[str, int], list[tuple[bytes, bytes | None]]] = defaultdict(list)
        self.committed = dict.fromkeys(range(PARTITIONS), 0)
        for number, event in enumerate(events):
            # Now and then the stage before wrote an event again.
            for each in [event, events[rng.randint(0, number)]][: 2 if rng.random() < repeated else 1]:
                key = each.product_id.encode()
                self.logs[SOURCE, partition_of(key, PARTITIONS)].append((key, _events.encode(each)))

    def source(self, partition: int, start: int, count: int) -> list[Stored]:
        """Records from an offset."""
        found = self.logs[SOURCE, partition][start : start + count]
        return [Stored(SOURCE, partition, start + n, k, v or b"") for n, (k, v) in enumerate(found)]

    def newest(self) -> dict[str, ItemFeatures]:
        """Newest record of each item."""
        logs = [self.logs[SINK, number] for number in range(PARTITIONS)]
        return {key.decode(): _features.decode(value) for log in logs for key, value in log if value}


class Sends:
    """The part of stream.batchpath.sends that the stage uses; crashes at the send number `fatal`."""

    def __init__(self, broker: Broker, fatal: int) -> None:
        self._broker = broker
        self._left = fatal
        self._pending: list[tuple[int, tuple[str, int], list[tuple[bytes, bytes | None]]]] = []
        self._offsets: dict[int, int] = {}
        self.mark = 0

    async def send_many(
        self, topic: str, partition: int, records: Iterable[tuple[Any, Any, Any]], timestamp: int, *, keep: bool = False
    ) -> int:
        self._left -= 1
        if self._left == 0:
            raise Crash
        self.mark += 1
        self._pending.append((self.mark, (topic, partition), [(key, value) for key, value, _ in records]))
        return self.mark

    async def confirm(self) -> int:
        for mark, where, records in self._pending:
            self._broker.logs[where].extend(records)
            self._offsets[mark] = len(self._broker.logs[where]) - 1
        self._pending.clear()
        return self.mark

    def crash(self, rng: random.Random) -> None:
        """Of each partition's unconfirmed batches some came through, in order."""
        cut: dict[tuple[str, int], bool] = {}
        for _, where, records in self._pending:
            cut[where] = cut.get(where, False) or rng.random() < 0.5
            if not cut[where]:
                self._broker.logs[where].extend(records)

    def take_offset(self, mark: int) -> int | None:
        return self._offsets.pop(mark, None)

    def partitions_of(self, topic: str) -> int:
        return PARTITIONS

    async def know(self, topics: Iterable[str]) -> None:
        """All are known."""


class Run:
    """One life of the process."""

    def __init__(self, broker: Broker, fatal: int, rng: random.Random) -> None:
        self.broker, self.rng = broker, rng
        self.sends = Sends(broker, fatal)
        shelves: dict[int, MemoryShelf] = {}
        for number in range(PARTITIONS):
            shelves[number] = MemoryShelf()
            shelves[number].write(broker.logs[STATE, number], None)
        table = SimpleNamespace(
            changelog_topic=SimpleNamespace(get_topic_name=lambda: STATE),
            shelves=SimpleNamespace(shelf=lambda number: shelves[number]),
        )
        path = SimpleNamespace(sends=self.sends, faults=Faults())
        cached = rng.choice((2, 1000))  # a small cache forgets what is stored
        self.state: KeyedState[ItemState] = KeyedState(
            cast(StateTable, table), cast(Any, self.sends), CODEC.encode, CODEC.decode, cached
        )
        self.handler = FeaturesHandler(Settings(), Meters(), cast(BatchPath, path), self.state)
        self.position = dict(broker.committed)

    async def live(self) -> None:
        """Work through the source; commits and idle moments come when they come."""
        ends = {TP(SOURCE, number): len(self.broker.logs[SOURCE, number]) for number in range(PARTITIONS)}
        await self.handler.on_assigned(frozenset(ends), ends)
        while left := [tp for tp, end in ends.items() if self.position[tp.partition] < end]:
            tp = self.rng.choice(left)
            records = self.broker.source(tp.partition, self.position[tp.partition], self.rng.randint(1, 12))
            await self.handler.on_batch(tp, records)
            self.position[tp.partition] = records[-1].offset + 1
            if self.rng.random() < 0.3:
                await self.commit()
            if self.rng.random() < 0.1:
                await self.handler.on_idle()
        for _ in range(len(self.broker.logs[SOURCE, 0]) * 4):
            await self.handler.on_idle()
        await self.commit()

    async def commit(self) -> None:
        offsets = dict(self.position)
        await self.handler.on_confirmed(await self.sends.confirm())
        self.broker.committed = offsets


def stream_of(seed: int, count: int) -> list[BehaviourByProduct]:
    """Events that jump over windows, end in silence, and move the watermark once more without touching an item."""
    events = make_events(count, products=12, hours=60, seed=seed)
    jump = [
        BehaviourByProduct(
            product_id=f"quiet{number}",
            user_id="u",
            action="click",
            event_time=START + (70 + 30 * (seed % 2)) * HOUR,
            origin_partition=9,
            origin_offset=number,
        )
        for number in range(8)
    ]
    return [*events, *jump] if seed % 3 else events


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EXPIRED_PER_STEP", 2)


@settings(deadline=None, max_examples=300)
@given(seed=st.integers(0, 1_000_000), crashes=st.integers(0, 6))
def test_whatever_a_crash_leaves_the_items_equal_a_recount(seed: int, crashes: int) -> None:
    rng, events = random.Random(seed), stream_of(seed, 60)
    broker = Broker(events, rng)
    for fatal in [*(rng.randint(1, SENDS) for _ in range(crashes)), -1]:
        run = Run(broker, fatal, rng)
        try:
            asyncio.run(run.live())
        except Crash:
            run.sends.crash(rng)
    assert difference(broker.newest(), events) == ""
    assert broker.committed == {number: len(broker.logs[SOURCE, number]) for number in range(PARTITIONS)}


def test_what_was_due_at_a_crash_is_published_though_no_event_comes_any_more() -> None:
    """The watermark came from an event of no item and is committed; two of nine items had been published."""
    events = [
        BehaviourByProduct(
            product_id=f"p{number}",
            user_id="u",
            action="view" if number < 9 else "click",
            event_time=START if number < 9 else START + 3 * HOUR,
            origin_partition=number,
            origin_offset=0,
        )
        for number in range(60)
    ]

    async def first_life(run: Run) -> None:
        for number in range(PARTITIONS):
            await run.handler.on_assigned(frozenset({TP(SOURCE, number)}), {TP(SOURCE, number): 60})
            records = run.broker.source(number, 0, 60)
            items = sum(int(record.key[1:]) < 9 for record in records)
            await run.handler.on_batch(TP(SOURCE, number), records[:items])
            await run.handler.on_batch(TP(SOURCE, number), records[items:])
            run.position[number] = len(records)
        await run.commit()

    rng = random.Random(1)
    broker = Broker(events, rng, repeated=0.0)
    asyncio.run(first_life(Run(broker, -1, rng)))
    assert difference(broker.newest(), events)
    asyncio.run(Run(broker, -1, rng).live())
    assert difference(broker.newest(), events) == ""
