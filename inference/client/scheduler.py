"""The client's core: batches listings across callers, keeps several batches in flight, and retries within deadlines."""

from __future__ import annotations

import asyncio
import random
import time

import msgspec

from inference.client.admission import Admission
from inference.client.batching import Answer, Batch, LengthQueue, Work, as_embedding, length_class
from inference.client.breaker import Breaker, BreakerOpen, BreakerPolicy, State
from inference.client.limits import Limits, Retry
from inference.client.observer import Observer, Outcome, Silent, outcome_of
from inference.client.transport import Reply, Transport
from inference.contract import EMBEDDING_DIM, ListingAnswer, ListingInput, ListingResult
from inference.deadline import Clock, Deadline
from inference.errors import (
    InferenceError,
    Misconfigured,
    Rejected,
    Retryable,
    ServerFault,
    TimedOut,
    Unavailable,
)

TIMEOUT_FLOOR_S = 0.05
"""No call gets less: calls that end as they begin come back as mass cancellations, which have brought servers
down (triton-inference-server/server #7368)."""

_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(ListingAnswer)


class Scheduler:
    """One per process and event loop, made after any fork; `start` before the first `answer`.

    clock: monotonic seconds; must be the one that callers' deadlines use.
    """

    def __init__(
        self,
        transport: Transport,
        limits: Limits | None = None,
        retry: Retry | None = None,
        breaker: BreakerPolicy | None = None,
        observer: Observer | None = None,
        clock: Clock = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self._transport = transport
        self._limits = limits or Limits()
        self._retry = retry or Retry()
        self._observer: Observer = observer or Silent()
        self._clock = clock
        self._rng = rng or random.Random()
        self._breaker = Breaker(breaker, clock, self._observer.breaker)
        self._admission = Admission(self._limits, self._observer.pending)
        self._queue = LengthQueue(self._limits)
        self._batches: set[Batch] = set()
        self._timer: asyncio.Handle | None = None
        self._version = ""
        self._closing = False

    @property
    def version(self) -> str:
        """Name of the pinned model version; empty before `start`."""
        return self._version

    @property
    def pending(self) -> int:
        """Listings admitted and not answered."""
        return self._admission.items

    @property
    def breaker_open(self) -> bool:
        """Whether calls are being refused for the server's failures."""
        return self._breaker.state is not State.CLOSED

    async def start(self) -> str:
        """Pin the model version and return its name. One try: Unavailable means call again later.

        Raises Unavailable while the server or the model is not there, Misconfigured when the model
        is another than the configured one or names no version.
        """
        self._version = await self._transport.version()
        return self._version

    async def ready(self) -> bool:
        """Whether listings can be answered now: started, not closing, breaker closed, model ready."""
        if not self._version or self._closing or self.breaker_open:
            return False
        return await self._transport.ready()

    async def answer(self, item: ListingInput, deadline: Deadline) -> Answer:
        """The model's answer to one listing; a ListingFault is an answer.

        Raises Overloaded when not admitted within the deadline, the error of the newest try (or
        TimedOut) when the deadline passes, Rejected when the model or the encoding refuses this
        listing, Misconfigured when the answers are not those of the pinned model, and Unavailable
        after `close`. Cancelling takes the listing out of the queue.
        """
        self._check_open()
        row = encode(item)
        await self._admission.acquire(len(row), deadline)
        if self._closing:
            self._admission.release(len(row))
            self._check_open()
        work = Work(row, length_class(item), deadline, self._clock(), asyncio.get_running_loop().create_future())
        self._queue.add(work)
        self._wake(0.0)
        try:
            async with asyncio.timeout(deadline.left):
                return await work.future
        except TimeoutError:
            raise work.error or TimedOut("no answer within the listing's deadline") from None
        finally:
            self._leave(work)

    async def drain(self, deadline: Deadline) -> bool:
        """Wait until nothing is pending; False when the deadline passed first. New listings are still taken."""
        while self._admission.items and not deadline.passed:
            self._wake(0.0)
            tasks = [batch.task for batch in self._batches if batch.task is not None]
            if tasks:
                await asyncio.wait(tasks, timeout=deadline.left, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(0)
        return not self._admission.items

    async def close(self, deadline: Deadline) -> None:
        """Take nothing more, finish what is pending within the deadline, give up the rest, close the transport."""
        self._closing = True
        await self.drain(deadline)
        for work in self._queue.clear():
            self._fail(work, Unavailable("the client is closed"))
            self._admission.release(len(work.row))
        tasks = [batch.task for batch in self._batches if batch.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._timer is not None:
            self._timer.cancel()
        await self._transport.close()

    def _check_open(self) -> None:
        if not self._version or self._closing:
            raise Unavailable("the client is closed" if self._closing else "the client was not started")

    # --- from the queue into flight -------------------------------------------------

    def _wake(self, delay_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        # Also with no delay through the loop: callers of the same moment then share one batch.
        self._timer = loop.call_later(delay_s, self._pump) if delay_s else loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._timer = None
        while len(self._batches) < self._limits.batches_in_flight:
            works = self._queue.take(self._clock(), idle=not self._batches)
            if not works:
                break
            self._dispatch(works)
        due = self._queue.due_in(self._clock())
        if due is not None and len(self._batches) < self._limits.batches_in_flight:
            self._wake(due)

    def _dispatch(self, works: list[Work]) -> None:
        batch = Batch(works)
        for work in works:
            work.batch = batch
        self._observer.dispatched(len(works), self._clock() - works[0].since)
        self._batches.add(batch)
        batch.task = asyncio.get_running_loop().create_task(self._work_on(works))
        batch.task.add_done_callback(lambda task: self._finished(batch, task))

    def _finished(self, batch: Batch, task: asyncio.Task[None]) -> None:
        self._batches.discard(batch)
        error = Unavailable("the call was given up") if task.cancelled() else task.exception()
        for work in batch.works:
            if error is not None:
                self._fail(work, error)
            self._admission.release(len(work.row))
        if not self._closing or self._queue:
            self._wake(0.0)

    def _leave(self, work: Work) -> None:
        if self._queue.remove(work):
            self._admission.release(len(work.row))
        elif work.batch is not None and not work.batch.open and work.batch.task is not None:
            work.batch.task.cancel()  # nobody waits for any of it; a finished task ignores this

    # --- one batch --------------------------------------------------------------------

    async def _work_on(self, works: list[Work]) -> None:
        while works := [work for work in works if work.open]:
            try:
                replies = await self._call(works)
            except Rejected as error:
                await self._on_rejected(works, error)
                return
            except Retryable as error:
                split = isinstance(error, ServerFault | TimedOut) and len(works) > 1
                works = await self._back_off(works, error)
                if split and len(works) > 1:
                    await self._halves(works)
                    return
            else:
                for work, reply in zip(works, replies, strict=True):
                    self._deliver(work, reply)
                return

    async def _call(self, works: list[Work]) -> list[Reply]:
        left = max(work.deadline.left for work in works)
        timeout_s = max(TIMEOUT_FLOOR_S, min(self._limits.request_timeout_s, left))
        with self._breaker.call():
            begun = self._clock()
            outcome = Outcome.OK
            try:
                replies = await self._transport.infer([work.row for work in works], timeout_s)
                if len(replies) != len(works):
                    raise Misconfigured(f"{len(works)} rows went out and {len(replies)} answers came back")
            except InferenceError as error:
                outcome = outcome_of(error)
                raise
            finally:
                self._observer.called(outcome, self._clock() - begun, len(works))
            return replies

    async def _on_rejected(self, works: list[Work], error: Rejected) -> None:
        if len(works) == 1:
            self._fail(works[0], error)
        else:
            await self._halves(works)

    async def _halves(self, works: list[Work]) -> None:
        middle = len(works) // 2
        await self._work_on(works[:middle])
        await self._work_on(works[middle:])

    async def _back_off(self, works: list[Work], error: Retryable) -> list[Work]:
        """Wait before the next try; fails the listings whose deadline ends before it or whose tries are used up."""
        alone = len(works) == 1 and isinstance(error, ServerFault | TimedOut)
        for work in works:
            work.error = error
            work.failures += not isinstance(error, BreakerOpen)
        if alone and works[0].failures >= self._retry.fault_tries:
            self._fail(works[0], error)
            return []
        failures = max(1, min(work.failures for work in works))
        delay = self._retry.delay(failures, self._rng.random())
        if isinstance(error, BreakerOpen):
            delay = max(delay, error.retry_in)
        for work in works:
            if work.deadline.left <= delay:
                self._fail(work, error)
        if any(work.open for work in works):
            await asyncio.sleep(delay)
        return works

    def _deliver(self, work: Work, reply: Reply) -> None:
        if not work.open:
            return
        try:
            work.future.set_result(decode(reply, self._version))
        except Misconfigured as error:
            self._fail(work, error)

    def _fail(self, work: Work, error: BaseException) -> None:
        if work.open:
            work.future.set_exception(error)


def encode(item: ListingInput) -> bytes:
    """One row of the LISTING tensor. Raises Rejected for text that UTF-8 cannot hold (lone surrogates)."""
    try:
        return _encode(item)
    except UnicodeEncodeError as error:
        raise Rejected(f"the listing's text cannot be encoded: {error}") from None


def decode(reply: Reply, version: str) -> Answer:
    """One row's answer. Raises Misconfigured when it is none, or is that of another model version than `version`."""
    body, values = reply
    try:
        answer = _decoder.decode(body)
    except msgspec.DecodeError as error:
        raise Misconfigured(f"the model's answer is not a ListingAnswer: {error}") from None
    embedding = as_embedding(values)
    if embedding.shape != (EMBEDDING_DIM,):
        raise Misconfigured(f"the embedding has shape {embedding.shape}, expected ({EMBEDDING_DIM},)")
    if isinstance(answer, ListingResult) and answer.versions.get("model") != version:
        raise Misconfigured(f"model {version!r} was pinned and {answer.versions.get('model')!r} answered")
    return Answer(answer, embedding)
