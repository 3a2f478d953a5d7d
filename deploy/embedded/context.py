"""What every part of one stack is started with."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded.progress import Report
from inference.deadline import Deadline

# Found in a developer's shell, these would change what a child runs.
NOT_INHERITED = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CLASSPATH", "KAFKA_OPTS", "JAVA_TOOL_OPTIONS")


@dataclass(frozen=True)
class Context:
    """run_dir: absolute. mark: this run's name, carried by its processes. detach: outlive this process."""

    run_dir: Path
    mark: str
    detach: bool
    report: Report
    deadline: Deadline

    def log(self, name: str) -> Path:
        """Where a part writes its log."""
        return self.run_dir / "logs" / f"{name}.log"


def child_environment(**extra: str) -> dict[str, str]:
    """This process's environment for a child: without what would change it, with `extra`."""
    kept = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    return {**kept, **extra}
