"""Apache Kafka as a child process: configuration, format, start, given a classpath."""

from __future__ import annotations

import base64
import re
import shutil
import string
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded import process
from deploy.embedded.client import cluster_answers
from deploy.embedded.commands import run_lines
from deploy.embedded.context import Context, child_environment
from deploy.embedded.errors import PortTaken, Unavailable
from deploy.embedded.ports import HOST, IN_USE, pick_ports
from deploy.embedded.process import Child

TEMPLATES = Path(__file__).parents[1] / "kafka"
JAVA_NEEDED = 17
# 360 to 450 MB resident with these; the rest of what Kafka's own script sets.
JVM = ("-Xms256m", "-Xmx512m", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-Djava.awt.headless=true")
# Formatting lives for a second: without the second compiler it takes 0.9 s instead of 1.4 (two cores, three runs each).
FORMAT_JVM = ("-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
FORMATTED = "formatted"
# Between picking a free port and the bind another process may take it; three times in a row is no accident.
PORT_TRIES = 3
ADVICE = "Another broker may still use the data: `shangxin stack down`, then `shangxin stack up --fresh` drops it."


@dataclass(frozen=True)
class KafkaLayout:
    """Where one broker's files are below the run directory."""

    folder: Path

    @property
    def data(self) -> Path:
        """Its logs (in the sense of topics)."""
        return self.folder / "data"

    @property
    def config(self) -> Path:
        """The filled-in server.properties."""
        return self.folder / "server.properties"


def java_problem() -> str | None:
    """Why Java cannot be used here; None when it can."""
    java = shutil.which("java")
    if java is None:
        return "no java on the PATH"
    said = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False).stderr
    match = re.search(r'version "(\d+)', said)
    if match is None:
        return f"{java} does not say its version"
    if int(match[1]) < JAVA_NEEDED:
        return f"{java} is version {match[1]}; Apache Kafka 4 needs {JAVA_NEEDED} or newer"
    return None


def start_kafka(context: Context, classpath: str, port: int) -> tuple[Child, str]:
    """Start and wait until it serves. port 0: a free one. The process and its `host:port`.

    State below run_dir/kafka is used when it is there. Raises PortTaken, StackError.
    """
    layout = KafkaLayout(context.run_dir / "kafka")
    for left in reversed(range(PORT_TRIES)):
        try:
            return _start_once(context, layout, classpath, port)
        except PortTaken:
            if port or not left:
                raise
    raise AssertionError("unreachable")


def _start_once(context: Context, layout: KafkaLayout, classpath: str, port: int) -> tuple[Child, str]:
    broker_port, controller_port = pick_ports(["the broker", "its controller"], [port, 0])
    _write_config(layout, broker_port, controller_port)
    _format(context, layout, classpath)
    child = context.start(
        "kafka",
        [*_java(*JVM), "-cp", classpath, "kafka.Kafka", str(layout.config)],
        child_environment(),
        layout.folder,
    )
    bootstrap = f"{HOST}:{broker_port}"
    try:
        process.wait_ready(child, [broker_port], lambda: cluster_answers(bootstrap), context.deadline, ADVICE)
    except BaseException as error:
        process.stop(child)
        if IN_USE in child.excerpt():
            raise PortTaken(f"Kafka: port {broker_port} or {controller_port} was taken meanwhile") from error
        raise
    return child, bootstrap


def _write_config(layout: KafkaLayout, broker_port: int, controller_port: int) -> None:
    layout.folder.mkdir(parents=True, exist_ok=True)
    template = string.Template((TEMPLATES / "server.properties").read_text())
    # Backslashes and blanks mean something in a properties file; the paths of a stranger's home may hold them.
    data_dir = str(layout.data).replace("\\", "\\\\")
    values = {"broker_port": broker_port, "controller_port": controller_port, "data_dir": data_dir}
    layout.config.write_text(template.safe_substitute(values))


def _format(context: Context, layout: KafkaLayout, classpath: str) -> None:
    done = layout.folder / FORMATTED
    if done.exists() and (layout.data / "meta.properties").exists():
        return
    # Without the marker the formatting was cut short: no broker has ever written here.
    shutil.rmtree(layout.data, ignore_errors=True)
    tool = [*_java(*FORMAT_JVM), "-cp", classpath, "kafka.tools.StorageTool", "format", "--standalone"]
    run_lines([*tool, "-t", _cluster_id(), "-c", str(layout.config)], lambda line: None, context.deadline)
    done.touch()


def _java(*options: str) -> list[str]:
    java = shutil.which("java")
    if java is None:
        raise Unavailable("no java on the PATH")
    return [java, f"-Dlog4j2.configurationFile={TEMPLATES / 'log4j2.properties'}", *options]


def _cluster_id() -> str:
    """As Kafka writes it: 16 random bytes in URL-safe base64 without padding, not beginning with a dash."""
    while True:
        name = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not name.startswith("-"):
            return name
