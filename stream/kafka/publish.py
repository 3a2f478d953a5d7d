"""The publisher: every produce of a worker passes here, fenced, size-checked, acknowledged in bounded time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2
from aiokafka.structs import RecordMetadata

from schemas.topics import TOPICS
from stream.errors import Fenced, SendFailed
from stream.kafka.clients import make_producer, start_client
from stream.kafka.fence import Fence
from stream.kafka.gate import Refused, gate
from stream.kafka.limits import check_size, request_limit, topic_limit
from stream.metrics import Meters
from stream.settings import Settings

CLOSE_MARGIN_S = 1.0
"""On top of the delivery timeout when closing: the sockets' goodbye."""

Header = tuple[str, bytes | None]


class Publisher:
    """Sends records and waits for their acknowledgement. One a process and loop.

    With a fence, it is checked when a record is queued and again as the request goes to the socket,
    so that a batch queued before a long pause is not sent after it.
    """

    def __init__(
        self, settings: Settings, meters: Meters | None = None, fence: Fence | None = None, client_id: str = "shangxin"
    ) -> None:
        self._settings = settings
        self._meters = meters
        self._fence = fence
        self._producer: AIOKafkaProducer = make_producer(settings, client_id)
        self._limits = {t.named(settings.kafka.topic_prefix): topic_limit(t, settings) for t in TOPICS}
        self._timeout = settings.kafka.delivery_timeout_s
        if fence is not None:
            gate(self._producer.client, fence)

    async def start(self) -> None:
        """Connect. Raises NotReady when no broker answers; may be called again then."""
        await start_client(self._producer, self._settings)

    async def stop(self, *, flush: bool = True) -> None:
        """Close; with `flush`, what is queued is sent first, within the delivery timeout."""
        if not flush:
            await self._drop()
            return
        try:
            async with asyncio.timeout(self._timeout + CLOSE_MARGIN_S):
                await self._producer.stop()
        except TimeoutError as error:
            raise SendFailed(f"what was queued was not acknowledged within {self._timeout} s") from error

    async def _drop(self) -> None:
        self._producer._closed = True
        # The connections first: requests in flight then fail, and the sender has nothing to wait for.
        with contextlib.suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(CLOSE_MARGIN_S):
                await self._producer.client.close()
                await self._producer._sender.close()

    async def partitions(self, topic: str) -> int:
        """Number of partitions of a topic. Raises SendFailed when the broker does not know it."""
        try:
            async with asyncio.timeout(self._timeout):
                return len(await self._producer.partitions_for(topic))
        except (KafkaError, TimeoutError) as error:
            raise SendFailed(f"topic {topic} is not there ({error!r}): run `shangxin topics create`") from error

    def check(self, topic: str, key: bytes | None, value: bytes | None, headers: Sequence[Header]) -> None:
        """Raises RecordError too-large when the record is over its topic's limit."""
        check_size(topic, self._limits.get(topic, request_limit(self._settings)), key, value, headers)

    async def send(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[Header] = (),
        partition: int | None = None,
    ) -> Awaitable[RecordMetadata]:
        """Queue one record; awaiting what is returned waits for the acknowledgement.

        Raises RecordError too-large, Fenced; the awaitable raises SendFailed or Fenced.
        """
        self.check(topic, key, value, headers)
        if self._fence is not None:
            self._fence.check()
        try:
            async with asyncio.timeout(self._timeout):
                future = await self._producer.send(
                    topic, key=key, value=value, partition=partition, headers=list(headers)
                )
        except (KafkaError, TimeoutError) as error:
            raise self._failure(topic, key, error) from error
        return self._acknowledged(topic, key, future)

    async def publish(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[Header] = (),
        partition: int | None = None,
    ) -> RecordMetadata:
        """Send one record and wait for its acknowledgement; raises as `send`."""
        return await (await self.send(topic, key=key, value=value, headers=headers, partition=partition))

    async def _acknowledged(self, topic: str, key: bytes | None, future: asyncio.Future[RecordMetadata]) -> Any:
        try:
            async with asyncio.timeout(self._timeout):
                metadata = await future
        except (KafkaError, TimeoutError) as error:
            raise self._failure(topic, key, error) from error
        if self._meters is not None:
            self._meters.counter("shangxin_records_out_total", topic=topic).inc()
        return metadata

    def _failure(self, topic: str, key: bytes | None, error: Exception) -> SendFailed | Fenced:
        if isinstance(error, Refused):
            return Fenced(str(error.args[0]))
        what = f"no acknowledgement within {self._timeout} s" if isinstance(error, TimeoutError) else repr(error)
        return SendFailed(f"{topic}, key {key!r}: {what}")


def partition_of(key: bytes, partitions: int) -> int:
    """Java's default partitioner: murmur2 of the key, sign bit cleared, modulo the count."""
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)
