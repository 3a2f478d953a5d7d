"""What the profiles tests share: fresh topics, the worker as a child process, and the comparison with a recount."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any

from schemas.behaviour import BEHAVIOUR_TYPE, BehaviourEvent
from schemas.codec import Codec
from schemas.envelope import Envelope, headers_of
from schemas.listing import FACTS_TYPE, ListingFacts, Revision
from schemas.topics import LISTING_FACTS, USER_BEHAVIOUR, Topic
from schemas.vector import pack_int8
from stream.errors import Fatal
from stream.kafka.admin import create_topics
from stream.kafka.clients import group_id
from stream.kafka.publish import Publisher
from stream.kafka.sources import group_offsets, reset_group
from stream.profiles.run import STAGE, TOPICS_USED
from stream.profiles.verify import read_all, verify
from stream.settings import KafkaSettings, Settings, TopicSettings, load_settings
from tests.features_env import Worker as _Worker
from tests.features_env import eventually

ROOT = Path(__file__).parent.parent
PARTITIONS = 2
START = 1_760_000_000_000
HOUR = 3_600_000
SOURCE = "shangxin/test"
ACTIONS = ("view", "view", "view", "click", "cart_add", "cart_remove", "purchase", "favourite", "search", "consent")

_events = Codec(BehaviourEvent)
_facts = Codec(ListingFacts)

Sent = tuple[str, BehaviourEvent]
"""Event id and event."""


def make_facts(products: int = 40, seed: int = 3) -> list[ListingFacts]:
    """Facts of p0 to p{products - 1}, three levels of category, a 16-component unit vector."""
    rng = random.Random(seed)
    found = []
    for number in range(products):
        vector = [rng.gauss(0, 1) for _ in range(16)]
        length = sum(v * v for v in vector) ** 0.5
        found.append(
            ListingFacts(
                product_id=f"p{number}",
                revision=Revision(0, number),
                category=[f"c{number % 3}", f"c{number % 3}.{number % 7}", f"leaf{number % 11}"],
                brand=f"brand{number % 9}" if number % 4 else "",
                attributes=[f"colour={number % 5}", f"size={number % 3}"],
                price_band=f"CNY:{number % 10}",
                language="zh",
                embedding=pack_int8("test-space", [v / length for v in vector]),
            )
        )
    return found


def make_events(count: int, users: int = 40, products: int = 40, hours: int = 40, seed: int = 5) -> list[Sent]:
    """Events over `hours`, out of order, some hours late, one in twenty repeated under its own id."""
    rng = random.Random(seed)
    found: list[Sent] = []
    for number in range(count):
        late = rng.randrange(20 * HOUR) if rng.random() < 0.05 else rng.randrange(90_000)
        action = rng.choice(ACTIONS)
        event = BehaviourEvent(
            user_id=f"u{int(users * rng.random() ** 2)}",
            action=action,
            event_time=START + number * hours * HOUR // count - late,
            product_id=None if action in ("search", "consent") else f"p{int(products * rng.random() ** 2)}",
            channel=rng.choice(("web", "app", "store")),
            session_id=f"s{number // 30}" if rng.random() < 0.7 else None,
            price=round(rng.uniform(1, 400), 2) if rng.random() < 0.5 else None,
            currency="CNY",
            quantity=rng.randrange(1, 4),
            language=rng.choice(("zh-CN", "en", None)),
        )
        found.append((f"e{number}", event))
        if rng.random() < 0.05:
            found.append(found[-1])
    return found


class Worker(_Worker):
    """One `shangxin profiles`, a child process."""

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
            "PROFILES__MAX_BATCH": "200",
            "WORKER__PORT_FILE": str(self.port_file),
            **overrides,
        }
        environ = {**os.environ, "PYTHONPATH": str(ROOT), **{f"SHANGXIN_{name}": v for name, v in values.items()}}
        with self.log.open("wb") as log:
            command = [sys.executable, "-m", "stream.cli.main", "profiles"]
            self.process = Popen(command, env=environ, cwd=env.folder, stdout=log, stderr=log)

    def pause(self) -> None:
        """SIGSTOP."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.process.send_signal(signal.SIGCONT)


class Env:
    """One test's topics, publisher and workers."""

    def __init__(self, settings: Settings, folder: Path, publisher: Publisher) -> None:
        self.settings, self.folder, self.publisher = settings, folder, publisher
        self.workers: list[Worker] = []

    def start(self, index: int = 0, /, **overrides: str) -> Worker:
        """Start a worker. overrides: environment names without SHANGXIN_."""
        worker = Worker(self, index, overrides)
        self.workers.append(worker)
        return worker

    def named(self, topic: Topic) -> str:
        """Full name."""
        return topic.named(self.settings.kafka.topic_prefix)

    async def send(self, events: Sequence[Sent]) -> None:
        """Write events in order."""
        sent = []
        for id_, event in events:
            head = headers_of(Envelope(id_, BEHAVIOUR_TYPE, SOURCE, event.event_time))
            sent.append(await self.raw(event.user_id.encode(), _events.encode(event), head))
        await asyncio.gather(*sent)

    async def raw(
        self, key: bytes | None, value: bytes | None, headers: Sequence[Any] = (), partition: int | None = None
    ) -> Awaitable[Any]:
        """Queue one record of user-behaviour as it is."""
        topic = self.named(USER_BEHAVIOUR)
        return await self.publisher.send(topic, key=key, value=value, headers=headers, partition=partition)

    async def list(self, facts: Sequence[ListingFacts]) -> None:
        """Write facts."""
        for each in facts:
            head = headers_of(Envelope(f"f{each.product_id}", FACTS_TYPE, SOURCE, START))
            await self.publisher.publish(
                self.named(LISTING_FACTS), key=each.product_id.encode(), value=_facts.encode(each), headers=head
            )

    async def reset(self) -> None:
        """Back to the earliest offsets; waits until the stopped static member has expired."""

        async def done() -> bool:
            try:
                await reset_group(self.settings, group_id(self.settings, STAGE), self.named(USER_BEHAVIOUR), "earliest")
            except Fatal:
                return False
            return True

        await eventually("the group is reset", done)

    async def settled(self, topic: Topic = USER_BEHAVIOUR) -> None:
        """Until every source record is committed."""
        ends = {(r.topic, r.partition): r.offset + 1 for r in await read_all(self.settings, topic)}

        async def done() -> bool:
            committed = await group_offsets(self.settings, group_id(self.settings, STAGE))
            found = {(tp.topic, tp.partition): each.offset for tp, each in committed.items()}
            return all(found.get(at) == end for at, end in ends.items())

        await eventually("every source record committed", done)

    async def equal_to_recount(self, limit_s: float = 30.0) -> None:
        """Until every profile and every user's features are what a recount of the topics says."""
        problem: object = None

        async def equal() -> bool:
            nonlocal problem
            verdict = await verify(self.settings)
            assert verdict.users > 0
            assert verdict.ambiguous == 0
            problem = dict(list(verdict.wrong.items())[:3])
            return not verdict.wrong

        try:
            await eventually("equal to a recount", equal, limit_s)
        except AssertionError:
            raise AssertionError(problem) from None


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
