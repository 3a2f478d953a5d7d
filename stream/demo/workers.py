"""The three workers as child processes: started, waited for, started again when killed, ended."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
from msgspec import Struct

from deploy.embedded import process
from deploy.embedded.context import child_environment
from deploy.embedded.process import Child
from stream.errors import Fatal
from stream.settings import Settings

COMMANDS = ("enrich", "profiles", "features")
STOP_MARGIN_S = 6.0
"""On top of the drain's deadline: closing clients, and the interpreter's end, beside two busy cores."""
MAX_RESTARTS = 5
"""Of one worker. A person who kills workers to see what happens is content after five."""
PROBE_TIMEOUT_S = 1.0


class Killed(Struct, frozen=True):
    """A worker that was ended by a signal and has been started again."""

    name: str
    signal: int


class Workers:
    """Starts `shangxin enrich`, `profiles` and `features` with the addresses of `settings`.

    restarts: of killed workers, all together. `once`: environment of a worker's next start only, by its name.
    """

    def __init__(
        self, settings: Settings, run_dir: Path, mark: str, *, detach: bool, restarts: int = MAX_RESTARTS
    ) -> None:
        self._settings = settings
        self._run_dir = run_dir
        self._mark = mark
        self._detach = detach
        self._restarts_left = restarts
        self.children: dict[str, Child] = {}
        self.once: dict[str, dict[str, str]] = {}

    def start(self) -> None:
        """Start all three. Raises StackError."""
        for name in COMMANDS:
            self._start(name)

    def waiting(self) -> list[str]:
        """Names of those that are not ready yet. Raises Fatal, with its log, when one has ended."""
        self.watch()
        return [name for name in self.children if not self._ready(name)]

    def watch(self) -> list[Killed]:
        """Start those again that a signal ended. Raises Fatal, with its log, for one that ended by itself."""
        killed = []
        for name, child in list(self.children.items()):
            if child.alive:
                continue
            status = process.exit_status(child)
            if status is None or status >= 0 or self._restarts_left == 0:
                raise Fatal(_obituary(name, child, status))
            self._restarts_left -= 1
            killed.append(Killed(name, -status))
            self._start(name)
        return killed

    def again(self, name: str) -> None:
        """Start one again that has ended by itself, which `watch` takes for a failure."""
        self._start(name)

    def unready(self, waiting: list[str], seconds: float) -> str:
        """What to say of workers that did not get ready in time: the last lines of their logs."""
        logs = [f"{self.children[name].log}:\n{self.children[name].excerpt()}" for name in waiting]
        return f"not ready after {seconds:g} s: {', '.join(waiting)}. Their last lines say why\n" + "\n".join(logs)

    def addresses(self) -> dict[str, str]:
        """`host:port` of each worker's metrics and health; empty for one that does not listen yet."""
        host = self._settings.worker.http_host
        return {name: f"{host}:{port}" if (port := self._port(name)) else "" for name in self.children}

    def stop(self) -> None:
        """Drain and end all, at the same time. Raises StackError when one outlives SIGKILL."""
        grace = self._settings.kafka.drain_timeout_s + STOP_MARGIN_S
        with ThreadPoolExecutor(max_workers=len(COMMANDS)) as each:
            list(each.map(lambda child: process.stop(child, grace), self.children.values()))
        self.children.clear()

    def _start(self, name: str) -> None:
        self._port_file(name).unlink(missing_ok=True)
        self.children[name] = process.start(
            name,
            [sys.executable, "-m", "stream.cli.main", name],
            log=self._run_dir / "logs" / f"{name}.log",
            mark=self._mark,
            env=child_environment(**self._variables(name)),
            detach=self._detach,
            cwd=Path.cwd(),
        )

    def _variables(self, name: str) -> dict[str, str]:
        kafka = self._settings.kafka
        return {
            "SHANGXIN_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "SHANGXIN_KAFKA__TOPIC_PREFIX": kafka.topic_prefix,
            "SHANGXIN_KAFKA__WORKER_INDEX": str(kafka.worker_index),
            "SHANGXIN_TRITON__URL": self._settings.triton.url,
            "SHANGXIN_WORKER__HTTP_PORT": "0",
            "SHANGXIN_WORKER__PORT_FILE": str(self._port_file(name)),
            "PYTHONUNBUFFERED": "1",
            **self.once.pop(name, {}),
        }

    def _port_file(self, name: str) -> Path:
        return self._run_dir / f"{name}.port"

    def _port(self, name: str) -> int:
        try:
            return int(self._port_file(name).read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def _ready(self, name: str) -> bool:
        port = self._port(name)
        if not port:
            return False
        try:
            url = f"http://{self._settings.worker.http_host}:{port}/readyz"
            with urllib.request.urlopen(url, timeout=PROBE_TIMEOUT_S) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


class Kept(Struct, frozen=True):
    """The workers that `shangxin demo --keep` left running, on disk for `shangxin demo --stop`."""

    children: list[Child]

    def write(self, run_dir: Path) -> None:
        """Into run_dir/demo.json."""
        (run_dir / "demo.json").write_bytes(msgspec.json.encode(self))


def stop_kept(run_dir: Path) -> int:
    """End the workers recorded in `run_dir`, nothing else; returns how many were recorded. Raises StackError."""
    path = run_dir / "demo.json"
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=Kept)
    except FileNotFoundError:
        return 0
    for child in kept.children:
        process.stop(child)
    path.unlink()
    return len(kept.children)


def _obituary(name: str, child: Child, status: int | None) -> str:
    how = "ended" if status is None else f"was ended by signal {-status}" if status < 0 else f"ended with {status}"
    return (
        f"worker {name} {how}. Its last lines say why; run `shangxin {name}` alone with the same settings to see "
        f"more\n{child.log}:\n{child.excerpt()}"
    )
