"""What the tests of every worker share: fresh topics, workers as child processes, waiting, reading what came out."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any, ClassVar, Self
from urllib.error import HTTPError
from urllib.request import urlopen

from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.structs import TopicPartition

from inference.deadline import Deadline
from schemas.topics import Topic
from stream.errors import Fatal, NotReady
from stream.kafka.admin import create_topics
from stream.kafka.clients import group_id, make_reader
from stream.kafka.publish import Publisher
from stream.kafka.sources import group_offsets, reset_group
from stream.settings import KafkaSettings, Settings, TopicSettings, load_settings

ROOT = Path(__file__).parent.parent
PARTITIONS = 2
WAIT_S = 60.0
"""Of any wait of a test; a worker starts in 2 to 3 s on an idle machine."""


def settings_for(bootstrap: str) -> Settings:
    """Settings with a fresh prefix, so that topics and groups are the test's own. Short session, for the chaos."""
    kafka = KafkaSettings(
        bootstrap_servers=bootstrap,
        topic_prefix=f"t{uuid.uuid4().hex[:8]}.",
        session_timeout_s=6.0,
        delivery_timeout_s=3.0,
        heartbeat_interval_s=0.5,
    )
    counts = TopicSettings(product_partitions=PARTITIONS, user_partitions=PARTITIONS)
    return load_settings().model_copy(update={"kafka": kafka, "topics": counts})


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


class Worker:
    """One child process. overrides: environment names without SHANGXIN_."""

    def __init__(
        self, settings: Settings, folder: Path, name: str, command: Sequence[str], overrides: Mapping[str, Any]
    ) -> None:
        self.port_file = folder / f"port-{name}"
        self.log = folder / f"worker-{name}.log"
        values = {**_environment(settings), "WORKER__PORT_FILE": self.port_file, **overrides}
        environ = {**os.environ, "PYTHONPATH": str(ROOT), **{f"SHANGXIN_{key}": str(v) for key, v in values.items()}}
        with self.log.open("wb") as log:
            self.process = Popen([sys.executable, *command], env=environ, cwd=folder, stdout=log, stderr=log)

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

    def metric(self, name: str, **labels: str) -> float:
        """One sample of /metrics, 0 where it is not there."""
        shown = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
        wanted = f"{name}{{{shown}}}" if shown else name
        for line in self.get("/metrics")[1].splitlines():
            found, _, value = line.rpartition(" ")
            if found == wanted:
                return float(value)
        return 0.0

    def text(self) -> str:
        """The log."""
        return self.log.read_text(errors="replace")

    async def ready(self) -> None:
        """Wait until it takes work; fails at once when it ended."""

        def check() -> bool:
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.text()}"
            return self.get("/readyz")[0] == 200

        await eventually(f"{self.log} ready", check)

    async def ended(self, limit_s: float = WAIT_S) -> int:
        """Wait for the exit status."""
        await eventually(f"{self.log} ended", lambda: self.process.poll() is not None, limit_s)
        assert self.process.returncode is not None
        return self.process.returncode

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this child only."""
        self.process.send_signal(number)

    def pause(self) -> None:
        """SIGSTOP."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.signal(signal.SIGCONT)

    async def stop(self) -> int:
        """SIGTERM, and the exit status."""
        self.signal(signal.SIGTERM)
        return await self.ended()

    def kill(self) -> None:
        """Gone, whatever it was doing."""
        if self.process.poll() is None:
            self.resume()
            self.process.kill()
        self.process.wait(10)


def _environment(settings: Settings) -> dict[str, Any]:
    kafka, topics = settings.kafka, settings.topics
    return {
        "KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "KAFKA__TOPIC_PREFIX": kafka.topic_prefix,
        "KAFKA__SESSION_TIMEOUT_S": kafka.session_timeout_s,
        "KAFKA__DELIVERY_TIMEOUT_S": kafka.delivery_timeout_s,
        "KAFKA__HEARTBEAT_INTERVAL_S": kafka.heartbeat_interval_s,
        "KAFKA__DRAIN_TIMEOUT_S": kafka.drain_timeout_s,
        "TOPICS__PRODUCT_PARTITIONS": topics.product_partitions,
        "TOPICS__USER_PARTITIONS": topics.user_partitions,
    }


