"""The only place that leans on private names of faust-streaming 0.15.3 and aiokafka 0.14 (pinned by tests).

Faust's fetcher calls `Consumer._wait_next_records`, gives each record to the conductor, and commits
what `_new_offset` says through `_commit_offsets`. BatchConsumer takes the records of the batch
topics out of the first, answers the second with the positions of finished batches, and makes the
third wait until every send of those batches is confirmed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import aiokafka
import faust
from faust.tables.manager import TableManager
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode.threads import WorkerThread

from inference.deadline import Deadline
from stream.batchpath.contract import Record
from stream.errors import SourceMoved
from stream.kafka.gate import gate
from stream.kafka.sources import check_in_range

if TYPE_CHECKING:
    from stream.batchpath.path import BatchPath


class ConsumerWorkerThread(WorkerThread):
    """Does not keep a process alive whose main thread has ended (faust #175): unhealthy means exit."""

    def __init__(self, service: Any, **options: Any) -> None:
        super().__init__(service, **options)
        self.daemon = True


class BatchConsumerThread(driver.AIOKafkaConsumerThread):
    """The driver's thread, with the heartbeats watched."""

    app: BatchApp
    Worker = ConsumerWorkerThread

    async def on_start(self) -> None:
        await super().on_start()
        self.app.path.fence.attach(self._ensure_consumer())


class BatchConsumer(driver.Consumer):
    """Gives lists of records to the handler and commits behind confirmed sends."""

    app: BatchApp

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._position: dict[TP, int] = {}
        """Next offset expected from the broker."""
        self._finished: dict[TP, int] = {}
        """Offset behind the last record whose batch was handled; committed once its sends are confirmed."""
        self._realign = False
        """A fetch was dropped: the driver's positions are ahead of what was handled."""
        self._gaps: dict[TP, tuple[int, int]] = {}
        self._running: asyncio.Future[None] | None = None
        self._abandoned = False

    @property
    def path(self) -> BatchPath:
        """What the application wants done with the records."""
        return self.app.path

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    # --- records -------------------------------------------------------------------------------

    async def _wait_next_records(self, timeout: float) -> tuple[Any, Any]:  # noqa: ASYNC109 (Faust's signature)
        await self._settle()
        generation = self.app.consumer_generation_id
        records, active = await super()._wait_next_records(timeout)
        if not records and self._current(generation) and not self.should_stop:
            await self._run(self.path.idle())
        if not records:
            await self._settle_changelogs()
            return records, active
        rest = {}
        for tp, found in records.items():
            if tp.topic not in self.path.topics:
                rest[tp] = found
            elif found and self._current(generation):
                await self._deliver(TP(tp.topic, tp.partition), found)
            else:
                self._realign = True
        return rest, active

    def _current(self, generation: int) -> bool:
        """Whether records fetched under this generation may be handled.

        A fetch that began before a rebalance may return after it, with records from before the seek
        to the committed offsets. They are dropped, and every position is set again.
        """
        return self.path.announced and self.flow_active and generation == self.app.consumer_generation_id

    async def _settle(self) -> None:
        """Once Faust has recovered the changelogs: tell the handler, and set positions that a dropped fetch moved."""
        if self.app.rebalancing or self.app.in_recovery or not self.flow_active or self.should_stop:
            return
        if not self.path.announced:
            partitions = frozenset(
                TP(tp.topic, tp.partition) for tp in self.assignment() if tp.topic in self.path.topics
            )
            ends = await self._check_positions(partitions)
            if not await self._run(self.path.assigned(partitions, ends)):
                return
        if self._realign and self._position:
            await self.seek_wait(dict(self._position))
        self._realign = False

    async def _settle_changelogs(self) -> None:
        """While recovery waits for records and a fetch has none: set back positions that are ahead of what was read.

        A fetch from before a rebalance may return after recovery's seek, when Faust drops what it holds; the position
        is behind those records then, and recovery would wait for them for ever (faust #432).
        """
        tables = self.app.tables
        assert isinstance(tables, TableManager)
        recovery = tables.recovery
        if not self.app.in_recovery or not self.flow_active or not tables.changelog_queue.empty():
            return
        lost: dict[TP, int] = {}
        for tp, highwater in recovery.active_highwaters.items():
            read = recovery.active_offsets.get(tp)
            if read is None or read >= highwater or tp not in self.assignment():
                continue
            position = await self.position(tp)
            if position is not None and position > read + 1:
                lost[tp] = read + 1
        if lost and self.app.in_recovery:
            self.log.warning("Recovery: records of %s were dropped by a rebalance; reading them again", lost)
            await self.seek_wait(lost)

    async def _deliver(self, tp: TP, records: Sequence[Record]) -> None:
        records = await self._aligned(tp, records)
        if records and await self._run(self.path.handle(tp, records)):
            self._position[tp] = self._finished[tp] = records[-1].offset + 1
            self._read_offset[tp] = records[-1].offset

    async def _run(self, step: Awaitable[None]) -> bool:
        """Run a step so that a revoke can wait for it or cut it off; False when it was cut off."""
        self._abandoned = False
        self._running = asyncio.ensure_future(step)
        try:
            await self._running
        except asyncio.CancelledError:
            if not self._abandoned:
                self._running.cancel()
                raise
            return False
        finally:
            self._running = None
        return True

    # --- positions (rule 5) --------------------------------------------------------------------

    async def perform_seek(self) -> None:
        """Back to the committed offsets; the expected positions follow."""
        await super().perform_seek()
        self._finished.clear()
        self._position = {
            TP(tp.topic, tp.partition): self._committed_offset[TP(tp.topic, tp.partition)] or 0
            for tp in self.assignment()
            if tp.topic in self.path.topics
        }

    async def _check_positions(self, partitions: frozenset[TP]) -> dict[TP, int]:
        """The log ends; raises SourceMoved for a committed offset that the log does not have."""
        if not partitions:
            return {}
        earliest, ends = await self.earliest_offsets(*partitions), await self.highwaters(*partitions)
        for tp in partitions:
            if position := self._position.get(tp, 0):
                check_in_range(tp, position, earliest[tp], ends[tp], self.app.conf.id)
            else:
                self._position[tp] = earliest[tp]
        return {tp: ends[tp] for tp in partitions}

    async def _aligned(self, tp: TP, records: Sequence[Record]) -> Sequence[Record]:
        """The records from the expected position on; none of them when they begin behind it for no known reason.

        Raises SourceMoved when the position is no longer in the log.
        """
        expected, first = self._position[tp], records[0].offset
        if first == expected:
            return records
        earliest, end = (await self.earliest_offsets(tp))[tp], (await self.highwaters(tp))[tp]
        if not earliest <= expected <= end:
            raise self._moved(tp, expected, f"the log holds {earliest} to {end}")
        if first < expected:
            return [record for record in records if record.offset >= expected]
        if self._gaps.get(tp) != (expected, first):
            # Offsets may be missing for good (aborted transactions); a second fetch from there shows it.
            self._gaps[tp] = (expected, first)
            self._realign = True
            return ()
        return records

    def _moved(self, tp: TP, position: int, found: str) -> SourceMoved:
        return SourceMoved(
            f"{tp.topic}/{tp.partition}: position {position} is not in the log any more, {found}. Stop the group, then "
            f"`shangxin topics reset --group {self.app.conf.id} --topic {tp.topic} --to earliest`; after a recreated "
            "topic raise SHANGXIN_KAFKA__SOURCE_EPOCH as well"
        )

    # --- commits (rule 2) ----------------------------------------------------------------------

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        yield from super()._filter_tps_with_pending_acks(topics)
        yield from (tp for tp in list(self._finished) if topics is None or tp in topics or tp.topic in topics)

    def _new_offset(self, tp: TP) -> int | None:
        if tp.topic in self.path.topics:
            return self._finished.get(tp)
        return super()._new_offset(tp)

    async def _commit_offsets(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:
        if self.app.crashed or self.path.sends.failed is not None:
            return False  # the end of the process; what is not committed is read again
        # `offsets` was read before this await: batches that finish meanwhile are committed next time.
        await self.path.confirm()
        return await super()._commit_offsets(offsets, start_new_transaction=start_new_transaction)

    async def on_task_error(self, exc: BaseException) -> None:
        """Nothing is committed because something failed."""

    # --- rebalance -----------------------------------------------------------------------------

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """One deadline: finish the batch in flight, confirm, commit; else abandon it for the new owner."""
        deadline = Deadline(self.path.drain_timeout_s)
        self.stop_flow()
        try:
            await self._drain(deadline)
        except Exception as error:
            await self.crash(error)
            raise
        self._forget()
        await self.path.revoked()
        await super().on_partitions_revoked(revoked)

    async def drain(self, deadline: Deadline) -> None:
        """Take no more records; finish, confirm and commit what is in hand."""
        self.stop_flow()
        await self._drain(deadline)

    async def _drain(self, deadline: Deadline) -> None:
        running = self._running
        if running is not None and self.path.owning:
            await asyncio.wait({running}, timeout=deadline.left)
        if running is not None and not running.done():
            self._abandoned = True
            running.cancel()
            await asyncio.wait({running}, timeout=1.0)
        if self._finished and self.path.owning:
            try:
                await asyncio.wait_for(self.commit(), deadline.left)
            except TimeoutError:
                self.log.warning("offsets not committed within the drain deadline; the new owner reads again")

    def lag(self) -> int:
        """Records of the owned batch partitions that are on the broker and not finished, as last heard from it."""
        total = 0
        for tp in self.assignment():
            if tp.topic in self.path.topics and (end := self.highwater(tp)) is not None:
                total += max(0, end - self._finished.get(tp, self._position.get(tp, end)))
        return total

    def _forget(self) -> None:
        self._position.clear()
        self._finished.clear()

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust watches streams; batches are watched by progress (lag and no offset moving)."""
        if tp.topic not in self.path.topics:
            super().verify_event_path(now, tp)


class BatchProducer(driver.Producer):
    """The driver's producer, fenced and open to `send_batch`."""

    app: BatchApp

    @property
    def raw(self) -> aiokafka.AIOKafkaProducer:
        """The aiokafka producer; NotReady before the start."""
        return self._ensure_producer()

    async def on_start(self) -> None:
        await super().on_start()
        gate(self.raw.client, self.app.path.fence)


class BatchTransport(driver.Transport):
    """Names the consumer and the producer."""

    Consumer: ClassVar[Any] = BatchConsumer
    Producer: ClassVar[Any] = BatchProducer


class BatchApp(faust.App):
    """A Faust application whose batch topics bypass conductor, channel and stream."""

    path: BatchPath

    def __init__(self, id: str, *, path: BatchPath, **options: Any) -> None:
        self.path = path
        super().__init__(id, **options)
        path.bind(self)

    def _create_directories(self) -> None:
        """Nothing of this project lives in Faust's data directory."""

    @property
    def raw_producer(self) -> aiokafka.AIOKafkaProducer:
        """The aiokafka producer behind `producer`; NotReady before the start."""
        producer = self.producer
        assert isinstance(producer, BatchProducer)
        return producer.raw

    def remaining(self) -> int:
        """Changelog records that recovery has still to read."""
        tables = self.tables
        assert isinstance(tables, TableManager)
        return tables.recovery.active_remaining_total() if self.in_recovery else 0

    def _new_transport(self) -> Any:
        return BatchTransport(self.conf.broker_consumer, self)

    def _new_producer_transport(self) -> Any:
        return BatchTransport(self.conf.broker_producer, self)
