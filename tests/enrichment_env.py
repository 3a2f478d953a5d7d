"""What the enrichment tests share: writing product events, the fake model's calls, the newest listings."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from schemas.envelope import Envelope, headers_of
from schemas.topics import ENRICHMENT_REQUESTS, LISTING_ENRICHED, PRODUCT_CREATED, TOPICS, Partitions, Topic
from stream.enrichment.worker import STAGE
from stream.kafka.publish import Publisher
from stream.settings import Settings
from tests.worker_kit import Worker, WorkerEnv, settings_for

NOW = 1_780_000_000_000
PRODUCT_TOPICS = tuple(topic for topic in TOPICS if topic.partitions is Partitions.PRODUCT)


class Env(WorkerEnv):
    """One test's topics, publisher and enrichment workers."""

    stage = STAGE
    command = "enrich"
    sources = (PRODUCT_CREATED, ENRICHMENT_REQUESTS)
    topics = PRODUCT_TOPICS

    def __init__(self, settings: Settings, folder: Path, publisher: Publisher) -> None:
        super().__init__(settings, folder, publisher)
        self.calls = folder / "calls.txt"
        self.back = folder / "back"

    @classmethod
    def settings_for(cls, bootstrap: str) -> Settings:
        """With a short drain as well: what gives up at its deadline is one of the things tested."""
        settings = settings_for(bootstrap)
        kafka = settings.kafka.model_copy(update={"drain_timeout_s": 3.0})
        return settings.model_copy(update={"kafka": kafka})

    async def emit(
        self,
        product_id: str,
        title: str = "Blue ceramic cup",
        *,
        type_: str = "product.created",
        event_id: str = "",
        traceparent: str = "",
        **fields: Any,
    ) -> tuple[int, int]:
        """Write one product event; returns partition and offset."""
        value = json.dumps({"product_id": product_id, "title": title, **fields}).encode()
        envelope = Envelope(event_id or uuid.uuid4().hex, type_, "/test", NOW, traceparent)
        return await self.raw(product_id.encode(), value, headers_of(envelope))

    async def raw(
        self,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]],
        partition: int | None = None,
        topic: Topic = PRODUCT_CREATED,
    ) -> tuple[int, int]:
        """Write one record as it is."""
        done = await self.publisher.publish(
            self.named(topic), key=key, value=value, headers=headers, partition=partition
        )
        return done.partition, done.offset

    async def newest(self, topic: Topic = LISTING_ENRICHED) -> dict[str, dict[str, Any] | None]:
        """Newest value of each key."""
        newest: dict[str, dict[str, Any] | None] = {}
        for record in await self.records(topic):
            newest[record.key.decode()] = json.loads(record.value) if record.value is not None else None
        return newest

    def start(self, index: int = 0, /, *, real: bool = False, **overrides: Any) -> Worker:
        """Start a worker. real: `shangxin enrich` itself instead of the one with the fake model."""
        if real:
            return super().start(index, **overrides)
        return self.launch(["-m", "tests.chaos.fake_enrich", str(self.calls), str(self.back)], index, overrides)

    def titles_seen(self) -> list[str]:
        """What reached the model."""
        return self.calls.read_text().splitlines() if self.calls.exists() else []


def facts_equal(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Two enriched listings apart from when they were received and published."""
    return _timeless(first) == _timeless(second)


def _timeless(record: dict[str, Any]) -> dict[str, Any]:
    copy: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(record))
    copy["times"] = copy["times"]["event"] if isinstance(copy["times"], dict) else copy["times"][0]
    return copy
