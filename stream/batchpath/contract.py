"""What a stage gives to the batch path, and what the path promises it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from faust.types import TP

Record = Any
"""aiokafka.ConsumerRecord: topic, partition, offset, timestamp (ms), key, value, headers."""


class BatchHandler(Protocol):
    """A stage. Every method runs on the main loop, one at a time, never two at once for one handler."""

    async def on_assigned(self, partitions: frozenset[TP], ends: Mapping[TP, int]) -> None:
        """New assignment of the batch topics; changelogs are recovered, no record came yet.

        `ends` is the log end offset (next to be written) of each partition. An empty set is a
        worker with nothing to do. What it raises ends the process.
        """

    async def on_batch(self, tp: TP, records: Sequence[Record]) -> None:
        """Records of one partition in offset order, never empty, each handed over once per assignment.

        Return when the state is changed and every send is handed to `Sends`; do not wait for the
        broker. The offset behind the last record is committed only after all those sends are
        confirmed. A cancellation means that the partition is lost: nothing more may be sent.
        What it raises ends the process.
        """

    async def on_confirmed(self, mark: int) -> None:
        """Every send up to `mark` (see Sends.mark) is on the broker; the commit follows."""

    async def on_revoked(self) -> None:
        """All partitions are gone. Drop every cached state: another worker may change it now."""


@runtime_checkable
class IdleHandler(Protocol):
    """A handler with work of its own beside the records, such as expiry."""

    async def on_idle(self) -> None:
        """No record came for a moment. Same rules as on_batch: never at the same time as another method, cut
        off by a revoke. What is sent here is confirmed by the next commit, or by on_idle itself, since
        without records there may be no commit."""
