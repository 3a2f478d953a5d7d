"""The worker: fetches records, gives them to lanes, commits what is finished, and watches itself."""

from __future__ import annotations

import asyncio
import contextlib

from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError
from aiokafka.structs import TopicPartition

from inference.deadline import Deadline
from schemas.errors import RecordError
from schemas.topics import ENRICHMENT_REQUESTS, PRODUCT_CREATED, PRODUCT_DLQ, PRODUCT_SIDE
from stream.enrichment.apply import Applier, Model
from stream.enrichment.held import Held
from stream.enrichment.intake import Intake, WrongPartition, wall_ms
from stream.enrichment.lanes import Lanes
from stream.enrichment.membership import Membership
from stream.enrichment.projection import Projection
from stream.enrichment.work import Work
from stream.errors import SourceMoved, Stuck
from stream.kafka.clients import group_id, make_consumer, start_client
from stream.kafka.fence import Fence
from stream.kafka.offsets import Offsets
from stream.kafka.park import DeadLetters
from stream.kafka.progress import ProgressWatch
from stream.kafka.publish import Publisher
from stream.kafka.sources import Recorded, check_stamp, start_positions
from stream.process import Process

STAGE = "enrichment"
POLL_MS = 200
"""A fetch returns at once when there is something; this bounds how late a due request or a stop is seen."""
ROOM_WAIT_S = 0.2
COMMIT_EVERY_S = 0.5
"""What a crash repeats beside the work in flight."""
COMMIT_RESERVE_S = 1.0
"""Of a drain's deadline (4 s), kept for the commit that follows: a commit takes milliseconds, a coordinator
that is busy with a rebalance some hundred."""
WATCH_EVERY_S = 2.0
CLOSE_S = 2.0


