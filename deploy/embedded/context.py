"""What every part of one stack is started with."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded import process
from deploy.embedded.process import Child
from deploy.embedded.progress import Report
from inference.deadline import Deadline

# Found in a developer's shell, these would change what a child runs.
NOT_INHERITED = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CLASSPATH", "KAFKA_OPTS", "JAVA_TOOL_OPTIONS")


@dataclass(frozen=True)
class Context:
    """run_dir: absolute. mark: this run's name, carried by its processes. detach: outlive this process.

    on_child: told of each process at once, long before it is ready, so that a start cut short leaves no orphan.
    """

    run_dir: Path
    mark: str
    detach: bool
    report: Report
    deadline: Deadline
    on_child: Callable[[Child], None]

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str], cwd: Path) -> Child:
        """Start a process of this stack, its output in run_dir/logs. Raises StackError when it cannot be run."""
        log = self.run_dir / "logs" / f"{name}.log"
        child = process.start(name, command, log=log, mark=self.mark, env=env, detach=self.detach, cwd=cwd)
        self.on_child(child)
        return child


def child_environment(**extra: str) -> dict[str, str]:
    """This process's environment for a child: without what would change it, with `extra`."""
    kept = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    return {**kept, **extra}
