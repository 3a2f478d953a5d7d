"""Requests whose time has not come: held by partition, in order, while the partition is paused.

The requests of a partition are written in the order in which they fall due (one constant delay), so the
first one holds back only those that wait as well. A backfill request behind it waits up to that delay.
"""

from __future__ import annotations

from collections.abc import Iterator

from aiokafka import ConsumerRecord
from aiokafka.structs import TopicPartition

from stream.enrichment.work import Work


class Held:
    """Waiting work and the records fetched behind it; bounded by what one fetch returned."""

    def __init__(self) -> None:
        self._held: dict[TopicPartition, tuple[Work, list[ConsumerRecord]]] = {}

    def hold(self, tp: TopicPartition, work: Work, behind: list[ConsumerRecord]) -> None:
        """Keep `work` until it is due, and the records that came with it after that."""
        self._held[tp] = (work, behind)

    def due(self, now_ms: int) -> Iterator[tuple[TopicPartition, Work, list[ConsumerRecord]]]:
        """Take out what is due now."""
        for tp, (work, behind) in list(self._held.items()):
            assert work.request is not None
            if work.request.not_before <= now_ms:
                del self._held[tp]
                yield tp, work, behind

    def waiting(self, tp: TopicPartition) -> bool:
        """Whether the partition is held."""
        return tp in self._held

    def clear(self) -> None:
        """Forget everything: the partitions are gone."""
        self._held.clear()
