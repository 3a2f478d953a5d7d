"""One measured run of a worker process: start it on a loaded topic, watch its own counters, stop it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil
from msgspec import Struct
from prometheus_client.parser import text_string_to_metric_families

POLL_S = 0.1
"""Rendering the metrics costs the worker about a millisecond; at this pace that is 1 %."""
START_S = 60.0
COUNTER = "shangxin_events_total"


class Run(Struct, frozen=True):
    """records: applied between the first and the last look, and seconds between them; CPU and memory of the worker."""

    records: float
    seconds: float
    cpu_seconds: float
    rss_mb: float

    @property
    def rate(self) -> float:
        """Records a second."""
        return self.records / self.seconds


def measure(
    command: Sequence[str], env: Mapping[str, str], topic: str, count: int, folder: Path, limit_s: float
) -> Run:
    """Run `python -m stream.cli.main COMMAND` until it has applied `count` records of `topic`.

    The clock starts at the first look that finds any applied, so start-up is not part of the rate.
    """
    port_file = folder / f"{command[0]}.port"
    port_file.unlink(missing_ok=True)
    log = (folder / f"{command[0]}.log").open("ab")
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        env={**os.environ, **env, "SHANGXIN_WORKER__PORT_FILE": str(port_file)},
        stderr=log,
        stdout=log,
    )
    try:
        return _watch(process, port_file, topic, count, limit_s)
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


def _watch(process: subprocess.Popen[bytes], port_file: Path, topic: str, count: int, limit_s: float) -> Run:
    until = time.monotonic() + limit_s
    probe = psutil.Process(process.pid)
    first: tuple[float, float, float] | None = None
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"the worker ended with status {process.returncode}; its log is beside the result")
        now, done = time.perf_counter(), _applied(port_file, topic)
        cpu = sum(probe.cpu_times()[:2])
        if first is None and done:
            first = (now, done, cpu)
        if first is not None and done >= count:
            records, seconds = done - first[1], now - first[0]
            return Run(records, max(seconds, 1e-9), cpu - first[2], probe.memory_info().rss / 1e6)
        time.sleep(POLL_S)
    raise RuntimeError(f"not done within {limit_s:.0f} s; the worker's log is beside the result")


def _applied(port_file: Path, topic: str) -> float:
    if not port_file.exists():
        return 0.0
    port = port_file.read_text().strip()
    if not port:
        return 0.0
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    except OSError:
        return 0.0
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == COUNTER and sample.labels["topic"] == topic
    )
