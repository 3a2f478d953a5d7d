"""KeyedState: decoded states over a table's store, written once a touched key and batch."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Generic, TypeVar

import msgspec
from msgspec import Struct

from stream.batchpath.sends import Sends
from stream.batchpath.store import StateTable
from stream.errors import SourceMoved

S = TypeVar("S")

CACHED = 200_000
"""Decoded states kept a worker: about 3 KB each as Python objects, 600 MB. Fewer re-decodes, more memory."""
META_KEY = b"\x00meta"
"""Per partition: what the state was built against (rule 6). No id starts with a control character."""


class StateMeta(Struct, array_like=True, frozen=True):
    """Partition count of the source, recorded with the state."""

    source_partitions: int


class KeyedState(Generic[S]):
    """States of one table, by (partition, key).

    A state handed out by `get` may be changed in place; `write` must follow in the same batch.
    Bytes reach the changelog in `write`, and the local store only once the broker confirmed them.
    """

    def __init__(
        self,
        table: StateTable,
        sends: Sends,
        encode: Callable[[S], bytes],
        decode: Callable[[bytes], S],
        cached: int = CACHED,
    ) -> None:
        self._table = table
        self._sends = sends
        self._encode = encode
        self._decode = decode
        self._limit = cached
        self._cache: OrderedDict[tuple[int, bytes], S] = OrderedDict()
        self._unconfirmed: deque[tuple[int, int, list[tuple[bytes, bytes | None]]]] = deque()
        self._dirty: dict[tuple[int, bytes], int] = {}

    @property
    def topic(self) -> str:
        """The changelog topic."""
        return self._table.changelog_topic.get_topic_name()

    def get(self, partition: int, key: bytes) -> S | None:
        """The newest state, or None. Raises what `decode` raises: a state that cannot be read is fatal."""
        at = (partition, key)
        found = self._cache.get(at)
        if found is not None:
            self._cache.move_to_end(at)
            return found
        stored = self._table.shelves.shelf(partition).get(key)
        if stored is None:
            return None
        state = self._cache[at] = self._decode(stored)
        return state

    def put(self, partition: int, key: bytes, state: S) -> None:
        """Hold a new state; it is written by the next `write` that names its key."""
        self._cache[(partition, key)] = state

    async def write(self, partition: int, keys: Iterable[bytes], timestamp: int) -> int:
        """Encode each key's state once and send it to the changelog; returns the mark that confirms it."""
        items: list[tuple[bytes, bytes | None]] = []
        for key in keys:
            state = self._cache.get((partition, key))
            items.append((key, None if state is None else self._encode(state)))
        for key, _ in items:
            self._dirty[(partition, key)] = self._dirty.get((partition, key), 0) + 1
        mark = await self._sends.send_many(self.topic, partition, ((k, v, []) for k, v in items), timestamp, keep=True)
        self._unconfirmed.append((mark, partition, items))
        self._trim()
        return mark

    def confirmed(self, mark: int) -> None:
        """Store what the broker has."""
        while self._unconfirmed and self._unconfirmed[0][0] <= mark:
            sent, partition, items = self._unconfirmed.popleft()
            self._table.shelves.shelf(partition).write(items, self._sends.take_offset(sent))
            for key, _ in items:
                left = self._dirty[(partition, key)] - 1
                if left:
                    self._dirty[(partition, key)] = left
                else:
                    del self._dirty[(partition, key)]

    def scan(self, partition: int) -> Iterator[tuple[bytes, S]]:
        """Every stored state of a partition; for rebuilding indexes after an assignment."""
        for key, value in self._table.shelves.shelf(partition).items():
            if key != META_KEY:
                yield key, self._decode(value)

    def clear(self) -> None:
        """Drop what is cached or not confirmed: the partitions are lost, their changelog is the truth."""
        self._cache.clear()
        self._unconfirmed.clear()
        self._dirty.clear()

    async def check_partitions(self, partitions: Iterable[int], source: str, source_partitions: int, now: int) -> None:
        """Rule 6: the source has the partition count that the state was built with. Raises SourceMoved."""
        if (found := self._sends.partitions_of(self.topic)) != source_partitions:
            raise self._mismatch(source, source_partitions, f"its changelog {self.topic} has {found}")
        for partition in partitions:
            shelf = self._table.shelves.shelf(partition)
            stored = shelf.get(META_KEY)
            if stored is None:
                meta = msgspec.msgpack.encode(StateMeta(source_partitions))
                mark = await self._sends.send_many(self.topic, partition, [(META_KEY, meta, [])], now, keep=True)
                self._unconfirmed.append((mark, partition, [(META_KEY, meta)]))
                self._dirty[(partition, META_KEY)] = self._dirty.get((partition, META_KEY), 0) + 1
            elif (built := msgspec.msgpack.decode(stored, type=StateMeta).source_partitions) != source_partitions:
                raise self._mismatch(source, source_partitions, f"the state was built with {built}")

    def __len__(self) -> int:
        return len(self._cache)

    def _mismatch(self, source: str, now: int, found: str) -> SourceMoved:
        return SourceMoved(
            f"{source} has {now} partitions but {found}: keys would meet the wrong state. Rebuild into a new "
            f"generation of topics: set SHANGXIN_KAFKA__TOPIC_PREFIX and run `shangxin topics create`"
        )

    def _trim(self) -> None:
        """Forget the longest unused states that are stored; dirty ones are only here."""
        excess = len(self._cache) - self._limit
        if excess <= 0:
            return
        clean = (at for at in self._cache if at not in self._dirty)
        for at in list(islice(clean, excess)):
            del self._cache[at]
