"""The same job as an ordinary Faust agent: one event at a time, through conductor, channel, stream and table.

Kept to show that the batch path gives the same profiles (tests/broker/test_profiles_agent.py), and as
the baseline of its speed. Not for production: see docs/adr/0003.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import faust

from schemas.errors import RecordError
from schemas.topics import USER_BEHAVIOUR
from schemas.validate import read_behaviour
from stream.kafka.clients import connection, group_id
from stream.profiles.apply import Origin, Rules, apply_event, digest_of
from stream.profiles.outgoing import profile_record, profile_stationery
from stream.profiles.projection import Projection
from stream.profiles.state import CODEC, UserState
from stream.settings import Settings

STAGE = "profiles-agent"


class AgentPath:
    """One application, with output and changelog topics of its own (full names).

    applied: events whose profile was sent and acknowledged.
    """

    def __init__(self, settings: Settings, projection: Projection, data_dir: Path, sink: str, changelog: str) -> None:
        self._settings, self._projection = settings, projection
        self._rules = Rules.of(settings.profiles)
        self.applied = 0
        self.app = self._application(data_dir)
        raw: dict[str, Any] = {
            "key_type": bytes,
            "value_type": bytes,
            "key_serializer": "raw",
            "value_serializer": "raw",
        }
        count = settings.topics.user_partitions
        self._sink = self.app.topic(sink, **raw)
        self._table: Any = self.app.Table(
            changelog,
            partitions=count,
            key_type=bytes,
            value_type=bytes,
            changelog_topic=self.app.topic(changelog, partitions=count, acks=False, **raw),
        )
        self.app.agent(self.app.topic(USER_BEHAVIOUR.named(settings.kafka.topic_prefix), **raw), concurrency=1)(
            self._consume
        )

    def _application(self, data_dir: Path) -> faust.App:
        servers = connection(self._settings)["bootstrap_servers"].split(",")
        return faust.App(
            group_id(self._settings, STAGE),
            broker=";".join(f"kafka://{server.strip()}" for server in servers),
            store="memory://",
            datadir=str(data_dir),
            web_enabled=False,
            topic_allow_declare=False,
            topic_disable_leader=True,
            producer_acks=-1,
        )

    async def _consume(self, stream: Any) -> None:
        async for message in stream.events():
            await self._one(message.message)

    async def _one(self, record: Any) -> None:
        appended = round(record.timestamp * 1000)
        try:
            envelope, event = read_behaviour(record.headers, record.key, record.value, appended)
        except RecordError:
            return
        stored = self._table.get(record.key)
        state = UserState() if stored is None else CODEC.decode(stored)
        origin = Origin(record.partition, (0, record.offset), appended, digest_of(envelope.source, envelope.id))
        apply_event(state, event, origin, self._projection.get, self._rules)
        self._table[record.key] = CODEC.encode(state)
        key, value, headers = profile_record(
            record.key, state, self._rules, profile_stationery(appended), envelope.traceparent
        )
        carried = [(name, held) for name, held in headers if held is not None]
        await (await self._sink.send(key=key, value=value, headers=carried))
        self.applied += 1

    async def run_until(self, events: int, limit_s: float) -> None:
        """Run until `events` are applied. Raises TimeoutError, or what crashed the application."""
        starting = asyncio.ensure_future(self.app.start())
        try:
            async with asyncio.timeout(limit_s):
                while self.applied < events:
                    if self.app.crashed:
                        raise self.app.crash_reason or RuntimeError("the agent crashed")
                    await asyncio.sleep(0.1)
        finally:
            await self.app.stop()
            starting.cancel()
