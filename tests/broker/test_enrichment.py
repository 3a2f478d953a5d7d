"""The enrichment worker on the real broker: what goes in comes out enriched, in order, and nothing is lost."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from schemas.topics import LISTING_ENRICHED, LISTING_FACTS
from tests.enrichment_env import Env, environment, eventually

pytestmark = pytest.mark.broker


@pytest_asyncio.fixture
async def env(kafka: str, tmp_path: Path) -> AsyncIterator[Env]:
    """Fresh topics and no worker yet."""
    async with environment(kafka, tmp_path) as made:
        yield made


async def test_an_event_comes_out_enriched_with_its_facts(env: Env) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    partition, offset = await env.emit("p1", price=12.0, currency="EUR", event_id="e1", traceparent=trace)
    worker = env.start()
    await env.settled()
    (record,) = await env.records(LISTING_ENRICHED)
    assert dict(record.headers)["traceparent"] == trace.encode()
    listing = (await env.newest())["p1"]
    assert listing is not None
    assert listing["status"] == "enriched"
    assert listing["revision"] == {"epoch": 0, "offset": offset, "attempt": 0}
    assert listing["source"]["partition"] == partition
    assert listing["category"]["path"] == ["Home", "Cups"]
    facts = (await env.newest(LISTING_FACTS))["p1"]
    assert facts is not None
    assert facts["category"] == ["home", "home.cups"]
    assert facts["price_band"] == "EUR:4"
    assert facts["event_id"] == "e1"
    worker.signal(signal.SIGTERM)
    assert await worker.ended() == 0
    await eventually("drained in the log", lambda: '"drained"' in worker.text())
