"""The demo from start to end: stack, topics, workers, replay, what comes out, summary."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from msgspec import Struct
from rich.console import Console

from deploy.embedded.progress import ConsoleReport
from deploy.embedded.stack import Addresses, Stack
from inference.deadline import Deadline
from inference.taxonomy.tree import load_taxonomy
from stream.demo import scenario
from stream.demo.lag import is_through, lags
from stream.demo.models import build_models
from stream.demo.observer import Observer
from stream.demo.replay import Replay
from stream.demo.scenario import Scenario, Size
from stream.demo.screen import Screen, screen
from stream.demo.summary import Summary, records_out, shortfalls, table
from stream.demo.tally import Tally
from stream.demo.topics import demo_topics
from stream.demo.workers import Kept, Workers
from stream.errors import Fatal, NotReady
from stream.kafka.publish import Publisher
from stream.settings import Settings

TURN_S = 0.25
"""Between two looks at the workers, the lag and the screen."""
LAG_EVERY_S = 1.0
"""Asking a group for its offsets takes an admin connection: once a second is enough to see it fall."""


class Options(Struct, frozen=True, kw_only=True):
    """What a person may choose. speed: event seconds a second, 0 for as fast as possible. deadline_s: of
    the replay until all is through; ready_s: until the workers take work."""

    size: Size = Size()
    speed: float = 15_000.0
    keep: bool = False
    summary: Path | None = None
    ready_s: float = 120.0
    deadline_s: float = 900.0


class Run:
    """The state of one demo; what the screen reads (stream.demo.screen.State)."""

    def __init__(self, scenario: Scenario, tally: Tally, replay: Replay, where: str) -> None:
        self.tally = tally
        self.total = len(scenario.records) - scenario.refused_here
        self.lag: dict[str, int] = {}
        self.where = where
        self._replay = replay

    @property
    def sent(self) -> int:
        """Records that the replay has sent."""
        return sum(self._replay.sent.values())

    @property
    def at(self) -> int:
        """Event time of the newest record sent, ms."""
        return self._replay.at


def run_demo(settings: Settings, options: Options, console: Console) -> int:
    """Run it; returns the exit status: 0 all through and as expected, 1 not. Raises StreamError, InferenceError."""
    began = time.monotonic()
    run_dir = settings.stack.run_dir / "demo"
    settings = settings.model_copy(update={"stack": settings.stack.model_copy(update={"run_dir": run_dir})})
    with _terminated_as_interrupted(), ThreadPoolExecutor(1, "scenario") as aside:
        limit, now_ms = settings.topics.max_message_bytes, int(time.time() * 1000)
        # The input is put together while the parts start.
        built = aside.submit(scenario.build, options.size, limit, now_ms)
        version = build_models(settings)
        stack = Stack(settings, keep_state=options.keep, detach=options.keep, report=ConsoleReport(console))
        addresses = stack.up(fresh=True)
        kept = False
        try:
            settings = _at(settings, addresses)
            demo = _Demo(settings, options, console, addresses, version, run_dir)
            status = asyncio.run(demo.run(built, began))
            kept = options.keep
            return status
        finally:
            if not kept:
                stack.down(keep_state=False)


class _Demo:
    def __init__(
        self, settings: Settings, options: Options, console: Console, addresses: Addresses, model: str, run_dir: Path
    ) -> None:
        self._settings = settings
        self._options = options
        self._console = console
        self._addresses = addresses
        self._model = model
        self._run_dir = run_dir.absolute()
        self._workers = Workers(settings, self._run_dir, uuid.uuid4().hex, detach=options.keep)

    async def run(self, built: Future[Scenario], began: float) -> int:
        """Everything between the stack's start and its end. Raises KeyboardInterrupt on SIGTERM, as on Ctrl-C."""
        task = asyncio.current_task()
        assert task is not None  # this is a coroutine of one
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        try:
            return await self._run(built, began)
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None

    async def _run(self, built: Future[Scenario], began: float) -> int:
        kept = False
        async with demo_topics(self._settings, keep=self._options.keep):
            try:
                self._workers.start()
                status = await self._replay(built, began)
                if kept := self._options.keep:
                    self._keep()
                return status
            finally:
                if not kept:
                    self._console.print("Stopping what was started ...")
                    await asyncio.to_thread(self._workers.stop)

    async def _replay(self, built: Future[Scenario], began: float) -> int:
        scene = await asyncio.wrap_future(built)
        await self._until_ready()
        publisher = Publisher(self._settings, client_id="shangxin-demo")
        await publisher.start()
        observer = Observer(self._settings)
        await observer.start()
        replay = Replay(publisher, self._settings.kafka.topic_prefix, self._options.speed)
        run = Run(scene, observer.tally, replay, self._where())
        started = time.monotonic()
        try:
            with screen(self._console, load_taxonomy()) as shown:
                through = await self._watch(scene, run, replay, observer, shown)
            # Until the last record was seen, without the wait that made sure it was the last.
            ended = time.monotonic() - (observer.quiet_s if through else 0.0)
            seconds = {"setup": started - began, "replay": ended - started}
            if observer.first_enriched is not None:
                seconds["first_enriched"] = observer.first_enriched - began
            return self._sum_up(scene, run, replay, seconds, through=through)
        finally:
            await observer.stop()
            await publisher.stop()

    async def _until_ready(self) -> None:
        """The workers take work. Raises Fatal, with its log, for one that has ended or does not get there."""
        deadline = Deadline(self._options.ready_s)
        with ConsoleReport(self._console).step("Starting the workers") as step:
            while waiting := await asyncio.to_thread(self._workers.waiting):
                if deadline.passed:
                    raise Fatal(self._workers.unready(waiting, self._options.ready_s))
                step.note("waiting for " + ", ".join(waiting))
                await asyncio.sleep(TURN_S)

    async def _watch(self, scene: Scenario, run: Run, replay: Replay, observer: Observer, shown: Screen) -> bool:
        """Replay and draw until all is through; False when the deadline passed before."""
        deadline = Deadline(self._options.deadline_s)
        sending = asyncio.create_task(replay.run(scene.records))
        tasks = [sending, asyncio.create_task(observer.run()), asyncio.create_task(self._measure(run, observer))]
        try:
            while not (through := self._is_through(sending, run, observer)) and not deadline.passed:
                for task in tasks:
                    if task.done():
                        task.result()  # raises what ended it
                for killed in self._workers.watch():
                    shown.say(f"worker {killed.name} was ended by signal {killed.signal}; started again")
                shown.draw(run)
                await asyncio.sleep(TURN_S)
            return through
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _is_through(self, sending: asyncio.Task[None], run: Run, observer: Observer) -> bool:
        return sending.done() and is_through(run.lag, observer.quiet_s)

    async def _measure(self, run: Run, observer: Observer) -> None:
        while True:
            try:
                run.lag = await lags(self._settings, await observer.ends())
            except NotReady:  # a coordinator that moves or is just being chosen: not known this time
                run.lag = {}
            await asyncio.sleep(LAG_EVERY_S)

    def _sum_up(self, scene: Scenario, run: Run, replay: Replay, seconds: dict[str, float], *, through: bool) -> int:
        tally = run.tally
        summary = Summary(
            events_in=run.sent,
            records_out=records_out(tally),
            dead_letters=dict(sorted(tally.dead.items())),
            lag=sum(run.lag.values()),
            latency_ms=tally.latencies.summary(),
            seconds={name: round(value, 2) for name, value in seconds.items()},
            broker=f"{self._addresses.broker_kind} {self._addresses.broker_version}".strip(),
            triton=f"{self._addresses.triton_kind} {self._addresses.triton_version}".strip(),
            model_version=tally.models.get("listing", self._model),
        )
        self._console.print(table(summary, sum(tally.aside.values()), len(replay.refused)))
        for _, error in replay.refused:
            self._console.print(f"refused before sending: {error}", markup=False, highlight=False, soft_wrap=True)
        if self._options.summary is not None:
            summary.write(self._options.summary)
        wrong = shortfalls(scene, tally, len(replay.refused))
        if not through:
            wrong.insert(
                0, f"not through after {self._options.deadline_s:g} s; lag {run.lag}; logs: {self._run_dir}/logs"
            )
        for line in wrong:
            self._console.print(line, style="red", markup=False, highlight=False, soft_wrap=True)
        return 1 if wrong else 0

    def _where(self) -> str:
        a = self._addresses
        return f"{a.broker_kind} {a.broker_version} at {a.bootstrap}, Triton {a.triton_version} at {a.triton_grpc}"

    def _keep(self) -> None:
        Kept(list(self._workers.children.values())).write(self._run_dir)
        kafka = self._settings.kafka
        lines = [f"KAFKA_BOOTSTRAP_SERVERS={kafka.bootstrap_servers}", f"TRITON_URL={self._settings.triton.url}"]
        if kafka.topic_prefix:
            lines.append(f"SHANGXIN_KAFKA__TOPIC_PREFIX={kafka.topic_prefix}")
        self._console.print("Left running. For other shells:", style="bold")
        for line in lines:
            self._console.print(f"  export {line}", markup=False, highlight=False, soft_wrap=True)
        for name, address in self._workers.addresses().items():
            self._console.print(f"  {name}: http://{address}/metrics", markup=False, highlight=False, soft_wrap=True)
        self._console.print("End it with `shangxin demo --stop`.")


def _at(settings: Settings, addresses: Addresses) -> Settings:
    """The settings with the stack's addresses; on a broker of somebody else's, under a prefix of the demo's own."""
    kafka = {"bootstrap_servers": addresses.bootstrap}
    if addresses.broker_kind == "external" and not settings.kafka.topic_prefix:
        kafka["topic_prefix"] = f"shangxin-demo-{uuid.uuid4().hex[:8]}."
    return settings.model_copy(
        update={
            "kafka": settings.kafka.model_copy(update=kafka),
            "triton": settings.triton.model_copy(update={"url": addresses.triton_grpc}),
        }
    )


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM ends the demo as Ctrl-C does: whatever was started is stopped first."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
