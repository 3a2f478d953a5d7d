"""Runs a preparing command (Maven, pip) to its end, line by line, within a deadline."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy.embedded.errors import StackError
from inference.deadline import Deadline

# What an error shows of a failed command; Maven repeats its reason within the last lines.
KEPT_LINES = 15


def run_lines(
    command: Sequence[str], on_line: Callable[[str], None], deadline: Deadline, cwd: Path | None = None
) -> None:
    """Run to the end, hand each line of its output to `on_line`.

    Raises StackError with its last lines when it fails, cannot be run, or the time is up (it is ended then).
    """
    kept: deque[str] = deque(maxlen=KEPT_LINES)
    try:
        process = subprocess.Popen(
            list(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", cwd=cwd, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise StackError(f"{command[0]} cannot be run: {error.strerror}") from error
    watch = threading.Timer(deadline.left, _end, [process])
    watch.daemon = True
    watch.start()
    try:
        assert process.stdout is not None
        for line in process.stdout:
            kept.append(line.rstrip())
            on_line(line.rstrip())
        status = process.wait()
    finally:
        watch.cancel()
        _end(process)
    if status != 0:
        why = "was ended: out of time" if deadline.passed else f"failed with status {status}"
        raise StackError(f"{' '.join(command[:4])} ... {why}:\n" + "\n".join(f"  {line}" for line in kept))


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
