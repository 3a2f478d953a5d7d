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
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from inference.deadline import Deadline
from stream.batchpath.contract import Record
from stream.batchpath.fence import HeartbeatFence
from stream.errors import Fatal, SourceMoved

if TYPE_CHECKING:
    from stream.batchpath.path import BatchPath


def watch_heartbeats(consumer: Any, fence: HeartbeatFence) -> None:
    """Report each heartbeat and join of an aiokafka consumer, by the time at which it was sent."""
    coordinator = consumer._coordinator
    heartbeat, rejoin, reset = coordinator._do_heartbeat, coordinator._do_rejoin_group, coordinator.reset_generation

    async def do_heartbeat() -> bool:
        return await _timed(heartbeat())

    async def do_rejoin_group(subscription: Any) -> bool:
        return await _timed(rejoin(subscription))

    async def _timed(step: Awaitable[bool]) -> bool:
        sent = fence.clock()
        succeeded = await step
        if succeeded:
            fence.beat(sent)
        return succeeded

    def reset_generation() -> None:
        fence.lapse()
        reset()

    coordinator._do_heartbeat = do_heartbeat
    coordinator._do_rejoin_group = do_rejoin_group
    coordinator.reset_generation = reset_generation


def fence_produce(producer: aiokafka.AIOKafkaProducer, fence: HeartbeatFence) -> None:
    """Check the fence again as each produce request is written: a batch may have waited in the queue."""
    send_request = producer._sender._send_produce_req

    async def send_produce_req(node_id: int, batches: Any) -> None:
        if not fence.open:
            try:
                fence.check()
            except Fatal as error:
                for batch in batches.values():
                    batch.failure(exception=error)
                producer._sender._in_flight.remove(node_id)
                for tp in batches:
                    producer._sender._muted_partitions.remove(tp)
            return
        await send_request(node_id, batches)

    producer._sender._send_produce_req = send_produce_req


class BatchConsumerThread(driver.AIOKafkaConsumerThread):
    """The driver's thread, with the heartbeats watched."""

    app: BatchApp

    async def on_start(self) -> None:
        await super().on_start()
        watch_heartbeats(self._ensure_consumer(), self.app.path.fence)


class BatchConsumer(driver.Consumer):
    """Gives lists of records to the handler and commits behind confirmed sends."""

    app: BatchApp

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._position: dict[TP, int] = {}
        """Next offset expected from the broker."""
        self._finished: dict[TP, int] = {}
        """Offset behind the last record whose batch was handled; committed once its sends are confirmed."""
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
        await self._announce()
        records, active = await super()._wait_next_records(timeout)
        if not records or not self.flow_active or self.should_stop:
            return records, active
        generation = self.app.consumer_generation_id
        rest = {}
        for tp, found in records.items():
            if tp.topic not in self.path.topics:
                rest[tp] = found
            elif found and self._current(generation):
                await self._announce()
                await self._deliver(TP(tp.topic, tp.partition), found)
        return (rest if self._current(generation) else {}), active

    def _current(self, generation: int) -> bool:
        """Whether the assignment under which records were fetched still holds; else they are fetched again."""
        return self.flow_active and not self.app.rebalancing and generation == self.app.consumer_generation_id

    async def _announce(self) -> None:
        """Tell the handler of a new assignment once Faust has recovered its changelogs."""
        if self.path.announced or self.app.rebalancing or self.app.in_recovery or not self.flow_active:
            return
        partitions = frozenset(TP(tp.topic, tp.partition) for tp in self.assignment() if tp.topic in self.path.topics)
        ends = await self._check_positions(partitions)
        await self._run(self.path.assigned(partitions, ends))

    async def _deliver(self, tp: TP, records: Sequence[Record]) -> None:
        if not self.path.announced:
            return  # revoked while the assignment was being announced
        await self._check_first(tp, records[0].offset)
        if await self._run(self.path.handle(tp, records)):
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
        for tp in [tp for tp in self.assignment() if tp.topic in self.path.topics]:
            key = TP(tp.topic, tp.partition)
            self._finished.pop(key, None)
            committed = self._committed_offset[key]
            if committed is None:
                self._position.pop(key, None)
            else:
                self._position[key] = committed

    async def _check_positions(self, partitions: frozenset[TP]) -> dict[TP, int]:
        """The log ends; raises SourceMoved for a committed offset that the log does not have."""
        if not partitions:
            return {}
        earliest, ends = await self.earliest_offsets(*partitions), await self.highwaters(*partitions)
        for tp in partitions:
            position = self._position.get(tp)
            if position is not None and not earliest[tp] <= position <= ends[tp]:
                raise self._moved(tp, position, f"the log holds {earliest[tp]} to {ends[tp]}")
        return {tp: ends[tp] for tp in partitions}

    async def _check_first(self, tp: TP, offset: int) -> None:
        """A jump back, or one over records that retention took, is a source that moved."""
        expected = self._position.get(tp, offset)
        if offset == expected:
            return
        earliest = (await self.earliest_offsets(tp))[tp]
        if offset < expected or earliest > expected:
            raise self._moved(tp, expected, f"the log goes on at {offset} and starts at {earliest}")

    def _moved(self, tp: TP, position: int, found: str) -> SourceMoved:
        return SourceMoved(
            f"{tp.topic} partition {tp.partition}: position {position} is not in the log, {found}. If the topic was "
            f"recreated, rolled back or cut by retention: raise SHANGXIN_KAFKA__SOURCE_EPOCH, which starts at the "
            f"beginning with a new group"
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

    async def _drain(self, deadline: Deadline) -> None:
        running = self._running
        if running is not None and self.path.fence.open:
            await asyncio.wait({running}, timeout=deadline.left)
        if running is not None and not running.done():
            self._abandoned = True
            running.cancel()
            await asyncio.wait({running}, timeout=1.0)
        if self._finished and self.path.fence.open:
            try:
                await asyncio.wait_for(self.commit(), deadline.left)
            except TimeoutError:
                self.log.warning("offsets not committed within the drain deadline; the new owner reads again")

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
        fence_produce(self.raw, self.app.path.fence)


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

    @property
    def raw_producer(self) -> aiokafka.AIOKafkaProducer:
        """The aiokafka producer behind `producer`; NotReady before the start."""
        producer = self.producer
        assert isinstance(producer, BatchProducer)
        return producer.raw

    def _new_transport(self) -> Any:
        return BatchTransport(self.conf.broker_consumer, self)

    def _new_producer_transport(self) -> Any:
        return BatchTransport(self.conf.broker_producer, self)
