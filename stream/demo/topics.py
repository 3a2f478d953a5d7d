"""The demo's topics: made at the start, removed at the end from a broker that is not the demo's own."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from stream.kafka.admin import create_topics
from stream.kafka.clients import make_admin, start_client
from stream.settings import Settings

DEMO_PREFIX = "shangxin-demo-"
"""Only topics under a prefix that the demo made up are ever removed."""


@contextlib.asynccontextmanager
async def demo_topics(settings: Settings, *, keep: bool) -> AsyncIterator[None]:
    """Inside the block the topics are there. Raises NotReady, Fatal, SourceMoved."""
    await create_topics(settings)
    try:
        yield
    finally:
        if settings.kafka.topic_prefix.startswith(DEMO_PREFIX) and not keep:
            await _remove(settings)


async def _remove(settings: Settings) -> None:
    """The topics, and the workers' changelogs, which carry the prefix too."""
    admin = make_admin(settings)
    await start_client(admin, settings)
    try:
        mine = [name for name in await admin.list_topics() if name.startswith(settings.kafka.topic_prefix)]
        await admin.delete_topics(mine)
    finally:
        await admin.close()
