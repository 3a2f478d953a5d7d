"""The edge of every worker process: loop, signals, logs, the HTTP port, and the exit status.

Exit status: 0 drained and closed; 1 fatal, with one line that says why and what repairs it; 3 unexpected,
with a traceback; 4 the drain did not end by its deadline and was cut off (nothing is lost: what was
unfinished is read again).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from enum import IntEnum

import structlog
import uvloop

from inference.deadline import Deadline
from stream.errors import StreamError
from stream.faults import Faults
from stream.health import Health, HealthServer
from stream.kafka.looplag import watch_loop
from stream.metrics import Meters
from stream.settings import Settings

CUT_OFF_MARGIN_S = 2.0
"""After the drain's deadline: time to close sockets before the process is cut off."""


class Exit(IntEnum):
    """Exit statuses of a worker."""

    CLEAN = 0
    FATAL = 1
    UNEXPECTED = 3
    CUT_OFF = 4


class Process:
    """What a worker's main function is given."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self.settings = settings
        self.meters = Meters()
        self.health = Health(self.meters)
        self.faults = Faults(settings.worker.fault)
        self.stopping = asyncio.Event()
        """Set by SIGTERM and SIGINT: take no new work, drain within `deadline`, return."""
        self.log = structlog.get_logger(worker=name)
        self._deadline: Deadline | None = None

    def stop(self) -> None:
        """Begin the one drain; later calls change nothing."""
        if not self.stopping.is_set():
            self._deadline = Deadline(self.settings.kafka.drain_timeout_s)
            self.health.not_ready("draining")
            self.stopping.set()

    @property
    def deadline(self) -> Deadline:
        """Of the drain; one for all its steps."""
        if self._deadline is None:
            self._deadline = Deadline(self.settings.kafka.drain_timeout_s)
        return self._deadline


Main = Callable[[Process], Awaitable[None]]


def run_worker(name: str, settings: Settings, main: Main) -> int:
    """Run `main` until it returns, fails or is told to stop; returns the exit status."""
    configure_logs(settings.worker.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return int(runner.run(_run(name, settings, main)))


def configure_logs(level: str) -> None:
    """JSON lines on stderr, for structlog and for the libraries' logging alike."""
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(number, logging.INFO), force=True)
    # aiokafka tells every rebalance at info and every retry at warning; its debug is per record.
    logging.getLogger("aiokafka").setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


async def _run(name: str, settings: Settings, main: Main) -> Exit:
    process = Process(name, settings)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _on_signal, process, number)
    server = HealthServer(process.health, process.meters, settings.worker)
    port = await server.start()
    process.log.info("started", http=f"http://{settings.worker.http_host}:{port}", version=_version())
    lag = asyncio.create_task(watch_loop(process.meters))
    try:
        return await _supervise(process, main)
    finally:
        lag.cancel()
        await server.stop()


async def _supervise(process: Process, main: Main) -> Exit:
    task = asyncio.ensure_future(main(process))
    stopping = asyncio.create_task(process.stopping.wait())
    await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        await asyncio.wait({task}, timeout=process.deadline.left + CUT_OFF_MARGIN_S)
    stopping.cancel()
    if not task.done():
        process.log.error("cut off", reason="the drain did not end by its deadline")
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, StreamError):
            await asyncio.wait_for(task, CUT_OFF_MARGIN_S)
        return Exit.CUT_OFF
    return _outcome(process, task)


def _outcome(process: Process, task: asyncio.Future[None]) -> Exit:
    error = None if task.cancelled() else task.exception()
    if error is None:
        process.log.info("stopped")
        return Exit.CLEAN
    if isinstance(error, BaseExceptionGroup):
        error = _first(error)
    if isinstance(error, StreamError):
        process.health.fail(str(error))
        process.log.error("fatal", error=type(error).__name__, reason=str(error))
        return Exit.FATAL
    process.health.fail(repr(error))
    process.log.error("unexpected", exc_info=error)
    return Exit.UNEXPECTED


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that says most: a worker's own before any other, the group's first otherwise."""
    own = group.subgroup(StreamError)
    found: BaseException = own if own is not None else group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


def _on_signal(process: Process, number: signal.Signals) -> None:
    process.log.info("signal", signal=number.name, drain_s=process.settings.kafka.drain_timeout_s)
    process.stop()


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("shangxin")
    except PackageNotFoundError:
        return "source"
