"""A minimal stage on the batch path: counts records a key with a stamp, and copies the count out. Used by tests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import OffsetAndMetadata
from faust.types import TP

from stream.batchpath.build import build_app
from stream.batchpath.contract import Record
from stream.batchpath.path import BatchPath
from stream.batchpath.run import serve
from stream.batchpath.sends import Outgoing
from stream.batchpath.state import KeyedState
from stream.batchpath.store import StateTable
from stream.kafka.clients import group_id
from stream.process import Process
from stream.settings import KafkaSettings, Settings, WorkerSettings

DEADLINE_S = 60.0


class Count(msgspec.Struct, array_like=True):
    """Records of a key, and the offset of the last one counted."""

    count: int = 0
    last: int = -1


class Counting:
    """The handler. `gate`, when set, holds every batch until it is opened."""

    def __init__(self, path: BatchPath, state: KeyedState[Count], source: str, sink: str) -> None:
        self.path, self.state, self.source, self.sink = path, state, source, sink
        self.assigned: list[frozenset[TP]] = []
        self.batches = 0
        self.applied = 0
        self.entered = asyncio.Event()
        self.gate: asyncio.Event | None = None

    async def on_assigned(self, partitions: frozenset[TP], ends: Mapping[TP, int]) -> None:
        """Checks the partition counts, as every stage does."""
        await self.path.sends.know([self.source, self.state.topic, self.sink])
        count = self.path.sends.partitions_of(self.source)
        await self.state.check_partitions([tp.partition for tp in partitions], self.source, count, 0)
        self.assigned.append(partitions)

    async def on_batch(self, tp: TP, records: Sequence[Record]) -> None:
        """Counts, then writes state and sink once a touched key."""
        self.entered.set()
        if self.gate is not None:
            await self.gate.wait()
        touched: dict[bytes, Count] = {}
        for record in records:
            state = self.state.get(tp.partition, record.key)
            if state is None:
                state = Count()
                self.state.put(tp.partition, record.key, state)
            if record.offset > state.last:
                state.count, state.last = state.count + 1, record.offset
                self.applied += 1
            touched[record.key] = state
        now = records[-1].timestamp
        await self.state.write(tp.partition, touched, now)
        out: Iterator[Outgoing] = ((key, str(state.count).encode(), []) for key, state in touched.items())
        await self.path.sends.send_many(self.sink, tp.partition, out, now)
        self.batches += 1

    async def on_confirmed(self, mark: int) -> None:
        """Stores what is confirmed."""
        self.state.confirmed(mark)

    async def on_revoked(self) -> None:
        """Forgets."""
        self.state.clear()


class Stage:
    """One running worker of the counting stage, in this process."""

    def __init__(self, settings: Settings, source: str, changelog: str, sink: str, partitions: int = 4) -> None:
        self.process = Process("counting", settings)
        self.path = BatchPath([source], settings.kafka, self.process.faults)
        self.app = build_app(settings, "counting", self.path, 500)
        table = StateTable(self.app, name=changelog, partitions=partitions, state_dir=settings.worker.state_dir)
        encode, decoder = msgspec.msgpack.encode, msgspec.msgpack.Decoder(Count)
        self.state: KeyedState[Count] = KeyedState(table, self.path.sends, encode, decoder.decode)
        self.handler = Counting(self.path, self.state, source, sink)
        self.path.handler = self.handler
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; `task` ends with what ends the worker."""
        self.task = asyncio.create_task(serve(self.process, self.app, self.path))

    async def stop(self) -> None:
        """SIGTERM's way out."""
        self.process.stop()
        assert self.task is not None
        await asyncio.wait_for(self.task, DEADLINE_S)

    async def ready(self) -> None:
        """Until the handler knows its assignment."""
        await until(lambda: self.path.announced, self.task)


@contextlib.asynccontextmanager
async def running(stage: Stage) -> AsyncIterator[Stage]:
    """Start, wait until ready, and stop in the end if it still runs."""
    stage.start()
    try:
        await stage.ready()
        yield stage
    finally:
        assert stage.task is not None
        if not stage.task.done():
            await stage.stop()
        with contextlib.suppress(BaseException):
            stage.task.exception()


async def until(condition: Callable[[], bool | Awaitable[bool]], task: asyncio.Future[None] | None = None) -> None:
    """Poll with a deadline; a worker that ended meanwhile raises what ended it."""
    deadline = asyncio.get_running_loop().time() + DEADLINE_S
    while True:
        found = condition()
        if found if isinstance(found, bool) else await found:
            return
        if task is not None and task.done():
            task.result()
            raise AssertionError("the worker ended before the condition held")
        assert asyncio.get_running_loop().time() < deadline, "the condition never held"
        await asyncio.sleep(0.05)


def stage_settings(bootstrap: str, prefix: str, index: int = 0, state_dir: Path | None = None) -> Settings:
    """Short times, that a rebalance takes seconds."""
    kafka = KafkaSettings(
        bootstrap_servers=bootstrap,
        topic_prefix=prefix,
        worker_index=index,
        session_timeout_s=6.0,
        heartbeat_interval_s=0.5,
        delivery_timeout_s=3.0,
        drain_timeout_s=2.0,
    )
    return Settings(kafka=kafka, worker=WorkerSettings(state_dir=state_dir, stuck_after_s=45.0))


async def produce(bootstrap: str, topic: str, keys: Sequence[str]) -> None:
    """One record a key, in order."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=5)
    await producer.start()
    try:
        sent = [await producer.send(topic, b"v", key=key.encode()) for key in keys]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


async def read_all(bootstrap: str, topic: str) -> list[Record]:
    """Everything in a topic, partition by partition in offset order."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        tps = [TopicPartition(topic, p) for p in await partitions_of(bootstrap, topic)]
        consumer.assign(tps)
        found: list[Record] = []
        await consumer.seek_to_beginning(*tps)
        for tp, end in (await consumer.end_offsets(tps)).items():
            while await consumer.position(tp) < end:
                for record in (await consumer.getmany(tp, timeout_ms=200)).get(tp, ()):
                    found.append(record)
        return found
    finally:
        await consumer.stop()


async def partitions_of(bootstrap: str, topic: str) -> list[int]:
    """Partition numbers of a topic."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        return sorted(await producer.partitions_for(topic))
    finally:
        await producer.stop()


async def newest(bootstrap: str, topic: str) -> dict[bytes, Record]:
    """The last record of each key; tombstones included."""
    return {record.key: record for record in await read_all(bootstrap, topic) if record.key is not None}


async def committed(settings: Settings, stage: str = "counting") -> dict[TopicPartition, int]:
    """Committed offsets of a stage's group."""
    from stream.kafka.sources import group_offsets

    found: dict[TopicPartition, OffsetAndMetadata] = await group_offsets(settings, group_id(settings, stage))
    return {tp: value.offset for tp, value in found.items()}
