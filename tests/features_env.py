"""What the features tests share: fresh topics, the worker as a child process, and the comparison with a recount."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

from aiokafka import ConsumerRecord
from aiokafka.structs import TopicPartition

from inference.deadline import Deadline
from schemas.behaviour import BY_PRODUCT_TYPE, BehaviourByProduct
from schemas.codec import Codec
from schemas.envelope import Envelope, headers_of
from schemas.features import ItemFeatures
from schemas.topics import BEHAVIOUR_BY_PRODUCT, ITEM_FEATURES, Topic
from stream.features.run import TOPICS_USED
from stream.kafka.admin import create_topics
from stream.kafka.clients import group_id, make_reader
from stream.kafka.publish import Publisher, partition_of
from stream.kafka.sources import group_offsets
from stream.settings import KafkaSettings, Settings, TopicSettings, load_settings
from tests.features_naive import HOUR, happened, tally, windows

ROOT = Path(__file__).parent.parent
PARTITIONS = 2
WAIT_S = 60.0
"""Of any wait; a worker starts in about 3 s on an idle machine."""
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


async def eventually(what: str, check: Callable[[], bool | Awaitable[bool]], limit_s: float = WAIT_S) -> None:
    """Poll until it holds; fails with `what`."""
    deadline = Deadline(limit_s)
    while not deadline.passed:
        found = check()
        if found if isinstance(found, bool) else await found:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"not within {limit_s} s: {what}")


class Worker:
    """One `shangxin features`, a child process."""

    def __init__(self, env: Env, index: int, overrides: dict[str, str]) -> None:
        kafka, number = env.settings.kafka, len(env.workers)
        self.port_file = env.folder / f"port-{number}"
        self.log = env.folder / f"worker-{number}.log"
        values = {
            "KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "KAFKA__TOPIC_PREFIX": kafka.topic_prefix,
            "KAFKA__WORKER_INDEX": str(index),
            "KAFKA__SESSION_TIMEOUT_S": str(kafka.session_timeout_s),
            "KAFKA__DELIVERY_TIMEOUT_S": str(kafka.delivery_timeout_s),
            "KAFKA__HEARTBEAT_INTERVAL_S": str(kafka.heartbeat_interval_s),
            "TOPICS__PRODUCT_PARTITIONS": str(PARTITIONS),
            "TOPICS__USER_PARTITIONS": str(PARTITIONS),
            "FEATURES__MAX_BATCH": "200",
            "WORKER__PORT_FILE": str(self.port_file),
            **overrides,
        }
        environ = {**os.environ, "PYTHONPATH": str(ROOT), **{f"SHANGXIN_{name}": v for name, v in values.items()}}
        with self.log.open("wb") as log:
            command = [sys.executable, "-m", "stream.cli.main", "features"]
            self.process = Popen(command, env=environ, cwd=env.folder, stdout=log, stderr=log)

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of the HTTP port; 0 while it is not there."""
        if not self.port_file.exists():
            return 0, ""
        try:
            with urlopen(f"http://127.0.0.1:{self.port_file.read_text().strip()}{path}", timeout=5) as answer:
                return int(answer.status), answer.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metric(self, sample: str) -> float:
        """One sample of /metrics by its whole name with labels, 0 where it is not there."""
        for line in self.get("/metrics")[1].splitlines():
            name, _, value = line.rpartition(" ")
            if name == sample:
                return float(value)
        return 0.0

    def text(self) -> str:
        """The log."""
        return self.log.read_text(errors="replace")

    async def ready(self) -> None:
        """Until it takes work."""

        def check() -> bool:
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.text()}"
            return self.get("/readyz")[0] == 200

        await eventually(f"{self.log} ready", check)

    async def ended(self) -> int:
        """Its exit status."""
        await eventually(f"{self.log} ended", lambda: self.process.poll() is not None)
        assert self.process.returncode is not None
        return self.process.returncode

    async def stop(self) -> int:
        """SIGTERM, and the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return await self.ended()

    def kill(self) -> None:
        """Gone, whatever it was doing."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait(10)


