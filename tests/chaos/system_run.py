"""The whole system under test: the demo's workers, replay and observer, with blows at moments chosen by progress."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from deploy.embedded.process import Child, exit_status
from inference.deadline import Deadline
from stream.demo.lag import is_through, lags
from stream.demo.observer import Observer
from stream.demo.replay import Replay
from stream.demo.scenario import Scenario
from stream.demo.topics import DEMO_PREFIX, demo_topics
from stream.demo.workers import Workers
from stream.errors import NotReady
from stream.kafka.publish import Publisher
from stream.settings import Settings

TURN_S = 0.1
FENCED = '"error": "Fenced"'
"""In the log of a worker that ended because it may have been replaced (status 1)."""
READY_S = 120.0
GROUPS = {"enrich": "enrichment", "profiles": "profiles", "features": "features"}
"""Worker to the name under which the demo measures its lag."""


STOPPED_S = 3.0
"""Beyond the session timeout: the group is joined again without the stopped member."""


@dataclass(frozen=True)
class Blow:
    """Strike `worker` once `after` records of `topic` were seen and it has work that is not committed.

    stop: SIGSTOP until past the session timeout, then SIGCONT; else SIGKILL. then: environment of the next start.
    number: which of the sets of workers.
    """

    worker: str
    topic: str
    after: int
    stop: bool = False
    then: dict[str, str] = field(default_factory=dict)
    number: int = 0


@dataclass
class Stopped:
    """A worker that sleeps, until when, and how much the others had written when it fell asleep."""

    blow: Blow
    child: Child
    until: Deadline
    seen: int


@dataclass
class Report:
    """What happened in one run. struck: lag of each victim as it was struck; restarted: whom the demo started again;
    fenced: who woke up and ended for it."""

    struck: list[tuple[str, int]] = field(default_factory=list)
    restarted: list[tuple[str, int]] = field(default_factory=list)
    fenced: list[str] = field(default_factory=list)


class System:
    """One set of topics with one or more sets of the three workers on it."""

    def __init__(self, settings: Settings, folder: Path, sets: int, restarts: int) -> None:
        self.settings = settings
        self.sets = [_workers(settings, folder / str(number), number, restarts) for number in range(sets)]
        self.observer = Observer(settings)
        self.report = Report()
        self.lag: dict[str, int] = {}
        self._stopped: list[Stopped] = []

    async def ready(self) -> None:
        """Until every worker takes work."""
        deadline = Deadline(READY_S)
        while waiting := await self._waiting():
            assert not deadline.passed, f"not ready: {waiting}"
            await asyncio.sleep(TURN_S)

    async def play(self, scene: Scenario, speed: float, blows: Sequence[Blow], limit_s: float) -> Replay:
        """Replay all of it while the blows fall; returns when everything is through and every worker is ready."""
        publisher = Publisher(self.settings, client_id="shangxin-demo")
        await publisher.start()
        await self.observer.start()
        replay = Replay(publisher, self.settings.kafka.topic_prefix, speed)
        tasks = [asyncio.create_task(replay.run(scene.records)), asyncio.create_task(self.observer.run())]
        try:
            await self._until_through(tasks, list(blows), limit_s)
            return replay
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.observer.stop()
            await publisher.stop()

    async def stop(self) -> None:
        """End every worker, sleeping ones too."""
        for stopped in self._stopped:
            os.kill(stopped.child.process.pid, signal.SIGCONT)
        for workers in self.sets:
            await asyncio.to_thread(workers.stop)

    async def _until_through(self, tasks: Sequence[asyncio.Task[None]], blows: list[Blow], limit_s: float) -> None:
        deadline = Deadline(limit_s)
        while True:
            for task in tasks:
                if task.done():
                    task.result()  # raises what ended it
            self._watch()
            try:
                self.lag = await lags(self.settings, await self.observer.ends())
            except NotReady:  # no coordinator for a moment: not known this turn
                self.lag = {}
            for blow in [blow for blow in blows if self._strike(blow)]:
                blows.remove(blow)
            self._wake()
            if tasks[0].done() and not blows and not self._stopped and await self._is_through():
                return
            seen = dict(self.observer.tally.seen)
            assert not deadline.passed, f"not through after {limit_s} s; lag {self.lag}, seen {seen}, left {blows}"
            await asyncio.sleep(TURN_S)

    def _watch(self) -> None:
        """Start again what a signal ended, and what ended because it had been replaced while it slept."""
        for workers in self.sets:
            for name, child in workers.children.items():
                if not child.alive and exit_status(child) == 1 and FENCED in Path(child.log).read_text():
                    self.report.fenced.append(name)
                    workers.again(name)
            self.report.restarted += [(killed.name, killed.signal) for killed in workers.watch()]

    async def _waiting(self) -> list[str]:
        return [name for workers in self.sets for name in await asyncio.to_thread(workers.waiting)]

    async def _is_through(self) -> bool:
        if not is_through(self.lag, self.observer.quiet_s):
            return False
        # Quiet may also be a worker that is just starting, with work that shows in no lag.
        return not await self._waiting() and is_through(self.lag, self.observer.quiet_s)

    def _strike(self, blow: Blow) -> bool:
        workers = self.sets[blow.number]
        child, lag, seen = workers.children[blow.worker], self.lag[GROUPS[blow.worker]], self._seen(blow)
        if seen < blow.after or not lag or not child.alive or any(s.child == child for s in self._stopped):
            return False
        if blow.stop:
            os.kill(child.process.pid, signal.SIGSTOP)
            limit = Deadline(self.settings.kafka.session_timeout_s + STOPPED_S)
            self._stopped.append(Stopped(blow, child, limit, seen))
        else:
            workers.once[blow.worker] = dict(blow.then)
            os.kill(child.process.pid, signal.SIGKILL)
        self.report.struck.append((blow.worker, lag))
        return True

    def _wake(self) -> None:
        """Those whose session is over and without whom the work went on."""
        for stopped in list(self._stopped):
            if stopped.until.passed and self._seen(stopped.blow) > stopped.seen:
                os.kill(stopped.child.process.pid, signal.SIGCONT)
                self._stopped.remove(stopped)

    def _seen(self, blow: Blow) -> int:
        return self.observer.tally.seen[blow.topic]


def _workers(settings: Settings, folder: Path, number: int, restarts: int) -> Workers:
    kafka = settings.kafka.model_copy(update={"worker_index": number})
    settings = settings.model_copy(update={"kafka": kafka})
    return Workers(settings, folder, uuid.uuid4().hex, detach=False, restarts=restarts)


@asynccontextmanager
async def system(
    settings: Settings,
    folder: Path,
    sets: int = 1,
    restarts: int = 5,
    first: Mapping[str, dict[str, str]] | None = None,
) -> AsyncIterator[System]:
    """Fresh topics and the workers, started and ended. settings: with the addresses of the stack.

    first: environment of the first start of a worker of the first set.
    """
    prefix = f"{DEMO_PREFIX}{uuid.uuid4().hex[:8]}."
    settings = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"topic_prefix": prefix})})
    async with demo_topics(settings, keep=False):
        made = System(settings, folder, sets, restarts)
        made.sets[0].once.update(first or {})
        try:
            for workers in made.sets:
                workers.start()
            yield made
        finally:
            await made.stop()
