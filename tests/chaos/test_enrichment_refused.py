"""Rule 2 for the enrichment worker: the broker refuses what it sends; it ends, and nothing was committed past it."""

from __future__ import annotations

import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from schemas.topics import LISTING_ENRICHED, Topic
from stream.kafka.clients import make_admin
from tests.enrichment_env import Env

pytestmark = [pytest.mark.broker, pytest.mark.chaos]

REFUSES = "80"
"""Bytes: less than any listing; the settings still say 1 MiB, so the worker finds out from the broker."""
TAKES = "1048576"


async def limit(env: Env, topic: Topic, size: str) -> None:
    """Set the largest record that the topic takes."""
    admin = make_admin(env.settings)
    await admin.start()
    try:
        resource = ConfigResource(ConfigResourceType.TOPIC, env.named(topic), {"max.message.bytes": size})
        await admin.alter_configs([resource])
    finally:
        await admin.close()


async def test_a_refused_send_ends_the_worker_and_commits_nothing(env: Env) -> None:
    await limit(env, LISTING_ENRICHED, REFUSES)
    for number in range(8):
        await env.emit(f"p{number}", f"cup {number}")
    worker = env.start()
    assert await worker.ended() == 1
    assert '"error": "SendFailed"' in worker.text()
    assert await env.lag() == 8
    assert await env.newest() == {}
    await limit(env, LISTING_ENRICHED, TAKES)
    env.start()
    await env.settled()
    assert (await env.newest()).keys() == {f"p{number}" for number in range(8)}
