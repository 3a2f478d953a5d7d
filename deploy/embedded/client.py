"""Asks a broker, through the real client, whether it serves; topics for tests are made here as well."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from deploy.embedded.ports import listening

T = TypeVar("T")
# One answer from a broker on this machine takes milliseconds.
REQUEST_TIMEOUT_MS = 5000


def with_admin(bootstrap: str, ask: Callable[[Any], Awaitable[T]]) -> T:
    """Run one conversation with the cluster from synchronous code, also below a running event loop.

    Raises aiokafka.errors.KafkaError.
    """

    async def talk() -> T:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=REQUEST_TIMEOUT_MS)
        try:
            await admin.start()
            return await ask(admin)
        finally:
            await admin.close()

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="admin") as thread:
        return thread.submit(asyncio.run, talk()).result()


def cluster_answers(bootstrap: str) -> bool:
    """Whether at least one broker of the cluster is alive and says who is in it."""
    # A look at the port first: the client logs an error for each connection refused.
    if bootstrap.startswith("127.0.0.1:") and not listening(int(bootstrap.rpartition(":")[2])):
        return False

    async def brokers(admin: Any) -> bool:
        cluster = await admin.describe_cluster()
        return bool(cluster["brokers"])

    try:
        return with_admin(bootstrap, brokers)
    except (KafkaError, OSError):
        return False
