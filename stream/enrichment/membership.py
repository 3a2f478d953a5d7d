"""Group membership: what is assigned, the one drain on revoke, and opening an assignment once its state is loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from aiokafka.structs import TopicPartition

from inference.deadline import Deadline
from stream.errors import Stuck
from stream.faults import FaultPoint, Faults
from stream.kafka.offsets import Offsets
from stream.kafka.sources import Recorded
from stream.settings import Settings


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]
    """Listener of one consumer. opened: the assignment is read from; nothing may be fetched before."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        offsets: Offsets,
        settings: Settings,
        faults: Faults,
        on_revoke: Callable[[Deadline], Awaitable[None]],
        recorded: Recorded,
    ) -> None:
        self._consumer = consumer
        self._offsets = offsets
        self._settings = settings
        self._faults = faults
        self._on_revoke = on_revoke
        self._recorded = recorded
        self._assignment: frozenset[TopicPartition] = frozenset()
        self._token = 0
        self._changed = asyncio.Event()
        self.opened = False
        self._log = structlog.get_logger()

    @property
    def token(self) -> int:
        """Changes with every assignment and revocation."""
        return self._token

    async def wait_changed(self, timeout_s: float) -> bool:
        """Whether an assignment waits to be opened; waits for one for at most `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    @property
    def assignment(self) -> frozenset[TopicPartition]:
        """What the group gave this worker."""
        return self._assignment

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Drain within one deadline, commit what was finished, abandon the rest."""
        deadline = Deadline(self._settings.kafka.drain_timeout_s)
        self._token += 1
        self.opened = False
        self._changed.clear()
        try:
            await self._on_revoke(deadline)
            await self.commit_last(deadline)
        finally:
            # aiokafka logs what a listener raises and goes on: nothing may count as owned then.
            self._assignment = frozenset()
            self._offsets.revoke()
        self._log.info("revoked", partitions=len(list(revoked)))

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Nothing is fetched yet: the state comes first, and it is not loaded in here, where no heartbeat goes out."""
        self._token += 1
        self._assignment = frozenset(assigned)
        if self._assignment:
            self._consumer.pause(*self._assignment)
        self._changed.set()

    def open(self, positions: dict[TopicPartition, int]) -> None:
        """Read on from `positions`; call without a wait after comparing `token`."""
        self._offsets.assign(positions)
        for tp, position in positions.items():
            self._consumer.seek(tp, position)
        if positions:
            self._consumer.resume(*positions)
        self._changed.clear()
        self.opened = True

    async def commit_last(self, deadline: Deadline) -> None:
        """Commit before partitions are given up. What is not committed is replayed, so this ends nothing."""
        try:
            await self.commit(deadline)
        except Stuck as error:
            self._log.warning("not committed", reason=str(error))

    async def commit(self, deadline: Deadline) -> None:
        """Commit the smallest unfinished offsets, where they moved.

        A commit that the group refuses is let go: a rebalance is under way, and what was finished is
        replayed. Raises Stuck when the broker does not answer by the deadline.
        """
        due = self._offsets.committable()
        if not due:
            return
        self._faults.at(FaultPoint.BEFORE_COMMIT)
        generation, text = self._offsets.generation, self._recorded.text()
        try:
            await _within(deadline, self._consumer.commit({tp: (offset, text) for tp, offset in due.items()}))
        except (CommitFailedError, IllegalStateError) as error:
            self._log.warning("commit refused", reason=repr(error))
        except TimeoutError as error:
            raise Stuck(f"a commit of {len(due)} partitions was not answered in time") from error
        except KafkaError as error:
            raise Stuck(f"offsets cannot be committed: {error!r}") from error
        else:
            self._offsets.committed(due, generation)


async def _within(deadline: Deadline, what: Awaitable[None]) -> None:
    await asyncio.wait_for(what, deadline.left)
