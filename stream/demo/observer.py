"""Reads every topic of the demo from its beginning and keeps the tally, as any consumer of them would."""

from __future__ import annotations

import asyncio
import time

from aiokafka.structs import TopicPartition

from schemas.topics import TOPICS
from stream.demo.tally import Tally
from stream.settings import Settings
from stream.view.tail import Tail

TURN = 200
"""Records taken in before the loop gets a turn: 200 decodes of at most 30 us are 6 ms, under the 50 ms rule."""


class Observer:
    """Follows all topics. `tally` is current up to the last poll; `quiet_s` is how long nothing has come."""

    def __init__(self, settings: Settings) -> None:
        self.tally = Tally()
        self._tail = Tail(settings, TOPICS, from_start=True)
        self._topics = {topic.named(settings.kafka.topic_prefix): topic for topic in TOPICS}
        self._last = time.monotonic()
        self.first_enriched: float | None = None
        """Monotonic time at which the first enriched listing was seen."""

    async def start(self) -> None:
        """Connect. Raises NotReady."""
        await self._tail.start()

    async def stop(self) -> None:
        """Disconnect."""
        await self._tail.stop()

    @property
    def quiet_s(self) -> float:
        """Seconds since the last record of any topic."""
        return time.monotonic() - self._last

    async def ends(self) -> dict[TopicPartition, int]:
        """Where every partition of every topic ends now. Raises NotReady."""
        return await self._tail.ends()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            for number, record in enumerate(await self._tail.poll(), 1):
                self._last = time.monotonic()
                self.tally.add(self._topics[record.topic], record, int(time.time() * 1000))
                if self.first_enriched is None and self.tally.status:
                    self.first_enriched = self._last
                if number % TURN == 0:
                    await asyncio.sleep(0)
