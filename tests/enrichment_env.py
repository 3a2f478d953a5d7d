"""What the enrichment tests share: topics under a fresh prefix, workers as child processes, reading what came out."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any

import msgspec
from aiokafka import ConsumerRecord
from aiokafka.structs import TopicPartition

from inference.deadline import Deadline
from schemas.envelope import Envelope, headers_of
from schemas.topics import (
    ENRICHMENT_REQUESTS,
    LISTING_ENRICHED,
    PRODUCT_CREATED,
    TOPICS,
    Partitions,
    Topic,
)
from stream.kafka.admin import create_topics
from stream.kafka.clients import make_reader
from stream.kafka.publish import Publisher
from stream.kafka.sources import group_offsets
from stream.settings import KafkaSettings, Settings, TopicSettings, load_settings

ROOT = Path(__file__).parent.parent
PARTITIONS = 2
WAIT_S = 60.0
"""Of any wait of a test; a worker starts in about 2 s on an idle machine."""
NOW = 1_780_000_000_000
PRODUCT_TOPICS = tuple(topic for topic in TOPICS if topic.partitions is Partitions.PRODUCT)


def settings_for(bootstrap: str) -> Settings:
    """Settings with a fresh prefix, so that topics and groups are the test's own. Short session, for the chaos."""
    kafka = KafkaSettings(
        bootstrap_servers=bootstrap,
        topic_prefix=f"t{uuid.uuid4().hex[:8]}.",
        session_timeout_s=6.0,
        delivery_timeout_s=3.0,
        heartbeat_interval_s=0.5,
        drain_timeout_s=3.0,
    )
    return load_settings().model_copy(
        update={"kafka": kafka, "topics": TopicSettings(product_partitions=PARTITIONS, user_partitions=PARTITIONS)}
    )


async def eventually(what: str, check: Callable[[], Any], limit_s: float = WAIT_S) -> Any:
    """Poll `check` (plain or async) until it gives something true; fails with `what` and the last value."""
    deadline = Deadline(limit_s)
    found: Any = None
    while not deadline.passed:
        found = check()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(f"not within {limit_s} s: {what}; last: {found!r}")


class Env:
    """One test's topics, publisher and workers."""

    def __init__(self, settings: Settings, folder: Path, publisher: Publisher) -> None:
        self.settings = settings
        self.folder = folder
        self.publisher = publisher
        self.calls = folder / "calls.txt"
        self.back = folder / "back"
        self.workers: list[Worker] = []

    def topic(self, topic: Topic) -> str:
        """Full name."""
        return topic.named(self.settings.kafka.topic_prefix)

    @property
    def group(self) -> str:
        """The worker's consumer group."""
        return f"{self.settings.kafka.topic_prefix}{self.settings.kafka.group_prefix}-enrichment"

    async def emit(
        self,
        product_id: str,
        title: str = "Blue ceramic cup",
        *,
        type_: str = "product.created",
        event_id: str = "",
        traceparent: str = "",
        **fields: Any,
    ) -> tuple[int, int]:
        """Write one product event; returns partition and offset."""
        value = json.dumps({"product_id": product_id, "title": title, **fields}).encode()
        envelope = Envelope(event_id or uuid.uuid4().hex, type_, "/test", NOW, traceparent)
        return await self.raw(product_id.encode(), value, headers_of(envelope))

    async def raw(
        self,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]],
        partition: int | None = None,
        topic: Topic = PRODUCT_CREATED,
    ) -> tuple[int, int]:
        """Write one record as it is."""
        done = await self.publisher.publish(
            self.topic(topic), key=key, value=value, headers=headers, partition=partition
        )
        return done.partition, done.offset

    async def records(self, topic: Topic) -> list[ConsumerRecord]:
        """Every record of a topic, in the order of offsets within partitions."""
        reader = make_reader(self.settings)
        await reader.start()
        try:
            tps = [TopicPartition(self.topic(topic), p) for p in range(PARTITIONS)]
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

    async def newest(self, topic: Topic = LISTING_ENRICHED) -> dict[str, dict[str, Any] | None]:
        """Newest value of each key."""
        newest: dict[str, dict[str, Any] | None] = {}
        for record in await self.records(topic):
            newest[record.key.decode()] = json.loads(record.value) if record.value is not None else None
        return newest

    async def lag(self) -> int:
        """Records of the source topics that the group has not committed."""
        committed = await group_offsets(self.settings, self.group)
        reader = make_reader(self.settings)
        await reader.start()
        try:
            sources = (PRODUCT_CREATED, ENRICHMENT_REQUESTS)
            tps = [TopicPartition(self.topic(t), p) for t in sources for p in range(PARTITIONS)]
            ends = await reader.end_offsets(tps)
        finally:
            await reader.stop()
        return sum(ends[tp] - (committed[tp].offset if tp in committed else 0) for tp in tps)

    async def settled(self) -> None:
        """Wait until every source record is committed."""

        async def done() -> bool:
            return await self.lag() == 0

        await eventually("all source records committed", done)

    def start(self, index: int = 0, /, *, real: bool = False, **overrides: Any) -> Worker:
        """Start a worker as a child process. overrides: environment names without SHANGXIN_.

        real: `shangxin enrich` itself instead of the one with the fake model.
        """
        fake = ["-m", "tests.chaos.fake_enrich", str(self.calls), str(self.back)]
        worker = Worker(self, index, ["-m", "stream.cli.main", "enrich"] if real else fake, overrides)
        self.workers.append(worker)
        return worker

    def titles_seen(self) -> list[str]:
        """What reached the model."""
        return self.calls.read_text().splitlines() if self.calls.exists() else []


