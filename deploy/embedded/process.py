"""Child processes: started in a session of their own, watched until ready, ended with a bound; only our own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
from msgspec import Struct

from deploy.embedded.errors import StackError
from deploy.embedded.excerpt import excerpt
from deploy.embedded.identity import ProcessId, identify
from inference.deadline import Deadline

# Every process of a stack carries it, children of children as well: the proof that a process is ours to end.
MARK = "SHANGXIN_STACK_RUN"
# A broker answers 3 s after its start: a poll each 50 ms adds 1 % to that and costs nothing.
POLL_S = 0.05
# Apache Kafka writes its checkpoints in about 1 s when told to end; Triton waits for calls under way.
STOP_GRACE_S = 15.0
# After SIGKILL only the kernel has anything left to do.
KILL_GRACE_S = 5.0
EXEC_CHILD = Path(__file__).with_name("exec_child.py")

# The kernel ties a child's life to the thread that started it, so all are started by one that lives as long as
# this process does.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawn")


class Child(Struct, frozen=True, kw_only=True):
    """A started process as the state file keeps it. mark: value of MARK in its environment."""

    name: str
    process: ProcessId
    mark: str
    log: str

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.alive

    def excerpt(self) -> str:
        """What of its log explains a failure, indented."""
        return excerpt(Path(self.log))


def start(
    name: str, command: Sequence[str], *, log: Path, mark: str, env: Mapping[str, str], detach: bool, cwd: Path
) -> Child:
    """Start a process in its own session, its output in `log` (the previous log is kept as `.1`).

    Unless `detach`, it ends when this process does, however that comes about.
    Raises StackError when the program cannot be run.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        log.replace(log.with_name(log.name + ".1"))
    if not detach and sys.platform == "linux":
        command = [sys.executable, "-I", "-S", str(EXEC_CHILD), str(os.getpid()), *command]
    return _spawner.submit(_spawn, name, list(command), log, mark, {**env, MARK: mark}, cwd).result()


def _spawn(name: str, command: list[str], log: Path, mark: str, env: dict[str, str], cwd: Path) -> Child:
    try:
        with log.open("wb") as out:
            popen = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                env=env, cwd=cwd, start_new_session=True,
            )  # fmt: skip
    except OSError as error:
        raise StackError(f"{name} cannot be started: {command[0]}: {error.strerror}") from error
    _started[popen.pid] = popen
    process = identify(popen.pid)
    if process is None:
        raise StackError(f"{name} ended at once with status {popen.wait()}; {log}:\n{excerpt(log)}")
    return Child(name=name, process=process, mark=mark, log=str(log))


# Kept so that children of this process are reaped and their exit status is known.
_started: dict[int, subprocess.Popen[bytes]] = {}


def exit_status(child: Child) -> int | None:
    """Exit status of a child that this process started and that has ended; negative: the signal. Else None."""
    popen = _started.get(child.process.pid)
    if popen is None or child.alive:
        return None
    # A process whose first thread has ended is a zombie already; its status comes with the end of its last thread.
    with contextlib.suppress(subprocess.TimeoutExpired):
        return popen.wait(KILL_GRACE_S)
    return None


def wait_ready(
    child: Child, ports: Collection[int], probe: Callable[[], bool], deadline: Deadline, advice: str
) -> None:
    """Poll until the child itself listens on `ports` and `probe` says yes.

    The probe alone would not do: whoever took a port meanwhile answers it just as well.
    Raises StackError with what its log says when it ends or the time is up.
    """
    while not (listens(child, ports) and probe()):
        if not child.alive:
            raise _failed(child, f"ended at start (status {exit_status(child)})", advice)
        if deadline.passed:
            raise _failed(child, "was not ready in time", advice)
        time.sleep(POLL_S)


def listens(child: Child, ports: Collection[int]) -> bool:
    """Whether the child, and not another process, has all these TCP ports open."""
    if not child.alive:
        return False
    try:
        found = psutil.Process(child.process.pid).net_connections("tcp")
    except psutil.Error:
        return False
    return {entry.laddr.port for entry in found if entry.status == psutil.CONN_LISTEN}.issuperset(ports)


def _failed(child: Child, what: str, advice: str) -> StackError:
    return StackError(f"{child.name} {what}. {advice}\n{child.log}:\n{child.excerpt()}")


def stop(child: Child, grace_s: float = STOP_GRACE_S) -> bool:
    """End the child and what it started: SIGTERM, then SIGKILL after `grace_s`. Whether SIGKILL was needed.

    A process that merely has the child's number is left alone. Raises StackError when it outlives SIGKILL.
    """
    if child.alive:
        _signal(child.process.pid, signal.SIGTERM)
    if _gone(child, Deadline(grace_s)):
        return False
    for pid in _members(child):
        _signal(pid, signal.SIGKILL)
    if not _gone(child, Deadline(KILL_GRACE_S)):
        raise StackError(f"{child.name} (pid {child.process.pid}) outlives SIGKILL; look at it with ps")
    return True


def _gone(child: Child, deadline: Deadline) -> bool:
    while _members(child):
        exit_status(child)
        if deadline.passed:
            return False
        time.sleep(POLL_S)
    exit_status(child)
    _started.pop(child.process.pid, None)
    return True


def _members(child: Child) -> list[int]:
    """The child, and the processes of its session that carry its mark."""
    found = [child.process.pid] if child.alive else []
    for process in psutil.process_iter():
        if process.pid == child.process.pid:
            continue
        with contextlib.suppress(psutil.Error, OSError):
            in_session = os.getsid(process.pid) == child.process.pid
            if not in_session or process.status() == psutil.STATUS_ZOMBIE:
                continue
            # One that is just ending has given back its memory, environment included, and is not gone yet.
            environment = process.environ()
            if not environment or environment.get(MARK) == child.mark:
                found.append(process.pid)
    return found


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
