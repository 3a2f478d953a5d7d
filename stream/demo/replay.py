"""The replay: records go out in the order of event time, paced by it, with a bounded number in flight."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

from schemas.errors import RecordError
from stream.demo.record import DemoRecord

MAX_IN_FLIGHT = 1_000
"""Unacknowledged records. At the demo's 500 bytes each half a megabyte, twenty batches of a partition: enough
to keep the broker busy, and a failing broker is noticed within one delivery timeout."""
EARLY_S = 0.005
"""Records due within this are sent at once: a timer of the loop is hardly finer."""

Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]


class Sender(Protocol):
    """What the replay needs of a producer; `stream.kafka.publish.Publisher` is one."""

    async def send(self, topic: str, *, key: bytes | None, value: bytes | None, headers: Any) -> Awaitable[Any]:
        """Queue one record; awaiting the result waits for the acknowledgement. Raises RecordError too-large."""


class Replay:
    """Sends records once. `sent` by topic (without prefix) and `refused` may be read while it runs.

    speed: seconds of event time in one second; 0 for as fast as the broker takes them.
    refused: records that the producer would not send, each with the error that says why.
    """

    def __init__(
        self,
        sender: Sender,
        prefix: str = "",
        speed: float = 0.0,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._sender = sender
        self._prefix = prefix
        self._speed = speed
        self._clock = clock
        self._sleep = sleep
        self._pending: deque[Awaitable[Any]] = deque()
        self.sent: Counter[str] = Counter()
        self.refused: list[tuple[DemoRecord, RecordError]] = []
        self.at = 0
        """Event time of the newest record sent, ms."""

    async def run(self, records: Iterable[DemoRecord]) -> None:
        """Send all; returns when every one is acknowledged. Raises SendFailed."""
        try:
            await self._send_all(records)
            await self._settle(0)
        finally:
            for acknowledgement in self._pending:
                if asyncio.iscoroutine(acknowledgement):
                    acknowledgement.close()

    async def _send_all(self, records: Iterable[DemoRecord]) -> None:
        began = first = None
        for record in records:
            if began is None or first is None:
                began, first = self._clock(), record.at
            await self._wait_until_due(began, record.at - first)
            await self._send(record)
            await self._settle(MAX_IN_FLIGHT)

    async def _wait_until_due(self, began: float, event_ms: int) -> None:
        if self._speed <= 0:
            return
        ahead = began + event_ms / 1000 / self._speed - self._clock()
        if ahead > EARLY_S:
            await self._sleep(ahead)

    async def _send(self, record: DemoRecord) -> None:
        topic = self._prefix + record.topic
        try:
            self._pending.append(
                await self._sender.send(topic, key=record.key, value=record.value, headers=record.headers)
            )
        except RecordError as error:
            self.refused.append((record, error))
            return
        self.sent[record.topic] += 1
        self.at = record.at

    async def _settle(self, at_most: int) -> None:
        while len(self._pending) > at_most:
            await self._pending.popleft()
