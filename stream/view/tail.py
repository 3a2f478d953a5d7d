"""Follows topics without a group: nothing is committed, no worker notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from schemas.topics import Topic
from stream.errors import NotReady
from stream.kafka.admin import partition_counts
from stream.kafka.clients import REQUEST_TIMEOUT_MS, make_reader, start_client
from stream.settings import Settings

POLL_MS = 200
"""A poll without records returns after this, so that whoever follows can stop or draw."""
POLL_RECORDS = 2_000
LOOKUP_S = REQUEST_TIMEOUT_MS / 1000


class Tail:
    """An assigned reader of whole topics, from their beginning or from what comes next."""

    def __init__(self, settings: Settings, topics: Sequence[Topic], *, from_start: bool) -> None:
        self._settings = settings
        self._topics = topics
        self._from_start = from_start
        self._consumer: AIOKafkaConsumer = make_reader(settings, "shangxin-watch")

    async def start(self) -> None:
        """Connect and take position. Raises NotReady when the broker or a topic is not there."""
        counts = await partition_counts(self._settings, tuple(self._topics))
        missing = [topic for topic, count in counts.items() if count == 0]
        if missing:
            raise NotReady(f"topics not there: {', '.join(missing)}; run `shangxin topics create`")
        await start_client(self._consumer, self._settings)
        tps = [TopicPartition(topic, p) for topic, count in counts.items() for p in range(count)]
        self._consumer.assign(tps)
        async with asyncio.timeout(LOOKUP_S):
            find = self._consumer.beginning_offsets if self._from_start else self._consumer.end_offsets
            for tp, offset in (await find(tps)).items():
                self._consumer.seek(tp, offset)

    async def stop(self) -> None:
        """Disconnect."""
        await self._consumer.stop()

    async def poll(self) -> list[Any]:
        """What has come, in the order of append time; empty when nothing did for POLL_MS."""
        found = await self._consumer.getmany(timeout_ms=POLL_MS, max_records=POLL_RECORDS)
        records = [record for part in found.values() for record in part]
        return sorted(records, key=lambda record: (record.timestamp, record.topic, record.partition, record.offset))

    async def ends(self) -> dict[TopicPartition, int]:
        """Where every partition ends now. Raises NotReady when the broker does not answer."""
        try:
            async with asyncio.timeout(LOOKUP_S):
                found: dict[TopicPartition, int] = await self._consumer.end_offsets(list(self._consumer.assignment()))
        except (KafkaError, TimeoutError) as error:
            raise NotReady(
                f"the ends of {', '.join(t.name for t in self._topics)} cannot be read: {error!r}"
            ) from error
        return found

    async def __aiter__(self) -> AsyncIterator[Any]:
        while True:
            for record in await self.poll():
                yield record
