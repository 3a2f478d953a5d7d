"""Which process a number means: pid and start, so that a recycled pid is never taken for our child."""

from __future__ import annotations

from pathlib import Path

import psutil
from msgspec import Struct

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class ProcessId(Struct, frozen=True):
    """A process of this machine. started: kernel ticks since boot (Linux) or seconds since 1970; boot: which boot."""

    pid: int
    started: float
    boot: str

    @property
    def alive(self) -> bool:
        """Whether exactly this process still runs; a zombie does not."""
        return identify(self.pid) == self


def identify(pid: int) -> ProcessId | None:
    """The process that has this number now; None when there is none or it is a zombie."""
    if not BOOT_ID.exists():
        return _identify_elsewhere(pid)
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # Fields after the command name, which is in brackets and may hold anything: 3 is the state, 22 the start time.
    fields = stat[stat.rindex(")") + 2 :].split()
    if fields[0] in "ZX":
        return None
    return ProcessId(pid, float(fields[19]), BOOT_ID.read_text().strip())


def _identify_elsewhere(pid: int) -> ProcessId | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else ProcessId(pid, process.create_time(), "")
    except psutil.NoSuchProcess:
        return None
