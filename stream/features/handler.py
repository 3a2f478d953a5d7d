"""The features stage on the batch path: applies behaviour to item states, publishes, expires."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from faust.types import TP

from schemas.behaviour import BehaviourByProduct
from schemas.envelope import Envelope, header, headers_of
from schemas.errors import RecordError
from schemas.features import ITEM_FEATURES_TYPE
from schemas.topics import BEHAVIOUR_BY_PRODUCT, BEHAVIOUR_DLQ, ITEM_FEATURES
from stream.batchpath.contract import Record
from stream.batchpath.path import BatchPath
from stream.batchpath.sends import Headers, Outgoing
from stream.batchpath.state import KeyedState
from stream.errors import SourceMoved
from stream.faults import FaultPoint
from stream.features.intake import read_event
from stream.features.lane import WATERMARK_KEY, Lane, Renewed
from stream.features.state import COUNTED, Applied, ItemState, event_time
from stream.kafka.limits import topic_limit
from stream.kafka.park import fitted
from stream.kafka.publish import partition_of
from stream.kafka.sources import check_stamp
from stream.metrics import Meters
from stream.settings import Settings

EXPIRED_PER_STEP = 1_000
"""Items published again beside one batch: as many as a batch touches at most, so a jump of the watermark
at most doubles a step. Each tile causes one such publication, so the queue of them always ends."""
RESTORED_PER_STEP = 1_000
"""States read between two breaths of the loop while restoring: some 10 ms."""
SOURCE = "shangxin/features"

_encode = msgspec.json.Encoder().encode


def wall_ms() -> int:
    """Now, ms since 1970 UTC."""
    return time.time_ns() // 1_000_000


class FeaturesHandler:
    """A BatchHandler and IdleHandler. state: of the table whose changelog is `item-features-state`."""

    def __init__(
        self,
        settings: Settings,
        meters: Meters,
        path: BatchPath,
        state: KeyedState[ItemState],
        now_ms: Callable[[], int] = wall_ms,
    ) -> None:
        prefix = settings.kafka.topic_prefix
        self._settings = settings
        self._meters = meters
        self._path = path
        self._state = state
        self._now_ms = now_ms
        self._source = BEHAVIOUR_BY_PRODUCT.named(prefix)
        self._sink = ITEM_FEATURES.named(prefix)
        self._dead = BEHAVIOUR_DLQ.named(prefix)
        self._dead_limit = topic_limit(BEHAVIOUR_DLQ, settings)
        self._epoch = settings.kafka.source_epoch
        self._lateness_ms = round(settings.features.allowed_lateness_s * 1000)
        self._freshness = meters.histogram("shangxin_freshness_seconds", topic=self._sink)
        self._lanes: dict[int, Lane] = {}
        self._partitions = 0

    # --- assignment -------------------------------------------------------------------------------

    async def on_assigned(self, partitions: frozenset[TP], ends: Mapping[TP, int]) -> None:
        """Check the counts (rule 6) and stamps (rule 5), then rebuild watermarks and expiry from the states."""
        sends = self._path.sends
        await sends.know([self._source, self._state.topic, self._sink, self._dead])
        self._partitions = sends.partitions_of(self._source)
        if (found := sends.partitions_of(self._sink)) != self._partitions:
            raise SourceMoved(
                f"{self._source} has {self._partitions} partitions but {self._sink} has {found}: one product's "
                "records would stand in two partitions; `shangxin topics describe` shows which count is meant"
            )
        numbers = [tp.partition for tp in partitions]
        await self._state.check_partitions(numbers, self._source, self._partitions, self._now_ms())
        for tp in sorted(partitions):
            self._lanes[tp.partition] = await self._restored(tp, ends[tp])
        self._show()

    async def _restored(self, tp: TP, end: int) -> Lane:
        lane = Lane(tp.partition, self._lateness_ms)
        for key, state in self._state.scan(tp.partition):
            check_stamp(tp, *state.stamp, end, self._settings)
            lane.restore(key, state)
            if lane.keys % RESTORED_PER_STEP == 0:
                await asyncio.sleep(0)
        return lane

    async def on_revoked(self) -> None:
        """Forget everything."""
        self._state.clear()
        self._lanes.clear()

    # --- records ----------------------------------------------------------------------------------

    async def on_batch(self, tp: TP, records: Sequence[Record]) -> None:
        """Apply the records, write each touched state and publish each touched item once, then expire."""
        begun = time.perf_counter()
        lane = self._lanes[tp.partition]
        before = lane.watermark.value
        touched: dict[bytes, Record] = {}
        parked: list[Outgoing] = []
        astray: dict[int, list[Outgoing]] = {}
        outcomes: dict[str, int] = {}
        for record in records:
            try:
                event = read_event(record)
            except RecordError as error:
                parked.append(fitted(record, error, self._dead_limit))
                outcome = self._parked(error)
            else:
                outcome = self._apply(lane, record, event, touched, astray)
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
        await self._passed(FaultPoint.AFTER_DECODE)
        await self._aside(tp.partition, parked, astray)
        await self._write(lane, touched, before)
        await self._expire(lane)
        for outcome, number in outcomes.items():
            self._meters.counter("shangxin_events_total", topic=self._source, outcome=outcome).inc(number)
        self._meters.histogram("shangxin_batch_size", stage="features").observe(len(records))
        self._meters.histogram("shangxin_stage_seconds", stage="batch").observe(time.perf_counter() - begun)
        self._show()

    def _apply(
        self,
        lane: Lane,
        record: Record,
        event: BehaviourByProduct,
        touched: dict[bytes, Record],
        astray: dict[int, list[Outgoing]],
    ) -> str:
        """Apply one event; the label of what became of it."""
        lane.watermark.see(event_time(event))
        if event.action not in COUNTED:
            return Applied.APPLIED
        state = self._state.get(lane.partition, record.key)
        if state is None:
            if (home := partition_of(record.key, self._partitions)) != lane.partition:
                astray.setdefault(home, []).append((record.key, record.value, list(record.headers)))
                return "forwarded"
            state = ItemState()
            self._state.put(lane.partition, record.key, state)
            lane.keys += 1
        # Also a replayed event touches its key (rule 1): the crash may have come before the publication.
        touched[record.key] = record
        return state.apply(event, (self._epoch, record.offset), lane.watermark.value)

    async def _aside(self, partition: int, parked: list[Outgoing], astray: dict[int, list[Outgoing]]) -> None:
        sends, now = self._path.sends, self._now_ms()
        if parked:
            await sends.send_many(self._dead, partition % sends.partitions_of(self._dead), parked, now)
        for home, records in astray.items():
            await sends.send_many(self._source, home, records, now)

    def _parked(self, error: RecordError) -> str:
        self._meters.counter("shangxin_parked_total", topic=self._source, reason=error.reason.value).inc()
        return "parked"

    async def _write(self, lane: Lane, touched: Mapping[bytes, Record], before: int) -> None:
        watermark = lane.watermark.value
        for key in touched:
            self._known(lane, key).advance(watermark)
        if touched:
            await self._state.write(lane.partition, touched, self._now_ms())
        elif watermark > before:
            self._state.put(lane.partition, WATERMARK_KEY, ItemState(as_of=watermark))
            await self._state.write(lane.partition, [WATERMARK_KEY], self._now_ms())
        await self._passed(FaultPoint.AFTER_CHANGELOG)
        if touched:
            await self._publish(lane, touched)
        await self._passed(FaultPoint.AFTER_PUBLISH)

    # --- publication and expiry -------------------------------------------------------------------

    async def _publish(self, lane: Lane, keys: Mapping[bytes, Record | None]) -> int:
        """Publish the items as of the watermark; returns the mark that confirms it."""
        now = self._now_ms()
        # All but the id and the trace is the same for every record of a moment; writing times is not cheap.
        envelope = Envelope("", ITEM_FEATURES_TYPE, SOURCE, now)
        common: Headers = [entry for entry in headers_of(envelope) if entry[0] != "ce_id"]
        outgoing = [self._outgoing(lane, key, record, now, common) for key, record in keys.items()]
        return await self._path.sends.send_many(self._sink, lane.partition, outgoing, now)

    def _outgoing(self, lane: Lane, key: bytes, record: Record | None, now: int, common: Headers) -> Outgoing:
        state = self._known(lane, key)
        # A state may know of a later watermark than the lane after a restart; records never go back.
        features = state.features(key.decode(), max(lane.watermark.value, state.as_of), now)
        lane.expiry.set(key, features.valid_until)
        epoch, offset = state.stamp
        headers: Headers = [("ce_id", b"%d.%d.%d@%d" % (lane.partition, epoch, offset, features.as_of)), *common]
        if record is not None:
            if trace := header(record.headers, "traceparent"):
                headers.append(("traceparent", trace))
            if state.appended:
                self._freshness.observe(features.freshness_ms / 1000)
        return key, _encode(features), headers

    async def _expire(self, lane: Lane) -> None:
        """Publish some of the items again whose counts have fallen, and write states of earlier ones.

        The state follows only once the record is on the broker: it says `as_of`, by which a restart knows
        what it still has to publish. A crash in between publishes the item twice, never not at all.
        """
        await self._write_settled(lane)
        watermark = lane.watermark.value
        keys = list(lane.expiry.pop_due(watermark, EXPIRED_PER_STEP))
        if keys:
            mark = await self._publish(lane, dict.fromkeys(keys))
            lane.renewed.append(Renewed(mark, watermark, keys))

    async def _write_settled(self, lane: Lane) -> None:
        for renewed in lane.take_settled():
            for key in renewed.keys:
                self._known(lane, key).advance(renewed.as_of)
            await self._state.write(lane.partition, renewed.keys, self._now_ms())

    async def on_confirmed(self, mark: int) -> None:
        """Store what the broker has."""
        self._state.confirmed(mark)
        for lane in self._lanes.values():
            lane.confirm(mark)

    async def on_idle(self) -> None:
        """Go on with what was left due; without records nobody else would."""
        busy = [lane for lane in self._lanes.values() if lane.settled or lane.renewed or self._due(lane)]
        for lane in busy:
            await self._expire(lane)
        if busy:
            await self.on_confirmed(await self._path.sends.confirm())
            self._show()

    def _due(self, lane: Lane) -> bool:
        return lane.expiry.waiting(lane.watermark.value)

    # --- small parts ------------------------------------------------------------------------------

    def _known(self, lane: Lane, key: bytes) -> ItemState:
        state = self._state.get(lane.partition, key)
        assert state is not None, f"{key!r} was put before"
        return state

    async def _passed(self, point: FaultPoint) -> None:
        if self._path.faults.armed(point):
            await self._path.sends.confirm()
        self._path.faults.at(point)

    def _show(self) -> None:
        lanes: Iterable[Lane] = self._lanes.values()
        self._meters.gauge("shangxin_state_keys", table="item-features").set(sum(lane.keys for lane in lanes))
        self._meters.gauge("shangxin_watermark_ms").set(min((lane.watermark.value for lane in lanes), default=0))