class Env:
    """One test's topics, publisher and workers."""

    def __init__(self, settings: Settings, folder: Path, publisher: Publisher) -> None:
        self.settings, self.folder, self.publisher = settings, folder, publisher
        self.workers: list[Worker] = []

    def start(self, index: int = 0, **overrides: str) -> Worker:
        """Start a worker. overrides: environment names without SHANGXIN_."""
        worker = Worker(self, index, overrides)
        self.workers.append(worker)
        return worker

    async def send(self, events: Sequence[BehaviourByProduct]) -> None:
        """Write events in order, as the profiles worker does."""
        sent = []
        for event in events:
            id_ = f"b{event.origin_partition}.{event.origin_offset}"
            headers = headers_of(Envelope(id_, BY_PRODUCT_TYPE, "shangxin/test", event.event_time))
            sent.append(await self.raw(event.product_id.encode(), _events.encode(event), headers))
        await asyncio.gather(*sent)

    async def raw(
        self, key: bytes | None, value: bytes | None, headers: Sequence[Any] = (), partition: int | None = None
    ) -> Awaitable[Any]:
        """Queue one record as it is."""
        topic = self.named(BEHAVIOUR_BY_PRODUCT)
        return await self.publisher.send(topic, key=key, value=value, headers=headers, partition=partition)

    def named(self, topic: Topic) -> str:
        """Full name."""
        return topic.named(self.settings.kafka.topic_prefix)

    async def records(self, topic: Topic) -> list[ConsumerRecord]:
        """Everything in a topic, in order within partitions."""
        reader = make_reader(self.settings)
        await reader.start()
        try:
            tps = [TopicPartition(self.named(topic), number) for number in range(PARTITIONS)]
            reader.assign(tps)
            await reader.seek_to_beginning(*tps)
            ends = await reader.end_offsets(tps)
            found: list[ConsumerRecord] = []
            deadline = Deadline(WAIT_S)
            while any([await reader.position(tp) < ends[tp] for tp in tps]) and not deadline.passed:
                for records in (await reader.getmany(timeout_ms=200)).values():
                    found.extend(records)
            return found
        finally:
            await reader.stop()

    async def newest(self) -> dict[str, ItemFeatures]:
        """Newest record of each item."""
        records = await self.records(ITEM_FEATURES)
        for record in records:
            assert partition_of(record.key, PARTITIONS) == record.partition
        return {record.key.decode(): _features.decode(record.value) for record in records}

    async def settled(self) -> None:
        """Until every source record is committed."""
        group = group_id(self.settings, "features")
        reader = make_reader(self.settings)
        await reader.start()
        try:
            tps = [TopicPartition(self.named(BEHAVIOUR_BY_PRODUCT), number) for number in range(PARTITIONS)]
            ends = await reader.end_offsets(tps)
        finally:
            await reader.stop()

        async def done() -> bool:
            committed = await group_offsets(self.settings, group)
            return all(ends[tp] == 0 or (tp in committed and committed[tp].offset == ends[tp]) for tp in tps)

        await eventually("every source record committed", done)

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


@asynccontextmanager
async def environment(bootstrap: str, folder: Path) -> AsyncIterator[Env]:
    """Fresh topics; every worker is gone at the end."""
    kafka = KafkaSettings(
        bootstrap_servers=bootstrap,
        topic_prefix=f"t{uuid.uuid4().hex[:8]}.",
        session_timeout_s=6.0,
        delivery_timeout_s=3.0,
        heartbeat_interval_s=0.5,
    )
    counts = TopicSettings(product_partitions=PARTITIONS, user_partitions=PARTITIONS)
    settings = load_settings().model_copy(update={"kafka": kafka, "topics": counts})
    await create_topics(settings, TOPICS_USED)
    publisher = Publisher(settings)
    await publisher.start()
    env = Env(settings, folder, publisher)
    try:
        yield env
    finally:
        for worker in env.workers:
            worker.kill()
        await publisher.stop()
