"""What is up in a run directory, on disk: so that one shell starts a stack and another one ends it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from deploy.embedded import process
from deploy.embedded.broker import Broker
from deploy.embedded.cache import try_lock
from deploy.embedded.errors import AlreadyUp, StackError
from deploy.embedded.process import Child
from deploy.embedded.triton import Triton

STATE_FORMAT = 1


class Record(Struct, frozen=True, kw_only=True):
    """One stack. mark: its name, carried by its processes. owner: pid of what holds it, 0 when detached.

    starting: processes started and not yet part of `broker` or `triton`.
    """

    format: int = STATE_FORMAT
    mark: str
    started_at: float
    owner: int
    broker: Broker | None = None
    triton: Triton | None = None
    starting: list[Child] = []

    def stop(self) -> None:
        """End all that this stack started, nothing else; one that will not end does not spare the others."""
        with contextlib.ExitStack() as each:
            for part in (self.broker, self.triton):
                if part is not None:
                    each.callback(part.stop)
            for child in self.starting:
                each.callback(process.stop, child)

    @property
    def own_alive(self) -> bool:
        """Whether any process or container that this stack started still runs."""
        broker = self.broker is not None and bool(self.broker.child or self.broker.container) and self.broker.alive
        triton = self.triton is not None and self.triton.child is not None and self.triton.alive
        return broker or triton or any(child.alive for child in self.starting)


class StateFile:
    """run_dir/stack.json and the lock beside it."""

    def __init__(self, run_dir: Path) -> None:
        self.path = run_dir / "stack.json"
        self._lock = run_dir / "stack.lock"

    def read(self) -> Record | None:
        """The stack recorded here; None when there is none. Raises StackError on a file of another version."""
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=Record)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise StackError(
                f"{self.path} cannot be read ({error}); end the stack's processes by hand, remove it"
            ) from error

    def write(self, record: Record) -> None:
        """Replace it as a whole: a reader never sees a half."""
        partial = self.path.with_suffix(".partial")
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(record)))
        partial.replace(self.path)

    def clear(self) -> None:
        """Nothing is up any more."""
        self.path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Held by one `up` or `down` at a time, let go when that process ends. Raises AlreadyUp."""
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        with self._lock.open("w") as handle:
            if not try_lock(handle.fileno()):
                raise AlreadyUp(f"another `up` or `down` is at work in {self._lock.parent}; wait for it to end")
            yield
