"""Runs a stage's application inside the process edge: recovery, readiness, progress, drain, crash."""

from __future__ import annotations

import asyncio
import contextlib

from stream.batchpath.path import BatchPath
from stream.batchpath.seams import BatchApp, BatchConsumer
from stream.errors import Fatal
from stream.kafka.progress import ProgressWatch
from stream.process import Process

OBSERVE_S = 0.25
"""How often gauges and watches look; a quarter of a heartbeat."""

CLOSE_S = 3.0
"""To leave the threads and sockets in order after a crash; the end of the process does not depend on it."""
_RECOVERY_SCALE = 1 << 40
"""More than any changelog holds: a new assignment counts as progress whatever remains of it."""


class Shortfall(Fatal):
    """The application ended and did not say why."""


async def serve(process: Process, app: BatchApp, path: BatchPath) -> None:
    """Run until told to stop or something fails. Raises what failed; nothing that failed leaves a live process."""
    starting = asyncio.ensure_future(_start(app))
    watching = asyncio.ensure_future(_watch(process, app, path))
    ended = asyncio.ensure_future(app.wait())
    stopping = asyncio.ensure_future(process.stopping.wait())
    try:
        await asyncio.wait({watching, ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
        failure = _failure(app, path, watching, starting)
        if failure is None and process.stopping.is_set():
            await _drain(process, app)
            return
        raise failure or Shortfall("the Faust application stopped by itself")
    finally:
        for task in (watching, ended, stopping):
            task.cancel()
        await _close(process, app, starting)


async def _start(app: BatchApp) -> None:
    """Returns once recovery is through; a failure on the way is a crash like any other."""
    try:
        await app.start()
    except Exception as error:
        await app.crash(error)
        raise


def _failure(
    app: BatchApp, path: BatchPath, watching: asyncio.Future[None], starting: asyncio.Future[None]
) -> BaseException | None:
    """What ended the work: a failed send says more than the crash that followed from it."""
    if path.sends.failed is not None:
        return path.sends.failed
    for task in (watching, starting):
        if task.done() and not task.cancelled() and task.exception() is not None:
            return task.exception()
    return app.crash_reason


async def _drain(process: Process, app: BatchApp) -> None:
    consumer = app.consumer
    if isinstance(consumer, BatchConsumer) and consumer.started:
        await consumer.drain(process.deadline)


async def _close(process: Process, app: BatchApp, starting: asyncio.Future[None]) -> None:
    """Stop the services, within the drain deadline: what they cannot close the end of the process does."""
    with contextlib.suppress(TimeoutError, asyncio.CancelledError):
        await asyncio.wait_for(app.stop(), max(CLOSE_S, process.deadline.left))
    starting.cancel()
    await asyncio.wait({starting}, timeout=0.5)


async def _watch(process: Process, app: BatchApp, path: BatchPath) -> None:
    """Readiness, recovery, progress and place in the group; raises Stuck, Fenced."""
    limit = process.settings.worker.stuck_after_s
    recovery, progress = ProgressWatch(limit), ProgressWatch(limit)
    meters = process.meters
    while True:
        remaining = app.remaining()
        meters.gauge("shangxin_recovery_remaining_records").set(remaining)
        age = path.fence.age
        meters.gauge("shangxin_heartbeat_age_seconds").set(age if age < float("inf") else -1)
        if process.stopping.is_set():
            return
        if path.fence.displaced:
            path.fence.check()
        if path.announced:
            process.health.ready()
            lag = _lag(app)
            meters.gauge("shangxin_lag_records", topic=sorted(path.topics)[0]).set(lag)
            progress.observe(lag, path.progress)
        else:
            process.health.not_ready(f"recovering, {remaining} changelog records left" if remaining else "joining")
            # Joining has no count to watch: it is bounded by the same time as a recovery that does not move.
            recovery.observe(1, _RECOVERY_SCALE * path.assignments - remaining)
        await asyncio.sleep(OBSERVE_S)


def _lag(app: BatchApp) -> int:
    consumer = app.consumer
    assert isinstance(consumer, BatchConsumer)
    return consumer.lag()
