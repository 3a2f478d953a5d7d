"""Waiting for what a worker needs before it can start, with the reason in the log and on the health port."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from stream.errors import NotReady
from stream.process import Process

T = TypeVar("T")

RETRY_S = 1.0
TELL_EVERY = 10
"""Tries between two lines of the log: one in ten seconds."""


async def until_ready(process: Process, what: Callable[[], Awaitable[T]]) -> T | None:
    """Try until it works; None when the process was told to stop first. Only NotReady is waited out."""
    tries = 0
    while not process.stopping.is_set():
        try:
            return await what()
        except NotReady as error:
            process.health.not_ready(str(error))
            if tries % TELL_EVERY == 0:
                process.log.warning("waiting", reason=str(error))
        tries += 1
        await asyncio.wait({stopping := asyncio.ensure_future(process.stopping.wait())}, timeout=RETRY_S)
        stopping.cancel()
    return None