class Worker:
    """One enrichment worker on one loop. `run` returns after a drain, or raises what ended it."""

    def __init__(self, process: Process, publisher: Publisher, fence: Fence, model: Model, partitions: int) -> None:
        settings = process.settings
        self._process = process
        self._settings = settings
        self._meters = process.meters
        self._publisher = publisher
        self._fence = fence
        self._group = group_id(settings, STAGE)
        self._source = PRODUCT_CREATED.named(settings.kafka.topic_prefix)
        self._topics = [self._source, ENRICHMENT_REQUESTS.named(settings.kafka.topic_prefix)]
        self._consumer: AIOKafkaConsumer = make_consumer(settings, self._group, f"{self._group}")
        self._offsets = Offsets()
        self._held = Held()
        self._lanes = Lanes(settings.enrichment.max_in_flight)
        self._projection = Projection(settings, process.meters)
        self._intake = Intake(settings, partitions)
        self._dead = DeadLetters(publisher, settings, process.meters, PRODUCT_DLQ, PRODUCT_SIDE)
        self._membership = Membership(
            self._consumer,
            self._offsets,
            settings,
            process.faults,
            self._drain_for_revoke,
            Recorded(partitions, settings.kafka.source_epoch),
        )
        self._applier = Applier(
            settings, process.meters, process.faults, publisher, self._projection, model, self._owned
        )
        self._log = process.log

    async def run(self) -> None:
        """Join the group and work until the process is told to stop. Raises StreamError."""
        await start_client(self._consumer, self._settings)
        self._fence.attach(self._consumer)
        self._consumer.subscribe(self._topics, listener=self._membership)
        self._process.health.not_ready("waiting for partitions")
        drained = False
        try:
            async with asyncio.TaskGroup() as tasks:
                around = [
                    tasks.create_task(self._commit_regularly()),
                    tasks.create_task(self._watch()),
                    tasks.create_task(self._fail_with_lanes()),
                ]
                await self._work()
                drained = await self._drain()
                for task in around:
                    task.cancel()
        finally:
            self._lanes.abandon()
            await self._close()
        self._log.info("drained", complete=drained)

    # --- taking work ------------------------------------------------------------------

    async def _work(self) -> None:
        while not self._process.stopping.is_set():
            if not self._membership.opened and not await self._open():
                continue
            self._release_due()
            if not await self._lanes.wait_room(ROOM_WAIT_S):
                continue
            token = self._membership.token
            try:
                fetched = await self._consumer.getmany(timeout_ms=POLL_MS, max_records=self._lanes.room)
            except (OffsetOutOfRangeError, NoOffsetForPartitionError) as error:
                if token != self._membership.token:
                    continue  # of a new assignment that is not opened yet: it says where to read from
                raise self._out_of_range(error) from error
            except KafkaError as error:
                if self._fence.displaced:
                    self._fence.check()
                raise Stuck(f"the consumer cannot go on: {error!r}") from error
            if token != self._membership.token:
                continue
            for tp, records in fetched.items():
                self._take_all(tp, records)

    async def _open(self) -> bool:
        """Load the state of a new assignment and read on; False when there is none or another came meanwhile."""
        if not await self._membership.wait_changed(POLL_MS / 1000):
            return False
        token, assignment = self._membership.token, self._membership.assignment
        self._process.health.not_ready(f"recovering {len(assignment)} partitions")
        partitions = {tp.partition for tp in assignment if tp.topic == self._source}

        def current() -> bool:
            return token == self._membership.token and not self._process.stopping.is_set()

        if not await self._projection.load(partitions, current):
            return False
        positions = await start_positions(self._consumer, assignment, self._group)
        await self._check_stamps(partitions)
        if not current():
            return False
        self._membership.open(positions)
        self._process.health.ready()
        self._log.info("ready", partitions=sorted(partitions))
        return True

    async def _check_stamps(self, partitions: set[int]) -> None:
        tps = [TopicPartition(self._source, partition) for partition in sorted(partitions)]
        ends = await self._consumer.end_offsets(tps) if tps else {}
        for tp in tps:
            newest = self._projection.newest(tp.partition)
            if newest is not None:
                check_stamp(tp, newest.epoch, newest.offset, ends[tp], self._settings)

    def _take_all(self, tp: TopicPartition, records: list[ConsumerRecord]) -> None:
        for number, record in enumerate(records):
            held = self._take(tp, record)
            if held is not None:
                self._held.hold(tp, held, records[number + 1 :])
                self._consumer.pause(tp)
                return

    def _take(self, tp: TopicPartition, record: ConsumerRecord) -> Work | None:
        """Give one record to a lane; returns its work instead when it is not due yet."""
        self._offsets.start(tp, record.offset)
        generation = self._offsets.generation
        alone = (tp, record.offset)
        try:
            with self._meters.histogram("shangxin_stage_seconds", stage="decode").time():
                work = self._intake.read(record, generation)
        except RecordError as error:
            refused = error
            self._lanes.submit(alone, lambda: self._park(record, refused, generation))
        except WrongPartition as error:
            right = error.right
            self._lanes.submit(alone, lambda: self._forward(record, right, generation))
        else:
            if work is None:
                self._offsets.finish(tp, record.offset, generation)
            elif work.request is not None and work.request.not_before > wall_ms():
                return work
            else:
                self._submit(work)
        return None

    def _submit(self, work: Work) -> None:
        self._lanes.submit(work.product_id, lambda: self._apply(work))

    def _release_due(self) -> None:
        for tp, work, behind in self._held.due(wall_ms()):
            self._submit(work)
            self._take_all(tp, behind)
            if not self._held.waiting(tp):
                self._consumer.resume(tp)

    # --- doing it ---------------------------------------------------------------------

    async def _apply(self, work: Work) -> None:
        try:
            verdict = await self._applier.apply(work)
        except RecordError as error:
            await self._park(work.record, error, work.generation)
            return
        if verdict is not None:
            self._finish(work.record, work.generation, verdict.value)

    async def _park(self, record: ConsumerRecord, error: RecordError, generation: int) -> None:
        await self._dead.park(record, error)
        self._finish(record, generation, None)

    async def _forward(self, record: ConsumerRecord, right: int, generation: int) -> None:
        await self._publisher.publish(
            record.topic, key=record.key, value=record.value, headers=record.headers, partition=right
        )
        self._finish(record, generation, "forwarded")

    def _finish(self, record: ConsumerRecord, generation: int, outcome: str | None) -> None:
        self._offsets.finish(TopicPartition(record.topic, record.partition), record.offset, generation)
        if outcome is not None:
            self._meters.counter("shangxin_events_total", topic=record.topic, outcome=outcome).inc()

    def _owned(self, work: Work) -> bool:
        return self._offsets.owns(work.tp, work.generation)

    # --- around it --------------------------------------------------------------------

    async def _drain_for_revoke(self, deadline: Deadline) -> None:
        self._process.health.not_ready("rebalancing")
        await self._lanes.drain(deadline, COMMIT_RESERVE_S)
        self._lanes.abandon()
        self._held.clear()
        self._projection.drop()

    async def _drain(self) -> bool:
        deadline = self._process.deadline
        complete = await self._lanes.drain(deadline, COMMIT_RESERVE_S)
        await self._membership.commit_last(deadline)
        return complete

    async def _commit_regularly(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_EVERY_S)
            await self._membership.commit(Deadline(self._settings.worker.stuck_after_s))

    async def _fail_with_lanes(self) -> None:
        await self._lanes.failure

    async def _watch(self) -> None:
        limit = self._settings.worker.stuck_after_s
        watch = ProgressWatch(limit)
        while True:
            await asyncio.sleep(min(WATCH_EVERY_S, limit / 4))
            self._meters.gauge("shangxin_in_flight").set(self._lanes.jobs)
            self._meters.gauge("shangxin_heartbeat_age_seconds").set(self._fence.age)
            if self._fence.displaced:
                self._fence.check()
            # A join waits for members that are silent until their sessions end; no heartbeat goes out meanwhile.
            if self._fence.silence > limit + self._settings.kafka.session_timeout_s:
                raise Stuck(f"no good heartbeat for {self._fence.silence:.0f} s: the group was not joined again")
            watch.observe(await self._lag(), self._offsets.finished)

    async def _lag(self) -> int:
        """Records not finished that could be worked on; exports the lag with those that wait for their time."""
        positions = self._offsets.positions()
        if not positions:
            return 0
        try:
            async with asyncio.timeout(self._settings.kafka.delivery_timeout_s):
                ends = await self._consumer.end_offsets(list(positions))
                for tp in positions:
                    # Where nothing is unfinished the fetch position counts: it also passes transaction markers
                    # and what compaction took from the end of a log.
                    if not self._offsets.unfinished([tp]):
                        positions[tp] = max(positions[tp], await self._consumer.position(tp))
        except (KafkaError, TimeoutError) as error:
            # Also while partitions are being taken away: their positions are not known any more.
            self._log.warning("lag not known", reason=repr(error))
            return self._offsets.unfinished()
        lags = {tp: max(0, ends[tp] - position) for tp, position in positions.items()}
        for topic in self._topics:
            lag = sum(lag for tp, lag in lags.items() if tp.topic == topic)
            self._meters.gauge("shangxin_lag_records", topic=topic).set(lag)
        return sum(lag for tp, lag in lags.items() if not self._held.waiting(tp))

    def _out_of_range(self, error: KafkaError) -> SourceMoved:
        return SourceMoved(
            f"an offset is out of range ({error!r}): records were deleted before they were read, or the topic was "
            f"recreated. Stop the group, then `shangxin topics reset --group {self._group} --topic {self._source} "
            "--to earliest`; after a recreated topic raise SHANGXIN_KAFKA__SOURCE_EPOCH as well"
        )

    async def _close(self) -> None:
        with contextlib.suppress(TimeoutError, KafkaError):
            async with asyncio.timeout(CLOSE_S):
                await self._consumer.stop()