class Worker:
    """One child process."""

    def __init__(self, env: Env, index: int, command: list[str], overrides: dict[str, Any]) -> None:
        kafka, topics = env.settings.kafka, env.settings.topics
        self.port_file = env.folder / f"port-{index}-{len(env.workers)}"
        self.log = env.folder / f"worker-{index}-{len(env.workers)}.log"
        set_ = {
            "KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "KAFKA__TOPIC_PREFIX": kafka.topic_prefix,
            "KAFKA__WORKER_INDEX": str(index),
            "KAFKA__SESSION_TIMEOUT_S": str(kafka.session_timeout_s),
            "KAFKA__DELIVERY_TIMEOUT_S": str(kafka.delivery_timeout_s),
            "KAFKA__HEARTBEAT_INTERVAL_S": str(kafka.heartbeat_interval_s),
            "KAFKA__DRAIN_TIMEOUT_S": str(kafka.drain_timeout_s),
            "TOPICS__PRODUCT_PARTITIONS": str(topics.product_partitions),
            "TOPICS__USER_PARTITIONS": str(topics.user_partitions),
            "WORKER__PORT_FILE": str(self.port_file),
            **{name: str(value) for name, value in overrides.items()},
        }
        environ = {**os.environ, "PYTHONPATH": str(ROOT), **{f"SHANGXIN_{name}": value for name, value in set_.items()}}
        with self.log.open("wb") as log:
            self.process = Popen(
                [sys.executable, *command],
                env=environ,
                cwd=env.folder,
                stdout=log,
                stderr=log,
            )

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of the worker's HTTP port; 0 while it is not there."""
        if not self.port_file.exists():
            return 0, ""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port_file.read_text().strip()}{path}", timeout=5) as r:
                return r.status, r.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    async def ready(self) -> None:
        """Wait until it takes work; fails at once when it ended."""

        def check() -> bool:
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.text()}"
            return self.get("/readyz")[0] == 200

        await eventually(f"worker ready; log:\n{self.text()}", check)

    async def ended(self, limit_s: float = WAIT_S) -> int:
        """Wait for the exit status."""
        await eventually("worker ended", lambda: self.process.poll() is not None, limit_s)
        assert self.process.returncode is not None
        return self.process.returncode

    def metric(self, name: str, **labels: str) -> float:
        """One sample of /metrics, 0 where it is not there."""
        wanted = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
        for line in self.get("/metrics")[1].splitlines():
            found, _, value = line.rpartition(" ")
            if found == (f"{name}{{{wanted}}}" if wanted else name):
                return float(value)
        return 0.0

    def text(self) -> str:
        """The log."""
        return self.log.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this child only."""
        self.process.send_signal(number)

    def stop(self) -> None:
        """Kill it if it still runs."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait(10)


@asynccontextmanager
async def environment(bootstrap: str, folder: Path) -> AsyncIterator[Env]:
    """Fresh topics; every worker is gone at the end."""
    settings = settings_for(bootstrap)
    await create_topics(settings, PRODUCT_TOPICS)
    publisher = Publisher(settings)
    await publisher.start()
    env = Env(settings, folder, publisher)
    try:
        yield env
    finally:
        for worker in env.workers:
            worker.stop()
        await publisher.stop()


def facts_equal(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Two enriched listings apart from when they were received and published."""
    return _timeless(first) == _timeless(second)


def _timeless(record: dict[str, Any]) -> dict[str, Any]:
    copy: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(record))
    copy["times"] = copy["times"]["event"] if isinstance(copy["times"], dict) else copy["times"][0]
    return copy
