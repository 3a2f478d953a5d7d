"""Every produce of a stage, its confirmation, and the one way in which a failed one is noticed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from stream.errors import Fenced, SendFailed
from stream.kafka.fence import Fence
from stream.kafka.gate import Refused

Headers = list[tuple[str, bytes | None]]
Outgoing = tuple[bytes | None, bytes | None, Headers]
"""Key, value, headers."""

MAX_UNCONFIRMED = 64
"""Batches handed over and not yet confirmed. One poll of 1,000 records makes about 8 (state, profile,
features, by-product partitions); 64 are several polls ahead of the broker, some 16 MB at 256 KB each.
Lower stalls decoding behind the broker, higher only repeats more after a crash."""


class _Pending(NamedTuple):
    mark: int
    topic: str
    future: asyncio.Future[Any]
    records: int
    keep: bool


class Sends:
    """Hands batches to the producer and remembers them until the broker has them.

    `mark` counts batches handed over; `confirm` waits for all of them. After the first failure every
    method raises SendFailed: the process must end, for what was applied is not on the broker.
    """

    def __init__(self, producer: Callable[[], AIOKafkaProducer], fence: Fence, timeout_s: float) -> None:
        self._producer = producer
        self._fence = fence
        self._timeout_s = timeout_s
        self._pending: deque[_Pending] = deque()
        self._offsets: dict[int, int] = {}
        self.mark = 0
        self.failed: SendFailed | Fenced | None = None
        self.on_acknowledged: Callable[[str, int], None] = lambda topic, records: None

    async def send_many(
        self, topic: str, partition: int, records: Iterable[Outgoing], timestamp: int, *, keep: bool = False
    ) -> int:
        """Send records to one partition, in order, as few batches; returns the mark of the last batch.

        timestamp: ms. keep: `take_offset` will be asked for the last record's offset. A key's records
        must go through here in the order in which they are to be read. Raises Fenced, SendFailed.
        """
        producer = self._producer()
        builder = producer.create_batch()
        for key, value, headers in records:
            if builder.append(timestamp=timestamp, key=key, value=value, headers=headers) is None:
                await self._hand_over(producer, builder, topic, partition, keep)
                builder = producer.create_batch()
                builder.append(timestamp=timestamp, key=key, value=value, headers=headers)
        if builder.record_count():
            await self._hand_over(producer, builder, topic, partition, keep)
        return self.mark

    async def confirm(self) -> int:
        """Wait until everything handed over so far is acknowledged; returns the mark it covers.

        Raises SendFailed when one was refused, or is not there after the delivery timeout.
        """
        upto = self.mark
        while self._pending and self._pending[0].mark <= upto:
            await self._settle_oldest()
        self._raise_if_failed()
        return upto

    @property
    def waiting(self) -> bool:
        """Whether anything is handed over and not yet confirmed."""
        return bool(self._pending)

    def take_offset(self, mark: int) -> int | None:
        """Offset of the last record of the batch with this mark; marks below it are forgotten."""
        found = self._offsets.pop(mark, None)
        for older in [m for m in self._offsets if m < mark]:
            del self._offsets[older]
        return found

    def partitions_of(self, topic: str) -> int:
        """Number of partitions of a topic; SendFailed when the broker does not have it."""
        found = self._producer().client.cluster.partitions_for_topic(topic)
        if not found:
            raise SendFailed(f"topic {topic} does not exist; `shangxin topics create` makes it")
        return len(found)

    async def know(self, topics: Iterable[str]) -> None:
        """Fetch the metadata of the topics that will be sent to."""
        client = self._producer().client
        for topic in topics:
            try:
                await asyncio.wait_for(client._wait_on_metadata(topic), self._timeout_s)
            except (KafkaError, TimeoutError) as error:
                raise SendFailed(f"topic {topic}: {error!r}; `shangxin topics create` makes it") from error

    async def _hand_over(
        self, producer: AIOKafkaProducer, builder: Any, topic: str, partition: int, keep: bool
    ) -> None:
        while len(self._pending) >= MAX_UNCONFIRMED:
            await self._settle_oldest()
        self._raise_if_failed()
        self._fence.check()
        count = builder.record_count()
        try:
            future = await producer.send_batch(builder, topic, partition=partition)
        except KafkaError as error:
            raise self._fail(topic, error) from error
        self.mark += 1
        self._pending.append(_Pending(self.mark, topic, future, count, keep))

    async def _settle_oldest(self) -> None:
        """Wait for the oldest; it leaves the list only once the broker has it."""
        oldest = self._pending[0]
        done, _ = await asyncio.wait({oldest.future}, timeout=self._timeout_s)
        if not done:
            raise self._fail(oldest.topic, TimeoutError(f"no acknowledgement within {self._timeout_s} s"))
        if (error := oldest.future.exception()) is not None:
            raise self._fail(oldest.topic, error)
        if self._pending and self._pending[0] is oldest:
            self._pending.popleft()
            if oldest.keep:
                self._offsets[oldest.mark] = oldest.future.result().offset + oldest.records - 1
            self.on_acknowledged(oldest.topic, oldest.records)

    def _fail(self, topic: str, error: BaseException) -> SendFailed | Fenced:
        """Remember the first failure. A fresh error each time: one object raised in many tasks chains to itself."""
        if self.failed is None:
            self.failed = (
                Fenced(str(error.args[0]))
                if isinstance(error, Refused)
                else SendFailed(f"produce to {topic} was not acknowledged: {error!r}; nothing is committed past it")
            )
        return type(self.failed)(*self.failed.args)

    def _raise_if_failed(self) -> None:
        if self.failed is not None:
            raise type(self.failed)(*self.failed.args)
