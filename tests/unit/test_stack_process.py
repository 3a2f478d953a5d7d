"""Child processes of the stack: only our own are ended, all of them, also when we are killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from deploy.embedded import process
from deploy.embedded.errors import StackError
from deploy.embedded.identity import ProcessId, identify
from deploy.embedded.process import Child
from inference.deadline import Deadline

ROOT = Path(__file__).parents[2]
SHELL = "/bin/bash"


def until(say: object, seconds: float = 10.0) -> None:
    """Poll a callable until it is true; fails the test when it does not become so."""
    deadline = Deadline(seconds)
    while not say():  # type: ignore[operator]
        assert not deadline.passed, "it did not become so in time"
        time.sleep(0.02)


def start(tmp_path: Path, script: str, mark: str = "test-mark", name: str = "child") -> Child:
    """A child that runs a shell script."""
    log = tmp_path / f"{name}.log"
    env = {"PATH": os.environ["PATH"]}
    return process.start(name, [SHELL, "-c", script], log=log, mark=mark, env=env, detach=False, cwd=tmp_path)


# The first thread of a process ends, another one goes on for half a second and gives the status.
DYING = """
import ctypes, os, threading, time
threading.Thread(target=lambda: (time.sleep(0.5), os._exit(7))).start()
ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[os.uname().machine], 0)
"""


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is not the stack's."""
    with subprocess.Popen(["sleep", "120"], start_new_session=True) as popen:
        yield popen
        popen.kill()


def test_a_child_ends_when_told_to(tmp_path: Path) -> None:
    child = start(tmp_path, "exec sleep 120")
    assert child.alive
    assert process.stop(child) is False
    assert not child.alive


@pytest.mark.skipif(sys.platform != "linux", reason="a thread is ended by a system call of Linux")
def test_the_status_is_known_also_while_the_last_threads_end(tmp_path: Path) -> None:
    log = tmp_path / "dying.log"
    command, env = [sys.executable, "-c", DYING], {"PATH": os.environ["PATH"]}
    child = process.start("dying", command, log=log, mark="m", env=env, detach=False, cwd=tmp_path)
    until(lambda: not child.alive)
    assert process.exit_status(child) == 7
    process.stop(child)


def test_one_that_ignores_the_request_is_killed_after_the_grace(tmp_path: Path) -> None:
    child = start(tmp_path, "trap '' TERM; echo set; while true; do sleep 0.1; done")
    until(lambda: "set" in Path(child.log).read_text())
    assert process.stop(child, grace_s=0.3) is True
    assert not child.alive


def test_what_a_dead_child_left_in_its_session_is_ended(tmp_path: Path) -> None:
    child = start(tmp_path, "sleep 121 & echo $!; wait")
    until(lambda: Path(child.log).read_text().strip())
    left = identify(int(Path(child.log).read_text()))
    assert left is not None
    os.kill(child.process.pid, signal.SIGKILL)
    until(lambda: not child.alive)
    assert left.alive
    process.stop(child, grace_s=0.2)
    assert not left.alive


def test_a_recycled_number_is_left_alone(bystander: subprocess.Popen[bytes]) -> None:
    now = identify(bystander.pid)
    assert now is not None
    before = msgspec.structs.replace(now, started=now.started - 1)
    child = Child(name="gone", process=before, mark="test-mark", log="/nonexistent")
    assert not child.alive
    process.stop(child, grace_s=0.2)
    assert bystander.poll() is None


def test_another_boots_process_is_left_alone(bystander: subprocess.Popen[bytes]) -> None:
    now = identify(bystander.pid)
    assert now is not None
    child = Child(name="gone", process=ProcessId(now.pid, now.started, "another boot"), mark="m", log="/nonexistent")
    process.stop(child, grace_s=0.2)
    assert bystander.poll() is None


def test_ending_one_child_spares_the_next(tmp_path: Path) -> None:
    first, second = start(tmp_path, "exec sleep 120", name="a"), start(tmp_path, "exec sleep 120", name="b")
    process.stop(first)
    assert second.alive
    process.stop(second)


def test_a_failed_start_shows_the_log(tmp_path: Path) -> None:
    child = start(tmp_path, "echo 'cannot read the flux'; exit 3")
    with pytest.raises(StackError, match=r"status 3.*look at the capacitor[^$]*cannot read the flux"):
        process.wait_ready(child, [], lambda: False, Deadline(10), "look at the capacitor")


def test_a_start_that_takes_too_long_is_said_to(tmp_path: Path) -> None:
    child = start(tmp_path, "echo still warming; exec sleep 120")
    until(lambda: "warming" in Path(child.log).read_text())
    with pytest.raises(StackError, match=r"not ready in time[^$]*still warming"):
        process.wait_ready(child, [], lambda: False, Deadline(0.1), "wait longer")
    process.stop(child)


def test_another_process_on_the_port_is_not_taken_for_the_child(tmp_path: Path) -> None:
    child = start(tmp_path, "exec sleep 120")
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(StackError, match="not ready in time"):
        process.wait_ready(child, [other.getsockname()[1]], lambda: True, Deadline(0.2), "")
    process.stop(child)


def test_the_previous_log_is_kept(tmp_path: Path) -> None:
    for text in ("first", "second"):
        child = start(tmp_path, f"echo {text}")
        until(lambda child=child: not child.alive)
    assert (tmp_path / "child.log").read_text() == "second\n"
    assert (tmp_path / "child.log.1").read_text() == "first\n"


PARENT = """
import sys, threading, time
from pathlib import Path
from deploy.embedded import process
folder, detach = Path(sys.argv[1]), sys.argv[2] == "detach"
def begin():
    child = process.start("c", ["/bin/sleep", "120"], log=folder / "c.log", mark="m", env={}, detach=detach, cwd=folder)
    print(child.process.pid, flush=True)
# From a thread that ends: the child must outlive the thread and not the process.
thread = threading.Thread(target=begin)
thread.start(); thread.join()
print("the thread has ended", flush=True)
time.sleep(120)
"""


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")
def test_children_die_with_a_killed_parent_unless_detached(tmp_path: Path, detach: bool) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path), "detach" if detach else "attach"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}) as parent:
        assert parent.stdout is not None
        child = identify(int(parent.stdout.readline()))
        assert child is not None
        assert parent.stdout.readline()
        assert child.alive
        parent.kill()
    # The kernel signals the children of a process before anybody can see that it is gone.
    if not detach:
        until(lambda: not child.alive)
        return
    assert child.alive
    os.kill(child.pid, signal.SIGKILL)
