"""The profiles stage on the batch path: applies behaviour, joins facts, publishes once a touched user."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from faust.types import TP

from schemas.behaviour import BehaviourEvent
from schemas.envelope import Envelope
from schemas.errors import RecordError, UnknownType
from schemas.topics import (
    BEHAVIOUR_BY_PRODUCT,
    BEHAVIOUR_DLQ,
    BEHAVIOUR_SIDE,
    USER_BEHAVIOUR,
    USER_FEATURES,
    USER_PROFILE_UPDATED,
)
from schemas.validate import read_behaviour
from stream.batchpath.contract import Record
from stream.batchpath.path import BatchPath
from stream.batchpath.sends import Outgoing
from stream.batchpath.state import KeyedState
from stream.faults import FaultPoint
from stream.kafka.limits import topic_limit
from stream.kafka.park import fitted
from stream.kafka.publish import partition_of
from stream.kafka.sources import check_stamp
from stream.metrics import Meters
from stream.profiles.apply import Origin, Rules, apply_event, digest_of, resolve, was_repeated
from stream.profiles.lane import Lane
from stream.profiles.outgoing import (
    by_product_record,
    features_record,
    features_stationery,
    profile_record,
    profile_stationery,
)
from stream.profiles.projection import Projection
from stream.profiles.publish import advance, valid_until
from stream.profiles.state import UserState
from stream.profiles.weights import UNRESOLVED_KEPT
from stream.settings import Settings

EXPIRED_PER_STEP = 1_000
"""Users whose features are published again beside one batch: as many as a batch touches at most."""
RESTORED_PER_STEP = 500
"""States read between two breaths of the loop while restoring: some 10 ms."""
BREATH = 250
"""Records applied, or profiles made, between two turns of the loop: some 15 ms, so that the health port and the
producer are served within a batch."""
HOMES_KEPT = 200_000
"""Products whose partition is remembered: murmur2 in Python costs some 10 us a key."""


def wall_ms() -> int:
    """Now, ms since 1970 UTC."""
    return time.time_ns() // 1_000_000


@dataclass
class Batch:
    """What one batch gathers before anything is sent."""

    touched: dict[bytes, UserState] = field(default_factory=dict)
    traces: dict[bytes, str] = field(default_factory=dict)
    by_product: dict[int, list[Outgoing]] = field(default_factory=dict)
    parked: list[Outgoing] = field(default_factory=list)
    aside: list[Outgoing] = field(default_factory=list)
    astray: dict[int, list[Outgoing]] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)


class ProfilesHandler:
    """A BatchHandler and IdleHandler. state: of the table whose changelog is `user-profile-state`."""

    def __init__(
        self,
        settings: Settings,
        meters: Meters,
        path: BatchPath,
        state: KeyedState[UserState],
        projection: Projection,
        now_ms: Callable[[], int] = wall_ms,
    ) -> None:
        named = settings.kafka.topic_prefix
        self._settings, self._meters, self._path, self._state = settings, meters, path, state
        self._projection, self._now_ms = projection, now_ms
        self._source = USER_BEHAVIOUR.named(named)
        self._profiles = USER_PROFILE_UPDATED.named(named)
        self._features = USER_FEATURES.named(named)
        self._by_product = BEHAVIOUR_BY_PRODUCT.named(named)
        self._dead, self._side = BEHAVIOUR_DLQ.named(named), BEHAVIOUR_SIDE.named(named)
        self._dead_limit = topic_limit(BEHAVIOUR_DLQ, settings)
        self._epoch = settings.kafka.source_epoch
        self._rules = Rules.of(settings.profiles)
        self._lateness_ms = round(settings.features.allowed_lateness_s * 1000)
        self._lanes: dict[int, Lane] = {}
        self._homes: dict[str, int] = {}
        self._users = self._products = 0
        projection.wanted = lambda product: any(product in lane.waiting for lane in self._lanes.values())

    # --- assignment -------------------------------------------------------------------------------

    async def on_assigned(self, partitions: frozenset[TP], ends: Mapping[TP, int]) -> None:
        """Check counts (rule 6) and stamps (rule 5), rebuild the indexes, join what facts came for meanwhile."""
        sends = self._path.sends
        outputs = (self._profiles, self._features, self._by_product, self._dead, self._side)
        await sends.know([self._source, self._state.topic, *outputs])
        self._users, self._products = sends.partitions_of(self._source), sends.partitions_of(self._by_product)
        numbers = [tp.partition for tp in partitions]
        await self._state.check_partitions(numbers, self._source, self._users, self._now_ms())
        for tp in sorted(partitions):
            self._lanes[tp.partition] = await self._restored(tp, ends)
        await self._resolve({product for lane in self._lanes.values() for product in lane.waiting})
        self._show()

    async def _restored(self, tp: TP, ends: Mapping[TP, int]) -> Lane:
        lane = Lane(tp.partition, self._lateness_ms)
        known = {end.partition: offset for end, offset in ends.items()}
        for key, state in self._state.scan(tp.partition):
            for partition, (epoch, offset) in state.stamps.items():
                if partition in known:
                    check_stamp(TP(self._source, partition), epoch, offset, known[partition], self._settings)
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
        """Apply the records; write each touched state and publish each touched user once; then what fell due."""
        begun = time.perf_counter()
        await self._resolve(self._projection.take_arrived())
        lane, batch = self._lanes[tp.partition], Batch()
        for number, record in enumerate(records, 1):
            self._take(lane, record, batch)
            if number % BREATH == 0:
                await asyncio.sleep(0)
        await self._passed(FaultPoint.AFTER_DECODE)
        await self._aside(tp.partition, batch)
        await self._write(lane, batch)
        await self._expire(lane)
        for outcome, number in batch.outcomes.items():
            self._meters.counter("shangxin_events_total", topic=self._source, outcome=outcome).inc(number)
        for reason, number in batch.reasons.items():
            self._meters.counter("shangxin_parked_total", topic=self._source, reason=reason).inc(number)
        self._meters.histogram("shangxin_batch_size", stage="profiles").observe(len(records))
        self._meters.histogram("shangxin_stage_seconds", stage="batch").observe(time.perf_counter() - begun)
        self._show()

    def _take(self, lane: Lane, record: Record, batch: Batch) -> None:
        # The append time, not the wall clock: a replay years later judges an event time as it was judged then.
        now = record.timestamp if record.timestamp > 0 else self._now_ms()
        try:
            envelope, event = read_behaviour(record.headers, record.key, record.value, now)
        except UnknownType as error:
            batch.aside.append(fitted(record, error, self._dead_limit))
            batch.outcomes["aside"] += 1
        except RecordError as error:
            batch.parked.append(fitted(record, error, self._dead_limit))
            batch.outcomes["parked"] += 1
            batch.reasons[error.reason.value] += 1
        else:
            batch.outcomes[self._apply(lane, record, envelope, event, batch)] += 1

    def _apply(self, lane: Lane, record: Record, envelope: Envelope, event: BehaviourEvent, batch: Batch) -> str:
        key: bytes = record.key
        state = self._state.get(lane.partition, key)
        if state is None:
            if (home := partition_of(key, self._users)) != lane.partition:
                batch.astray.setdefault(home, []).append((key, record.value, list(record.headers)))
                return "forwarded"
            state = UserState()
            self._state.put(lane.partition, key, state)
            lane.keys += 1
        lane.watermark.see(min(event.event_time, record.timestamp))
        stamp = (self._epoch, record.offset)
        origin = Origin(record.partition, stamp, record.timestamp, digest_of(envelope.source, envelope.id))
        waited = state.unresolved[-1] if len(state.unresolved) == UNRESOLVED_KEPT else None
        outcome = apply_event(state, event, origin, self._projection.get, self._rules)
        if waited is not None and state.unresolved[-1] is not waited:
            self._meters.counter("shangxin_unresolved_dropped_total").inc()
        if state.unresolved:
            # Before the next await: facts that arrive from here on must find who waits for them.
            lane.note_waiting(key, state.unresolved[-1].product_id)
        # Also a replayed event touches its key and is written on (rule 1): the crash may have come before that.
        batch.touched[key] = state
        batch.traces[key] = envelope.traceparent
        if isinstance(event.product_id, str) and not was_repeated(state, origin):
            home = self._home(event.product_id)
            batch.by_product.setdefault(home, []).append(by_product_record(record, event, self._epoch))
        return outcome

    def _home(self, product: str) -> int:
        found = self._homes.get(product)
        if found is None:
            if len(self._homes) >= HOMES_KEPT:
                self._homes.clear()
            found = self._homes[product] = partition_of(product.encode(), self._products)
        return found

    async def _aside(self, partition: int, batch: Batch) -> None:
        sends, now = self._path.sends, self._now_ms()
        for topic, records in ((self._dead, batch.parked), (self._side, batch.aside)):
            if records:
                await sends.send_many(topic, partition % sends.partitions_of(topic), records, now)
        for home, records in batch.astray.items():
            await sends.send_many(self._source, home, records, now)

    async def _write(self, lane: Lane, batch: Batch) -> None:
        now = self._now_ms()
        for state in batch.touched.values():
            advance(state, lane.watermark.value)
        if batch.touched:
            await self._state.write(lane.partition, batch.touched, now)
        await self._passed(FaultPoint.AFTER_CHANGELOG)
        await self._publish(lane, batch.touched, batch.traces)
        for home, records in batch.by_product.items():
            await self._path.sends.send_many(self._by_product, home, records, now)
        await self._passed(FaultPoint.AFTER_PUBLISH)

    async def _publish(self, lane: Lane, states: Mapping[bytes, UserState], traces: Mapping[bytes, str]) -> None:
        if not states:
            return
        now, sends = self._now_ms(), self._path.sends
        paper = profile_stationery(now)
        profiles = []
        for number, (key, state) in enumerate(states.items(), 1):
            profiles.append(profile_record(key, state, self._rules, paper, traces.get(key, "")))
            if number % BREATH == 0:
                await asyncio.sleep(0)
        await sends.send_many(self._profiles, lane.partition, profiles, now)
        await self._publish_features(lane, states, traces)
        freshness = self._meters.histogram("shangxin_freshness_seconds", topic=self._profiles)
        for state in states.values():
            freshness.observe(max(0, now - state.appended) / 1000)

    async def _publish_features(
        self, lane: Lane, states: Mapping[bytes, UserState], traces: Mapping[bytes, str]
    ) -> None:
        now, watermark = self._now_ms(), lane.watermark.value
        records, paper = [], features_stationery(now)
        for key, state in states.items():
            as_of = max(watermark, state.as_of)
            records.append(features_record(key, state, as_of, paper, traces.get(key, "")))
            lane.expiry.set(key, valid_until(state, as_of))
        await self._path.sends.send_many(self._features, lane.partition, records, now)

    # --- what comes without records ---------------------------------------------------------------

    async def _resolve(self, products: Iterable[str]) -> None:
        """Join the events that waited for these products, in every owned partition."""
        found = [product for product in products if self._projection.get(product) is not None]
        for lane in self._lanes.values() if found else ():
            states = {}
            for key in {key for product in found for key in lane.take_waiting(product)}:
                state = self._state.get(lane.partition, key)
                assert state is not None, f"{key!r} waits, so it has a state"
                if resolve(state, self._projection.get, self._rules):
                    states[key] = state
            if states:
                await self._state.write(lane.partition, states, self._now_ms())
                await self._publish(lane, states, {})

    async def _expire(self, lane: Lane) -> None:
        """Publish features again whose counts have fallen.

        The state is not written: it keeps the tiles until the user's next event, so after a crash the
        same users fall due again.
        """
        states = {}
        for key in lane.expiry.pop_due(lane.watermark.value, EXPIRED_PER_STEP):
            state = self._state.get(lane.partition, key)
            assert state is not None, f"{key!r} was published, so it has a state"
            states[key] = state
        if states:
            await self._publish_features(lane, states, {})

    async def on_idle(self) -> None:
        """Go on with what waits; without records nobody else would."""
        await self._resolve(self._projection.take_arrived())
        for lane in self._lanes.values():
            await self._expire(lane)
        if self._path.sends.waiting:
            await self.on_confirmed(await self._path.sends.confirm())
            self._show()

    async def on_confirmed(self, mark: int) -> None:
        """Store what the broker has."""
        self._state.confirmed(mark)

    # --- small parts ------------------------------------------------------------------------------

    async def _passed(self, point: FaultPoint) -> None:
        if self._path.faults.armed(point):
            await self._path.sends.confirm()
        self._path.faults.at(point)

    def _show(self) -> None:
        lanes = self._lanes.values()
        self._meters.gauge("shangxin_state_keys", table="user-profile").set(sum(lane.keys for lane in lanes))
        self._meters.gauge("shangxin_watermark_ms").set(min((lane.watermark.value for lane in lanes), default=0))
