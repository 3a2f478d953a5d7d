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


class Stopped(Exception):
    """The process was told to stop while it waited."""


async def until_ready(process: Process, what: Callable[[], Awaitable[T]]) -> T:
    """Try until it works; only NotReady is waited out. Raises Stopped when the process is told to stop first."""
    tries = 0
    while not process.stopping.is_set():
        try:
            return await what()
        except NotReady as error:
            process.health.not_ready(str(error))
            if tries % TELL_EVERY == 0:
                process.log.warning("waiting", reason=str(error))
        tries += 1
        try:
            async with asyncio.timeout(RETRY_S):
                await process.stopping.wait()
        except TimeoutError:
            continue
    raise Stopped
