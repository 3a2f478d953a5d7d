"""Ties topics, handler, sends and fence together; the seams call it, a stage makes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaProducer
from faust.types import TP

from stream.batchpath.contract import BatchHandler, IdleHandler, Record
from stream.batchpath.sends import Sends
from stream.faults import FaultPoint, Faults
from stream.kafka.fence import Fence
from stream.settings import KafkaSettings

if TYPE_CHECKING:
    from stream.batchpath.seams import BatchApp


class BatchPath:
    """The batch path of one process. `handler` is set by the stage before the application starts.

    announced: the handler knows its assignment (it is then ready). progress: batches handled.
    assignments: rebalances begun.
    """

    def __init__(self, topics: Sequence[str], kafka: KafkaSettings, faults: Faults) -> None:
        self.topics = frozenset(topics)
        self.faults = faults
        self.drain_timeout_s = kafka.drain_timeout_s
        self.fence = Fence(kafka)
        self.sends = Sends(self._raw_producer, self.fence, kafka.delivery_timeout_s)
        self.handler: BatchHandler | None = None
        self.announced = False
        self.progress = 0
        self.assignments = 0
        self._app: BatchApp | None = None

    def bind(self, app: BatchApp) -> None:
        """Subscribe the application to the batch topics."""
        self._app = app
        for topic in sorted(self.topics):
            app.topics.add(
                app.topic(topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
            )

    async def assigned(self, partitions: frozenset[TP], ends: Mapping[TP, int]) -> None:
        """A new assignment, after recovery."""
        await self._stage().on_assigned(partitions, ends)
        self.announced = True

    async def handle(self, tp: TP, records: Sequence[Record]) -> None:
        """One partition's records."""
        await self._stage().on_batch(tp, records)
        self.progress += 1

    async def idle(self) -> None:
        """No records just now."""
        handler = self._stage()
        if isinstance(handler, IdleHandler):
            await handler.on_idle()

    async def confirm(self) -> None:
        """Everything sent is on the broker and the local store has it; a commit may follow."""
        mark = await self.sends.confirm()
        await self._stage().on_confirmed(mark)
        self.faults.at(FaultPoint.BEFORE_COMMIT)

    async def revoked(self) -> None:
        """Nothing is owned any more."""
        self.announced = False
        self.assignments += 1
        await self._stage().on_revoked()

    @property
    def owning(self) -> bool:
        """Whether the membership is fresh enough to send what is in hand."""
        return not self.fence.displaced and self.fence.age <= self.fence.limit

    def _stage(self) -> BatchHandler:
        assert self.handler is not None, "the stage sets BatchPath.handler before the start"
        return self.handler

    def _raw_producer(self) -> AIOKafkaProducer:
        assert self._app is not None, "bind comes first"
        return self._app.raw_producer
