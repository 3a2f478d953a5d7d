"""The embedded stack: broker and model server, up and down as one."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from deploy.embedded import broker, triton
from deploy.embedded.context import Context
from deploy.embedded.errors import AlreadyUp, StackError
from deploy.embedded.process import Child
from deploy.embedded.progress import ConsoleReport, Report
from deploy.embedded.state import Record, StateFile
from deploy.embedded.status import PartStatus, part_statuses
from inference.deadline import Deadline
from stream.settings import Settings

BROKER = "broker"
TRITON = "triton"
PARTS = (BROKER, TRITON)
# What a stack keeps from one start to the next, below its run directory.
STATE_FOLDERS = ("kafka", "noida")


@dataclass(frozen=True)
class Addresses:
    """Where the parts serve: `host:port`, empty for a part that is not up (or, of an external server, not known)."""

    bootstrap: str = ""
    broker_kind: str = ""
    broker_version: str = ""
    broker_passed_over: tuple[str, ...] = ()
    triton_grpc: str = ""
    triton_http: str = ""
    triton_metrics: str = ""
    triton_kind: str = ""
    triton_version: str = ""


class Stack:
    """One stack in one run directory (settings.stack.run_dir).

    As a context manager it is up inside the block, and its processes end with it, also when this process is
    killed. With `detach` they stay until `down()`, from any process. parts: what to start. models: a Triton
    model repository; default: the one in settings.stack.models_dir. keep_state: what `down()` does with
    topics and their records.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        parts: Collection[str] = PARTS,
        models: Path | None = None,
        keep_state: bool = True,
        detach: bool = False,
        report: Report | None = None,
    ) -> None:
        self._settings = settings
        self._parts = frozenset(parts)
        self._models = models
        self._keep_state = keep_state
        self._detach = detach
        self._report = report or ConsoleReport()
        self.run_dir = settings.stack.run_dir.absolute()
        self._state = StateFile(self.run_dir)
        self._mark: str | None = None

    @property
    def addresses(self) -> Addresses:
        """Of the stack that is up in the run directory. Raises StackError when none is."""
        record = self._state.read()
        if record is None:
            raise StackError(f"no stack is up in {self.run_dir}; run `shangxin stack up`")
        return _addresses(record)

    def prepare(self) -> str:
        """Fetch everything that `up` needs, start nothing. The kind of broker that `up` will take."""
        kind = self._choose_broker()[0].kind if BROKER in self._parts else ""
        if TRITON in self._parts and not self._settings.triton.url:
            triton.TritonEnvironment(self._settings.stack.triton_venv).prepare(self._report)
        return kind

    def up(self, *, fresh: bool = False) -> Addresses:
        """Start the parts and wait until they serve; on failure nothing stays behind.

        fresh: drop the state of earlier runs first. Raises AlreadyUp, StackError.
        """
        with self._state.locked():
            self._refuse_second()
            if fresh:
                self._drop_state()
            mark = uuid.uuid4().hex
            record = Record(mark=mark, started_at=time.time(), owner=0 if self._detach else os.getpid())
            with contextlib.ExitStack() as undo:
                record = self._start(record, undo)
                undo.pop_all()
            self._mark = mark
        return _addresses(record)

    def down(self, *, keep_state: bool | None = None) -> bool:
        """End what the recorded stack started, nothing else. Whether there was one.

        After `up()` of this object only that stack: another one that has since come up in the run directory stays.
        keep_state: as given to the constructor unless said here. Raises StackError when a process will not end.
        """
        with self._state.locked():
            record = self._state.read()
            if record is not None and self._mark not in (None, record.mark):
                return False
            if record is not None:
                record.stop()
                self._state.clear()
            self._mark = None
            if not (self._keep_state if keep_state is None else keep_state):
                self._drop_state()
        return record is not None

    def status(self) -> list[PartStatus]:
        """The truth about each part recorded here: empty when no stack is up."""
        record = self._state.read()
        return part_statuses(record) if record is not None else []

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    def _refuse_second(self) -> None:
        record = self._state.read()
        if record is None:
            return
        if record.own_alive:
            holder = f" (held by process {record.owner})" if record.owner else ""
            see = "see `shangxin stack status`, end it with `shangxin stack down`"
            raise AlreadyUp(f"a stack is up in {self.run_dir}{holder}: {see}")
        # All of it has died: nothing to end but what a dead server may have left of its session.
        record.stop()
        self._state.clear()

    def _start(self, record: Record, undo: contextlib.ExitStack) -> Record:
        """Start part by part and record each as it comes up, so that `down` finds it whatever happens next."""
        undo.callback(self._state.clear)
        # What is fetched has limits of its own; the time to start counts from here on.
        source, passed_over = self._choose_broker() if BROKER in self._parts else (None, [])
        models = self._prepare_triton() if TRITON in self._parts else None
        deadline = Deadline(self._settings.stack.start_timeout_s)
        if source is not None:
            with self._report.step(f"Starting the broker ({source.kind})"):
                started = source.start(self._context(record, deadline))
            undo.callback(started.stop)
            record = msgspec.structs.replace(record, broker=msgspec.structs.replace(started, passed_over=passed_over))
            self._state.write(record)
            self._report.say(f"broker: {started.kind}, {started.version}, at {started.bootstrap}")
        if TRITON in self._parts:
            with self._report.step("Starting the model server"):
                server = self._start_triton(self._context(record, deadline), models)
            undo.callback(server.stop)
            record = msgspec.structs.replace(record, triton=server)
            self._state.write(record)
            self._report.say(f"model server: Triton {server.version} ({server.kind}), gRPC at {server.grpc}")
        return record

    def _context(self, record: Record, deadline: Deadline) -> Context:
        def on_child(child: Child) -> None:
            self._state.write(msgspec.structs.replace(record, starting=[child]))

        return Context(self.run_dir, record.mark, self._detach, self._report, deadline, on_child)

    def _choose_broker(self) -> tuple[broker.Source, list[str]]:
        source, passed_over = broker.choose(self._settings, self._report)
        for line in passed_over:
            self._report.say(f"broker: not {line}")
        return source, passed_over

    def _prepare_triton(self) -> Path | None:
        """The model repository to serve; None where another's server is used. Told before anything is started."""
        if self._settings.triton.url:
            return None
        models = (self._models or triton.find_repository(self._settings.stack.models_dir)).absolute()
        triton.TritonEnvironment(self._settings.stack.triton_venv).prepare(self._report)
        return models

    def _start_triton(self, context: Context, models: Path | None) -> triton.Triton:
        if models is None:
            return triton.attach(self._settings.triton.url)
        return triton.start(self._settings.stack, context, models)

    def _drop_state(self) -> None:
        for name in STATE_FOLDERS:
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(self.run_dir / name)


def _addresses(record: Record) -> Addresses:
    mq, server = record.broker, record.triton
    return Addresses(
        bootstrap=mq.bootstrap if mq else "",
        broker_kind=mq.kind if mq else "",
        broker_version=mq.version if mq else "",
        broker_passed_over=tuple(mq.passed_over) if mq else (),
        triton_grpc=server.grpc if server else "",
        triton_http=server.http if server else "",
        triton_metrics=server.metrics if server else "",
        triton_kind=server.kind if server else "",
        triton_version=server.version if server else "",
    )
