"""Becomes the command given, after asking the kernel to end it when the process that started it dies.

Run as a file, `python -I -S exec_child.py PARENT_PID COMMAND...`: it imports nothing of the project, starts in
20 ms, and keeps its process id through exec. The alternative, a hook between fork and exec in the parent, is not safe
beside threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Set the parent-death signal, look whether the parent has died before that, and exec."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    # SIGKILL: a stopped or hung child ends too. The broker recovers its log at the next start, and the model
    # server's stubs end by themselves once their server is gone.
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        sys.exit("the process that started this one is gone")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
