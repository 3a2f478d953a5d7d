"""The edge of a worker process: exit statuses, the one drain, and the HTTP port."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
import structlog

from stream.errors import Fatal, SendFailed
from stream.process import Exit, Process, run_worker
from stream.settings import KafkaSettings, Settings, WorkerSettings

CUT_OFF_S = 0.3


@pytest.fixture(autouse=True)
def _logs() -> Iterator[None]:
    """Give the logging back as it was: the process edge takes it over."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def settings(folder: Path) -> Settings:
    """A quick drain and a port file."""
    return Settings(kafka=KafkaSettings(drain_timeout_s=CUT_OFF_S), worker=WorkerSettings(port_file=folder / "port"))


async def clean(process: Process) -> None:
    process.health.ready()


async def fatal(process: Process) -> None:
    raise Fatal("the source is gone; run `this`")


async def group(process: Process) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(broken(process))
        tasks.create_task(unsent(process))


async def unsent(process: Process) -> None:
    raise SendFailed("t: not acknowledged")


async def broken(process: Process) -> None:
    raise ValueError("a bug")


async def drains(process: Process) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    await process.stopping.wait()
    assert 0 < process.deadline.left <= CUT_OFF_S
    assert not process.health.is_ready


async def hangs(process: Process) -> None:
    os.kill(os.getpid(), signal.SIGINT)
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("main", "status", "says"),
    [
        (clean, Exit.CLEAN, '"stopped"'),
        (fatal, Exit.FATAL, "the source is gone; run `this`"),
        (group, Exit.FATAL, "t: not acknowledged"),
        (broken, Exit.UNEXPECTED, "ValueError: a bug"),
        (drains, Exit.CLEAN, '"SIGTERM"'),
        (hangs, Exit.CUT_OFF, '"cut off"'),
    ],
)
def test_the_exit_status_says_how_it_ended(
    main: object, status: Exit, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_worker("test", settings(tmp_path), main) == status  # type: ignore[arg-type]
    lines = capsys.readouterr().err.splitlines()
    assert all(isinstance(json.loads(line), dict) for line in lines), "every line of the log is JSON"
    assert says in "\n".join(lines)


def test_the_port_tells_ready_from_alive(tmp_path: Path) -> None:
    seen: dict[str, tuple[int, dict[str, object]]] = {}
    metrics = []

    async def main(process: Process) -> None:
        port = int((tmp_path / "port").read_text())
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:

            async def look(name: str, path: str) -> None:
                async with session.get(path) as response:
                    seen[name] = (response.status, await response.json())

            process.health.not_ready("recovering")
            await look("recovering", "/readyz")
            await look("alive", "/healthz")
            process.health.ready()
            await look("ready", "/readyz")
            async with session.get("/metrics") as response:
                metrics.append(await response.text())
            process.health.fail("stuck")
            await look("failed", "/healthz")

    assert run_worker("test", settings(tmp_path), main) == Exit.CLEAN
    assert seen == {
        "recovering": (503, {"ready": False, "reason": "recovering"}),
        "alive": (200, {"alive": True, "reason": ""}),
        "ready": (200, {"ready": True, "reason": ""}),
        "failed": (503, {"alive": False, "reason": "stuck"}),
    }
    assert "shangxin_ready 1.0" in metrics[0]
