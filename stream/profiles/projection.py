"""`listing-facts` held whole by each worker: read up to its end at the start, then followed."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from inference.deadline import Deadline
from schemas.topics import LISTING_FACTS
from stream.batchpath.store import MemoryShelf, RocksShelf, Shelf
from stream.errors import Fatal, SourceMoved
from stream.kafka.clients import make_reader, start_client
from stream.metrics import Meters
from stream.profiles.facts import Facts, read_facts
from stream.settings import Settings

LOAD_DEADLINE_S = 600.0
"""A million products are about a gigabyte of facts and load in some three minutes on one core; thrice that."""
POLL_MS = 500
RECORDS_A_TURN = 2_000
"""Stored without giving the loop back: some 5 ms."""
DECODED = 100_000
"""Products kept decoded: about 3 KB each with the vector as float32, 300 MB at most."""
OFFSETS = b"\x00facts-offset:%d"
"""Next offset of each partition, stored with the data. No product id starts with a control character."""
_UNREAD = object()


class Projection:
    """Product to facts. `arrived` collects products whose facts came or changed since it was last taken."""

    def __init__(self, settings: Settings, meters: Meters) -> None:
        self._settings = settings
        self._meters = meters
        self._topic = LISTING_FACTS.named(settings.kafka.topic_prefix)
        self._shelf = _shelf(settings.worker.state_dir)
        self._decoded: OrderedDict[str, Facts | None] = OrderedDict()
        self._reader: AIOKafkaConsumer | None = None
        self._arrived: set[str] = set()
        self._log = structlog.get_logger()
        self.wanted: Callable[[str], bool] = lambda product: True
        """Which arrivals to collect: the products somebody waits for."""

    def get(self, product_id: str) -> Facts | None:
        """Facts to join with, None while there are none."""
        found = self._decoded.get(product_id, _UNREAD)
        if found is not _UNREAD:
            self._decoded.move_to_end(product_id)
            return self._decoded[product_id]
        stored = self._shelf.get(product_id.encode())
        facts = None if stored is None else read_facts(stored)
        self._decoded[product_id] = facts
        if len(self._decoded) > DECODED:
            self._decoded.popitem(last=False)
        return facts

    def take_arrived(self) -> set[str]:
        """Products that were wanted and whose facts came since the last call."""
        taken, self._arrived = self._arrived, set()
        return taken

    async def load(self) -> None:
        """Read up to the end as it is now. Raises Fatal past the deadline, SourceMoved, NotReady without a broker."""
        reader = self._reader = make_reader(self._settings, "shangxin-projection")
        await start_client(reader, self._settings)
        try:
            await self._load(reader)
        except KafkaError as error:
            raise Fatal(f"{self._topic} cannot be read: {error!r}") from error

    async def follow(self) -> None:
        """Keep up until cancelled. Raises Fatal."""
        assert self._reader is not None, "load comes first"
        while True:
            try:
                found = await self._reader.getmany(timeout_ms=POLL_MS, max_records=RECORDS_A_TURN)
            except KafkaError as error:
                raise Fatal(f"{self._topic} cannot be read: {error!r}") from error
            for tp, records in found.items():
                self._take(tp, records)

    async def close(self) -> None:
        """Stop reading and close the store."""
        if self._reader is not None:
            await self._reader.stop()
        self._shelf.close()

    async def _load(self, reader: AIOKafkaConsumer) -> None:
        deadline = Deadline(LOAD_DEADLINE_S)
        tps = await self._partitions(reader)
        reader.assign(tps)
        begins, ends = await asyncio.gather(reader.beginning_offsets(tps), reader.end_offsets(tps))
        positions = {tp: self._start(tp, begins[tp], ends[tp]) for tp in tps}
        for tp, position in positions.items():
            reader.seek(tp, position)
        while remaining := self._remaining(positions, ends):
            if deadline.passed:
                raise Fatal(
                    f"{remaining} records of {self._topic} were still to be read after {LOAD_DEADLINE_S:.0f} s; "
                    "see docs/known_issues.md, recovery"
                )
            for tp, records in (await reader.getmany(timeout_ms=POLL_MS, max_records=RECORDS_A_TURN)).items():
                self._take(tp, records)
            # Compaction leaves gaps, also at the end: the position passes them, the records do not.
            positions = {tp: await reader.position(tp) for tp in tps}
        self._log.info("projection", topic=self._topic, records=sum(ends.values()) - sum(begins.values()))

    async def _partitions(self, reader: AIOKafkaConsumer) -> list[TopicPartition]:
        """From the admin's count: a reader of no group knows a topic only once it has one."""
        from stream.kafka.sources import check_counts

        counts = await check_counts(self._settings, (LISTING_FACTS,))
        return [TopicPartition(self._topic, number) for number in range(counts[self._topic])]

    def _start(self, tp: TopicPartition, begin: int, end: int) -> int:
        stored = self._shelf.get(OFFSETS % tp.partition)
        position = int(stored) if stored is not None else begin
        if position > end:
            raise SourceMoved(
                f"{tp.topic}/{tp.partition} ends at {end}, the stored projection is at {position}: the topic was made "
                f"again. Delete {self._settings.worker.state_dir} and start again"
            )
        # Below the beginning: what compaction or retention merged is in the records that remain.
        return max(position, begin)

    def _remaining(self, positions: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]) -> int:
        remaining = sum(max(0, end - positions[tp]) for tp, end in ends.items())
        self._meters.gauge("shangxin_recovery_remaining_records").set(remaining)
        return remaining

    def _take(self, tp: TopicPartition, records: list[ConsumerRecord]) -> None:
        items: list[tuple[bytes, bytes | None]] = []
        for record in records:
            if record.key is None or record.value is None or not self._usable(record):
                # Withdrawn or refused: what was known of it stays true of the events that it was joined with.
                continue
            items.append((record.key, record.value))
            product = record.key.decode()
            self._decoded.pop(product, None)
            if self.wanted(product):
                self._arrived.add(product)
        items.append((OFFSETS % tp.partition, b"%d" % (records[-1].offset + 1)))
        self._shelf.write(items, None)

    def _usable(self, record: ConsumerRecord) -> bool:
        try:
            return read_facts(record.value) is not None
        except (msgspec.DecodeError, ValueError) as error:
            raise Fatal(
                f"{self._topic}/{record.partition}@{record.offset} is no facts record ({error}): it was written by "
                "another program or a newer version"
            ) from error


def _shelf(state_dir: Path | None) -> Shelf:
    """In memory about 1.2 KB a product; on disk what RocksDB's cache holds."""
    return MemoryShelf() if state_dir is None else RocksShelf(state_dir / "listing-facts")
