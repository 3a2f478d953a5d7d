"""Where a table's bytes live on this worker: one store a partition, in memory or in RocksDB.

Faust's own stores are not used: its memory store forgets which partition a key belongs to until
recovery ends and drops empty values, its RocksDB store asks for 2 GB of block cache a partition
and never closes a database. These two write a batch and the changelog offset it belongs to
together, and only after the broker confirmed it, so a store is never ahead of its changelog.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import faust
import rocksdict
from faust.stores.base import Store
from faust.types import TP

from stream.errors import StreamError

OFFSET_KEY = b"\x00offset"
"""Changelog offset up to which the store is complete. No id starts with a control character (schemas.bounds.Id)."""
WRITE_BUFFER = 16 * 1024 * 1024
BLOCK_CACHE = 32 * 1024 * 1024
"""A partition; KeyedState caches decoded states above it, so a large block cache would hold them twice."""


class Shelf(Protocol):
    """One partition's bytes."""

    offset: int | None

    def get(self, key: bytes) -> bytes | None:
        """Value of a key."""

    def write(self, items: Iterable[tuple[bytes, bytes | None]], offset: int | None) -> None:
        """Put or delete (None), and remember that the changelog is applied up to `offset`."""

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Everything, in no promised order."""

    def close(self) -> None:
        """Release it."""


class MemoryShelf:
    """A dictionary; recovery reads the whole changelog."""

    def __init__(self) -> None:
        self._data: dict[bytes, bytes] = {}
        self.offset: int | None = None

    def get(self, key: bytes) -> bytes | None:
        """Value of a key."""
        return self._data.get(key)

    def write(self, items: Iterable[tuple[bytes, bytes | None]], offset: int | None) -> None:
        """Put or delete."""
        for key, value in items:
            if value is None:
                self._data.pop(key, None)
            else:
                self._data[key] = value
        if offset is not None:
            self.offset = offset

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """A snapshot of everything."""
        return iter(list(self._data.items()))

    def close(self) -> None:
        """Forget."""
        self._data.clear()


class RocksShelf:
    """A RocksDB; recovery reads the changelog from the offset stored with the data."""

    def __init__(self, path: Path) -> None:
        options = rocksdict.Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_write_buffer_size(WRITE_BUFFER)
        table = rocksdict.BlockBasedOptions()
        table.set_block_cache(rocksdict.Cache(BLOCK_CACHE))
        options.set_block_based_table_factory(table)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = rocksdict.Rdict(str(path), options=options)
        stored = self._db.get(OFFSET_KEY)
        self.offset: int | None = int(stored) if stored is not None else None

    def get(self, key: bytes) -> bytes | None:
        """Value of a key."""
        found: bytes | None = self._db.get(key)
        return found

    def write(self, items: Iterable[tuple[bytes, bytes | None]], offset: int | None) -> None:
        """One atomic write of data and offset."""
        batch = rocksdict.WriteBatch(raw_mode=True)
        for key, value in items:
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        if offset is not None:
            batch.put(OFFSET_KEY, str(offset).encode())
            self.offset = offset
        self._db.write(batch)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Everything but the offset."""
        found: Iterator[tuple[bytes, bytes]] = ((key, value) for key, value in self._raw() if key != OFFSET_KEY)
        return found

    def _raw(self) -> Any:
        return self._db.items()

    def close(self) -> None:
        """Flush and unlock."""
        self._db.close()


class ShelfStore(Store[bytes, bytes]):
    """A Faust store made of shelves; Faust's recovery writes it, KeyedState reads and writes it."""

    def __init__(self, app: Any, table: Any, make: Callable[[int], Shelf], **options: Any) -> None:
        super().__init__("shelf://", app, table, **options)
        self._make = make
        self._shelves: dict[int, Shelf] = {}

    def shelf(self, partition: int) -> Shelf:
        """The partition's shelf, opened on first use."""
        found = self._shelves.get(partition)
        if found is None:
            found = self._shelves[partition] = self._make(partition)
        return found

    def apply_changelog_batch(self, batch: Iterable[Any], to_key: Any = None, to_value: Any = None) -> None:
        """Recovered records, as raw bytes, with their offsets. Faust's recovery swallows what this raises: crash."""
        try:
            self._apply(batch)
        except Exception as error:
            asyncio.ensure_future(self.app.crash(error))  # noqa: RUF006 (the crash outlives this store)
            raise

    def _apply(self, batch: Iterable[Any]) -> None:
        by_partition: dict[int, list[Any]] = {}
        for event in batch:
            by_partition.setdefault(event.message.partition, []).append(event.message)
        for partition, messages in by_partition.items():
            last = max(message.offset for message in messages)
            self.shelf(partition).write(((m.key, m.value) for m in messages), last)

    def persisted_offset(self, tp: TP) -> int | None:
        """Changelog offset up to which this store is complete."""
        return self.shelf(tp.partition).offset

    def set_persisted_offset(self, tp: TP, offset: int) -> None:
        """Only ever called by Faust's own writes, which this project does not use."""
        raise StreamError(f"{tp}: tables on the batch path are written by KeyedState")

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Close what is lost."""
        mine = {tp.partition for tp in assigned if tp.topic == self.table.name}
        for partition in [p for p in self._shelves if p not in mine]:
            self._shelves.pop(partition).close()

    async def on_stop(self) -> None:
        """Close everything."""
        for shelf in self._shelves.values():
            shelf.close()
        self._shelves.clear()

    def reset_state(self) -> None:
        """Forget everything; the next recovery reads the whole changelog."""
        for shelf in self._shelves.values():
            shelf.close()
        self._shelves.clear()

    async def backup_partition(self, tp: TP | int, flush: bool = True, purge: bool = False, keep: int = 1) -> None:
        """The changelog is the backup."""

    def restore_backup(self, tp: TP | int, latest: bool = True, backup_id: int = 0) -> None:
        """The changelog is the backup."""

    def _missing(self, *_: Any) -> Any:
        raise StreamError("tables on the batch path are read by partition, through KeyedState")

    __getitem__ = __setitem__ = __delitem__ = __contains__ = _missing

    def __iter__(self) -> Iterator[bytes]:
        return (key for shelf in self._shelves.values() for key, _ in shelf.items())

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _clear(self) -> None:
        self.reset_state()


class StateTable(faust.Table):  # type: ignore[type-arg]
    """A Faust table over shelves, with a changelog topic that the administrator made."""

    def __init__(self, app: Any, *, name: str, partitions: int, state_dir: Path | None) -> None:
        self._state_dir = state_dir
        topic = app.topic(
            name,
            key_type=bytes,
            value_type=bytes,
            # By type alone Faust would read bytes as JSON, and its recovery only warns of what it cannot read.
            key_serializer="raw",
            value_serializer="raw",
            partitions=partitions,
            compacting=True,
            acks=False,
        )
        super().__init__(app, name=name, key_type=bytes, value_type=bytes, partitions=partitions, changelog_topic=topic)
        app.tables.add(self)

    def _new_store(self) -> ShelfStore:
        return ShelfStore(self.app, self, self._shelf, table_name=self.name, loop=self.loop)

    def _shelf(self, partition: int) -> Shelf:
        if self._state_dir is None:
            return MemoryShelf()
        return RocksShelf(self._state_dir / self.name / f"{partition}")

    @property
    def shelves(self) -> ShelfStore:
        """The store."""
        found = self.data
        assert isinstance(found, ShelfStore)
        return found


def forget(state_dir: Path, table: str) -> None:
    """Delete a table's local files; the next start reads the whole changelog."""
    shutil.rmtree(state_dir / table, ignore_errors=True)
