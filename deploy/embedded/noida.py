"""noida-db, a small broker from pip: the last resort of a machine with nothing but Python. No claim rests on it."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from deploy.embedded import process
from deploy.embedded.client import cluster_answers
from deploy.embedded.context import Context, child_environment
from deploy.embedded.environment import PipEnvironment
from deploy.embedded.ports import HOST, pick_ports
from deploy.embedded.process import Child
from deploy.embedded.progress import Report

REQUIREMENTS = Path(__file__).parents[1] / "noida" / "requirements.txt"
ADVICE = "Install Java 17 and Maven (Debian: apt install openjdk-17-jre-headless maven) to get Apache Kafka instead."


class Noida:
    """Its environment and its start."""

    def __init__(self, cache_dir: Path) -> None:
        self._environment = PipEnvironment("the embedded broker", cache_dir / "noida", REQUIREMENTS)

    @property
    def version(self) -> str:
        """The version installed."""
        found = metadata.distributions(name="noida-db", path=[str(self._environment.site)])
        return next((entry.version for entry in found), "unknown")

    @property
    def program(self) -> Path:
        """Its binary: started itself, without the Python script around it, so that the child is the broker."""
        return self._environment.site / "noida_db" / "noida-db"

    def prepare(self, report: Report) -> bool:
        """Install it unless it is there."""

        def finish() -> list[Path]:
            self.program.chmod(0o755)
            return [self.program]

        return self._environment.create(report, finish)

    def start(self, context: Context, port: int) -> tuple[Child, str]:
        """Start and wait until it serves. The process and its `host:port`."""
        (port,) = pick_ports(["the broker"], [port])
        data = context.run_dir / "noida"
        data.mkdir(parents=True, exist_ok=True)
        command = [str(self.program), "start", "--only", "kafka", "--kafka-port", str(port)]
        child = context.start(
            "noida-db", [*command, "--host", HOST, "--data-dir", str(data)], child_environment(), data
        )
        bootstrap = f"{HOST}:{port}"
        try:
            process.wait_ready(child, [port], lambda: cluster_answers(bootstrap), context.deadline, ADVICE)
        except BaseException:
            process.stop(child)
            raise
        return child, bootstrap
