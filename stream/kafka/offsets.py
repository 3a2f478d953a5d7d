"""Which offsets are finished: per partition and assignment generation, the smallest that is not yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from aiokafka.structs import TopicPartition


class _Partition:
    """Offsets of one partition, started in rising order, finished in any."""

    def __init__(self, position: int) -> None:
        self.next = position
        self.committed = position
        self._open: deque[int] = deque()
        self._finished: set[int] = set()

    def start(self, offset: int) -> None:
        if offset < self.next:
            raise ValueError(f"offset {offset} started after {self.next - 1}")
        self._open.append(offset)
        self.next = offset + 1

    def finish(self, offset: int) -> None:
        self._finished.add(offset)
        while self._open and self._open[0] in self._finished:
            self._finished.discard(self._open.popleft())

    @property
    def smallest_unfinished(self) -> int:
        return self._open[0] if self._open else self.next

    @property
    def unfinished(self) -> int:
        return len(self._open) - len(self._finished)


class Offsets:
    """Tracker of one consumer. Marks of an older generation than the current one are dropped."""

    def __init__(self) -> None:
        self.generation = 0
        self.finished = 0
        """Records finished since the start, for the watch over progress."""
        self._partitions: dict[TopicPartition, _Partition] = {}

    def assign(self, positions: Mapping[TopicPartition, int]) -> int:
        """A new assignment, reading from `positions`; returns its generation."""
        self.generation += 1
        self._partitions = {tp: _Partition(position) for tp, position in positions.items()}
        return self.generation

    def revoke(self) -> None:
        """Nothing is owned any more; unfinished work is abandoned."""
        self.assign({})

    def owns(self, tp: TopicPartition, generation: int) -> bool:
        """Whether work begun in `generation` on `tp` still is this worker's to finish."""
        return generation == self.generation and tp in self._partitions

    def start(self, tp: TopicPartition, offset: int) -> None:
        """A record was taken in. Offsets of a partition must rise; gaps are fine."""
        self._partitions[tp].start(offset)

    def finish(self, tp: TopicPartition, offset: int, generation: int) -> None:
        """Everything that follows from the record is acknowledged."""
        if self.owns(tp, generation):
            self._partitions[tp].finish(offset)
            self.finished += 1

    def committable(self) -> dict[TopicPartition, int]:
        """Smallest unfinished offset of each partition where it moved since the last commit."""
        found = ((tp, p.smallest_unfinished, p.committed) for tp, p in self._partitions.items())
        return {tp: offset for tp, offset, committed in found if offset > committed}

    def committed(self, offsets: Mapping[TopicPartition, int], generation: int) -> None:
        """The broker took these."""
        for tp, offset in offsets.items():
            if self.owns(tp, generation):
                self._partitions[tp].committed = offset

    def positions(self) -> dict[TopicPartition, int]:
        """Smallest unfinished offset of every owned partition."""
        return {tp: p.smallest_unfinished for tp, p in self._partitions.items()}

    def unfinished(self, tps: Iterable[TopicPartition] | None = None) -> int:
        """Records started and not finished."""
        chosen = self._partitions.keys() if tps is None else tps
        return sum(self._partitions[tp].unfinished for tp in chosen if tp in self._partitions)
