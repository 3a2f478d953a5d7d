"""`shangxin demo` as a person runs it: through to the end without a terminal, with a kill, and interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from deploy.embedded.context import child_environment

pytestmark = [pytest.mark.broker, pytest.mark.triton, pytest.mark.chaos, pytest.mark.timeout(290)]

START_S = 120.0
THROUGH_S = 150.0
GONE_S = 10.0
"""Stopping may take the drain's 4 s, the model server's 10 s at most; what is measured here begins after the exit."""


class Demo:
    """A demo that was started, with its output in a file."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.log = folder / "demo.log"
        env = child_environment(SHANGXIN_STACK__RUN_DIR=str(folder / "run"), PYTHONPATH=os.pathsep.join(sys.path))
        command = [sys.executable, "-m", "stream.cli.main", "demo", "--products", "10", "--events", "400", *options]
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                command,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=env,
                # A shell's background job ignores SIGINT, and so would its children.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )

    def text(self) -> str:
        return self.log.read_text()

    def wait_for(self, text: str) -> None:
        until(lambda: text in self.text() or self.process.poll() is not None, START_S, self.text)
        assert text in self.text(), self.text()

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> int:
        return self.process.wait(THROUGH_S)


def until(reached: Callable[[], bool], seconds: float, tell: Callable[[], str]) -> None:
    """Poll until `reached`; fails with what `tell` says."""
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, tell()
        time.sleep(0.1)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    started: list[Demo] = []

    def begin(*options: str) -> Demo:
        started.append(Demo(tmp_path, *options))
        return started[-1]

    yield begin
    for demo in started:
        if demo.process.poll() is None:
            demo.process.kill()
            demo.process.wait()


def worker(demo: Demo, name: str) -> psutil.Process:
    return next(child for child in demo.children() if child.cmdline()[-2:] == ["stream.cli.main", name])


def all_gone(processes: list[psutil.Process]) -> bool:
    return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)


def test_it_ends_by_itself_with_everything_as_expected_also_when_a_worker_is_killed(
    start: Callable[..., Demo], tmp_path: Path
) -> None:
    file = tmp_path / "summary.json"
    demo = start("--speed", "80000", "--summary", str(file))
    demo.wait_for("  sent ")
    worker(demo, "enrich").kill()
    children = demo.children()
    assert demo.end() == 0, demo.text()
    assert "worker enrich was ended by signal 9; started again" in demo.text()
    summary = json.loads(file.read_text())
    assert summary["lag"] == 0
    assert set(summary["seconds"]) == {"setup", "first_enriched", "replay"}
    assert summary["records_out"]["listing-enriched"] >= 210
    for topic in ("user-profile-updated", "item-features", "user-features"):
        assert summary["records_out"][topic] > 0
    assert summary["dead_letters"]["not-json"] >= 4
    assert {"enrichment", "profiles", "item_features"} <= set(summary["latency_ms"])
    assert summary["model_version"]
    assert "\x1b" not in demo.text()
    until(lambda: all_gone(children), GONE_S, lambda: str(children))


def test_ctrl_c_stops_everything_that_it_started_and_nothing_else(start: Callable[..., Demo]) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    try:
        demo = start("--speed", "5000")
        demo.wait_for("  sent ")
        children = demo.children()
        assert len(children) >= 5  # broker, model server, three workers
        demo.process.send_signal(signal.SIGINT)
        assert demo.end() == 130, demo.text()
        until(lambda: all_gone(children), GONE_S, lambda: str(children))
        assert "stopped, with everything that was started" in demo.text()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