class WorkerEnv:
    """One test's topics, publisher and workers; a subclass names the stage."""

    stage: ClassVar[str]
    sources: ClassVar[tuple[Topic, ...]]
    """Those that its group commits."""
    topics: ClassVar[tuple[Topic, ...]]
    command: ClassVar[str]
    """Of `shangxin`."""
    overrides: ClassVar[Mapping[str, str]] = {}
    """Of every worker's environment, without SHANGXIN_."""

    def __init__(self, settings: Settings, folder: Path, publisher: Publisher) -> None:
        self.settings, self.folder, self.publisher = settings, folder, publisher
        self.workers: list[Worker] = []

    @classmethod
    def settings_for(cls, bootstrap: str) -> Settings:
        """Of the test and its workers."""
        return settings_for(bootstrap)

    @classmethod
    @asynccontextmanager
    async def open(cls, bootstrap: str, folder: Path) -> AsyncIterator[Self]:
        """Fresh topics and no worker yet; every worker is gone at the end."""
        settings = cls.settings_for(bootstrap)
        await create_topics(settings, cls.topics)
        publisher = Publisher(settings)
        await publisher.start()
        env = cls(settings, folder, publisher)
        try:
            yield env
        finally:
            for worker in env.workers:
                worker.kill()
            await env.publisher.stop()

    @property
    def group(self) -> str:
        """The worker's consumer group."""
        return group_id(self.settings, self.stage)

    def named(self, topic: Topic) -> str:
        """Full name."""
        return topic.named(self.settings.kafka.topic_prefix)

    def start(self, index: int = 0, /, **overrides: Any) -> Worker:
        """Start a worker. overrides: environment names without SHANGXIN_."""
        return self.launch(["-m", "stream.cli.main", self.command], index, overrides)

    def launch(self, command: Sequence[str], index: int, overrides: Mapping[str, Any]) -> Worker:
        """Start `python COMMAND` with the settings of this test."""
        values = {"KAFKA__WORKER_INDEX": index, **self.overrides, **overrides}
        worker = Worker(self.settings, self.folder, f"{index}-{len(self.workers)}", command, values)
        self.workers.append(worker)
        return worker

    async def queue(
        self, key: bytes | None, value: bytes | None, headers: Sequence[Any] = (), partition: int | None = None
    ) -> Awaitable[Any]:
        """Queue one record of the first source as it is; awaiting what is returned waits for the broker."""
        topic = self.named(self.sources[0])
        return await self.publisher.send(topic, key=key, value=value, headers=headers, partition=partition)

    async def records(self, topic: Topic) -> list[ConsumerRecord]:
        """Every record of a topic, in the order of offsets within partitions."""
        async with self.reading() as reader:
            tps = self._partitions(topic)
            reader.assign(tps)
            await reader.seek_to_beginning(*tps)
            ends = await reader.end_offsets(tps)
            found: list[ConsumerRecord] = []
            deadline = Deadline(WAIT_S)
            while any([await reader.position(tp) < ends[tp] for tp in tps]):
                assert not deadline.passed, f"{topic.name} not read to its end within {WAIT_S} s"
                for records in (await reader.getmany(timeout_ms=200)).values():
                    found.extend(records)
            return found

    async def lag(self) -> int:
        """Records of the source topics that the group has not committed."""
        async with self.reading() as reader:
            return sum((await self._lags(reader)).values())

    async def settled(self) -> None:
        """Wait until every source record is committed."""
        async with self.reading() as reader:

            async def done() -> bool:
                try:
                    return not any((await self._lags(reader)).values())
                except NotReady:  # a broker just started has no group coordinator until it is first asked for one
                    return False

            await eventually("every source record committed", done)

    async def reset(self) -> None:
        """The first source back to the earliest offsets; waits until the stopped static member has expired."""

        async def done() -> bool:
            try:
                await reset_group(self.settings, self.group, self.named(self.sources[0]), "earliest")
            except Fatal:
                return False
            return True

        await eventually("the group is reset", done)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AIOKafkaConsumer]:
        """A consumer of no group."""
        reader = make_reader(self.settings)
        await reader.start()
        try:
            yield reader
        finally:
            await reader.stop()

    async def _lags(self, reader: AIOKafkaConsumer) -> dict[TopicPartition, int]:
        ends = await reader.end_offsets([tp for topic in self.sources for tp in self._partitions(topic)])
        committed = await group_offsets(self.settings, self.group)
        return {tp: end - (committed[tp].offset if tp in committed else 0) for tp, end in ends.items()}

    def _partitions(self, topic: Topic) -> list[TopicPartition]:
        return [TopicPartition(self.named(topic), number) for number in range(PARTITIONS)]
