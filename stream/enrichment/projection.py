"""What was applied to each product, by owned partition: loaded from `listing-facts` when it is assigned."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from inference.deadline import Deadline
from schemas.codec import Codec
from schemas.errors import RecordError
from schemas.listing import Revision
from schemas.topics import LISTING_FACTS
from stream.enrichment.verdict import FactsStamp, Known, known_from
from stream.errors import Fatal
from stream.kafka.clients import make_reader, start_client
from stream.metrics import Meters
from stream.settings import Settings

RECOVERY_DEADLINE_S = 300.0
"""A partition of a million products (some 500 bytes each) loads in about half a minute; ten times that."""
POLL_MS = 500
RECORDS_A_TURN = 2_000
"""Decoded without giving the loop back: about 5 ms, so that heartbeats go out during recovery."""

_stamps = Codec(FactsStamp)


class Projection:
    """Product to what is known of it. Memory: about 300 bytes a product of the owned partitions."""

    def __init__(self, settings: Settings, meters: Meters) -> None:
        self._settings = settings
        self._meters = meters
        self._topic = LISTING_FACTS.named(settings.kafka.topic_prefix)
        self._known: dict[int, dict[str, Known]] = {}
        self._log = structlog.get_logger()

    def get(self, partition: int, product_id: str) -> Known | None:
        """What was applied last, or None."""
        return self._known[partition].get(product_id)

    def put(self, partition: int, product_id: str, known: Known) -> None:
        """Call once the facts are acknowledged. A partition that was taken away is ignored."""
        if partition in self._known:
            self._known[partition][product_id] = known
            self._count()

    def drop(self) -> None:
        """Forget everything: another worker may write the facts now."""
        self._known = {}
        self._count()

    def newest(self, partition: int) -> Revision | None:
        """The highest revision applied in a partition."""
        revisions = (known.revision for known in self._known[partition].values())
        return max(revisions, default=None)

    async def load(self, partitions: Iterable[int], current: Callable[[], bool]) -> bool:
        """Read the facts of `partitions` from beginning to end; False when `current()` turned false meanwhile.

        Raises Fatal when that takes longer than RECOVERY_DEADLINE_S, or when a record cannot be read.
        """
        tps = [TopicPartition(self._topic, partition) for partition in sorted(partitions)]
        loaded: dict[int, dict[str, Known]] = {tp.partition: {} for tp in tps}
        if tps and not await self._read(tps, loaded, current):
            return False
        self._known = loaded
        self._count()
        return True

    async def _read(
        self, tps: list[TopicPartition], loaded: dict[int, dict[str, Known]], current: Callable[[], bool]
    ) -> bool:
        reader = make_reader(self._settings)
        await start_client(reader, self._settings)
        try:
            return await self._drain(reader, tps, loaded, current)
        except KafkaError as error:
            raise Fatal(f"{self._topic} cannot be read: {error!r}") from error
        finally:
            self._meters.gauge("shangxin_recovery_remaining_records").set(0)
            await reader.stop()

    async def _drain(
        self,
        reader: AIOKafkaConsumer,
        tps: list[TopicPartition],
        loaded: dict[int, dict[str, Known]],
        current: Callable[[], bool],
    ) -> bool:
        deadline = Deadline(RECOVERY_DEADLINE_S)
        reader.assign(tps)
        begins, ends = await asyncio.gather(reader.beginning_offsets(tps), reader.end_offsets(tps))
        for tp in tps:
            reader.seek(tp, begins[tp])
        positions = dict(begins)
        while remaining := self._remaining(positions, ends):
            if not current():
                return False
            if deadline.passed:
                raise Fatal(
                    f"{remaining} records of {self._topic} were still to be read after {RECOVERY_DEADLINE_S:.0f} s; "
                    "see docs/known_issues.md, recovery"
                )
            for tp, records in (await reader.getmany(timeout_ms=POLL_MS, max_records=RECORDS_A_TURN)).items():
                for record in records:
                    self._apply(loaded[tp.partition], record)
            # Compaction leaves gaps, also at the end: the position passes them, the records do not.
            positions = {tp: await reader.position(tp) for tp in tps}
        return True

    def _remaining(self, positions: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]) -> int:
        remaining = sum(max(0, end - positions[tp]) for tp, end in ends.items())
        self._meters.gauge("shangxin_recovery_remaining_records").set(remaining)
        return remaining

    def _apply(self, known: dict[str, Known], record: ConsumerRecord) -> None:
        product_id = (record.key or b"").decode()
        if record.value is None:
            known.pop(product_id, None)
            return
        try:
            known[product_id] = known_from(_stamps.decode(record.value))
        except RecordError as error:
            raise Fatal(
                f"{self._topic}/{record.partition}@{record.offset} is no facts record ({error}): it was written by "
                "another program or a newer version"
            ) from error

    def _count(self) -> None:
        total = sum(len(each) for each in self._known.values())
        self._meters.gauge("shangxin_state_keys", table="listing-revisions").set(total)
