"""Which broker this machine can give: the first of external, home, maven, docker, embedded; and why not the others."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from deploy.embedded import container, kafka, process
from deploy.embedded.client import cluster_answers
from deploy.embedded.context import Context
from deploy.embedded.errors import StackError, Unavailable
from deploy.embedded.jars import Jars
from deploy.embedded.noida import Noida
from deploy.embedded.process import Child
from deploy.embedded.progress import Report
from stream.settings import Settings

AUTO = "auto"


class Broker(Struct, frozen=True, kw_only=True):
    """A broker that serves.

    kind: as in the settings. bootstrap: `host:port,...`. child or container: what we started, both absent for
    an external one. passed_over: a line for each earlier choice that this machine did not offer.
    """

    kind: str
    version: str
    bootstrap: str
    child: Child | None = None
    container: str = ""
    passed_over: list[str] = []

    @property
    def alive(self) -> bool:
        """Whether what we started still runs; for an external one, whether it answers."""
        if self.child is not None:
            return self.child.alive
        return container.container_alive(self.container) if self.container else cluster_answers(self.bootstrap)

    def stop(self) -> None:
        """End what we started, nothing else."""
        if self.child is not None:
            process.stop(self.child)
        if self.container:
            container.stop_container(self.container)


class Source(Protocol):
    """One way to get a broker."""

    kind: str

    def problem(self) -> str | None:
        """Why it cannot be had here, found out quickly; None when it can."""

    def prepare(self, report: Report) -> None:
        """Fetch what it needs. Raises Unavailable, with the reason, where it turns out not to be had."""

    def start(self, context: Context) -> Broker:
        """Start it and wait until it serves."""


def choose(settings: Settings, report: Report) -> tuple[Source, list[str]]:
    """The first source that can be had, prepared, and a line for each one passed over.

    Raises StackError when the one asked for, or every one, is not to be had.
    """
    wanted = settings.stack.broker
    sources = [source for source in _sources(settings) if wanted in (AUTO, source.kind)]
    if not sources:
        raise StackError(f"stack.broker: unknown choice {wanted!r}; one of {', '.join(KINDS)}")
    passed_over: list[str] = []
    for source in sources:
        reason = source.problem() or _prepare(source, report)
        if reason is None:
            return source, passed_over
        passed_over.append(f"{source.kind}: {reason}")
    raise StackError("no broker can be had here:\n" + "\n".join(f"  {line}" for line in passed_over))


def _prepare(source: Source, report: Report) -> str | None:
    try:
        source.prepare(report)
    except Unavailable as error:
        return str(error)
    return None


class _External:
    kind = "external"

    def __init__(self, settings: Settings) -> None:
        self._bootstrap = settings.kafka.bootstrap_servers

    def problem(self) -> str | None:
        return None if self._bootstrap else "KAFKA_BOOTSTRAP_SERVERS is not set"

    def prepare(self, report: Report) -> None:
        """Nothing: it is someone else's."""

    def start(self, context: Context) -> Broker:
        # Never another one instead: whoever names a broker means that one.
        if not cluster_answers(self._bootstrap):
            raise StackError(f"no broker answers at KAFKA_BOOTSTRAP_SERVERS={self._bootstrap}; start it, or unset it")
        return Broker(kind=self.kind, version="unknown", bootstrap=self._bootstrap)


class _Home:
    kind = "home"

    def __init__(self, settings: Settings) -> None:
        self._home = settings.kafka.home
        self._port = settings.stack.broker_port

    def problem(self) -> str | None:
        if self._home is None:
            return "KAFKA_HOME is not set"
        if not self._server_jars():
            return f"KAFKA_HOME={self._home} has no libs/kafka_*.jar"
        return kafka.java_problem()

    def prepare(self, report: Report) -> None:
        """Nothing: it is there."""

    def start(self, context: Context) -> Broker:
        child, bootstrap = kafka.start_kafka(context, f"{self._libs()}/*", self._port)
        match = re.search(r"kafka_[\d.]+-(.+)\.jar$", self._server_jars()[0].name)
        return Broker(kind=self.kind, version=match[1] if match else "unknown", bootstrap=bootstrap, child=child)

    def _libs(self) -> Path:
        assert self._home is not None
        return self._home.absolute() / "libs"

    def _server_jars(self) -> list[Path]:
        return [
            path for path in sorted(self._libs().glob("kafka_*.jar")) if re.match(r"kafka_[\d.]+-[\d.]+", path.name)
        ]


class _Maven:
    kind = "maven"

    def __init__(self, settings: Settings) -> None:
        self._jars = Jars(settings.stack.cache_dir)
        self._port = settings.stack.broker_port

    def problem(self) -> str | None:
        if self._jars.ready:
            return kafka.java_problem()
        return kafka.java_problem() or (None if shutil.which("mvn") else "no mvn on the PATH")

    def prepare(self, report: Report) -> None:
        self._jars.fetch(report)

    def start(self, context: Context) -> Broker:
        child, bootstrap = kafka.start_kafka(context, self._jars.classpath, self._port)
        return Broker(kind=self.kind, version=self._jars.version, bootstrap=bootstrap, child=child)


class _Docker:
    kind = "docker"

    def __init__(self, settings: Settings) -> None:
        self._version = Jars(settings.stack.cache_dir).version
        self._port = settings.stack.broker_port

    def problem(self) -> str | None:
        return container.docker_problem()

    def prepare(self, report: Report) -> None:
        """Nothing: the engine pulls the image at the start."""

    def start(self, context: Context) -> Broker:
        name, bootstrap = container.start_container(context, self._version, self._port)
        return Broker(kind=self.kind, version=self._version, bootstrap=bootstrap, container=name)


class _Embedded:
    kind = "embedded"

    def __init__(self, settings: Settings) -> None:
        self._noida = Noida(settings.stack.cache_dir)
        self._port = settings.stack.broker_port

    def problem(self) -> str | None:
        return None

    def prepare(self, report: Report) -> None:
        try:
            self._noida.prepare(report)
        except StackError as error:
            raise Unavailable(str(error)) from error

    def start(self, context: Context) -> Broker:
        child, bootstrap = self._noida.start(context, self._port)
        return Broker(kind=self.kind, version=f"noida-db {self._noida.version}", bootstrap=bootstrap, child=child)


_ORDER = (_External, _Home, _Maven, _Docker, _Embedded)
KINDS = (AUTO, *(source.kind for source in _ORDER))


def _sources(settings: Settings) -> list[Source]:
    return [source(settings) for source in _ORDER]
