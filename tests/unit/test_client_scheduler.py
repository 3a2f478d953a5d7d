"""The scheduler's promises, in virtual time: batching, bounds, retry, breaker, cancellation, close."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Coroutine

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.client import Answer, BreakerPolicy, Limits, Outcome, Retry, Scheduler
from inference.client.batching import CLASS_BOUNDS, length_class
from inference.client.scheduler import decode
from inference.contract import ListingInput
from inference.deadline import Deadline
from inference.errors import (
    InferenceError,
    Misconfigured,
    Overloaded,
    Rejected,
    Retryable,
    TimedOut,
    Unavailable,
)
from tests.triton.double import VERSION
from tests.unit.client_fake import FakeTransport
from tests.virtual_time import run

Script = Callable[["Bench"], Coroutine[None, None, None]]


class Recorder:
    """Keeps what the scheduler says."""

    def __init__(self) -> None:
        self.calls: list[tuple[Outcome, int]] = []
        self.batches: list[tuple[int, float]] = []
        self.most_items = self.most_bytes = 0
        self.changes: list[bool] = []

    def called(self, outcome: Outcome, seconds: float, rows: int) -> None:
        self.calls.append((outcome, rows))

    def dispatched(self, rows: int, waited_s: float) -> None:
        self.batches.append((rows, waited_s))

    def pending(self, items: int, size: int) -> None:
        self.most_items, self.most_bytes = max(self.most_items, items), max(self.most_bytes, size)

    def breaker(self, is_open: bool) -> None:
        self.changes.append(is_open)


class Bench:
    """A scheduler over the fake, on the running virtual loop."""

    def __init__(self, latency_s: float = 0.1, limits: Limits | None = None, open_s: float = 5.0) -> None:
        self.loop = asyncio.get_running_loop()
        self.fake = FakeTransport(latency_s)
        self.seen = Recorder()
        self.scheduler = Scheduler(
            self.fake,
            limits,
            Retry(first_s=0.1, max_s=1.0),
            BreakerPolicy(open_s=open_s),
            self.seen,
            self.loop.time,
            random.Random(7),
        )

    def ask(self, title: str, budget_s: float = 60.0) -> asyncio.Task[Answer]:
        item = ListingInput(title=title)
        return self.loop.create_task(self.scheduler.answer(item, Deadline(budget_s, self.loop.time)))

    def many(self, count: int, budget_s: float = 60.0) -> list[asyncio.Task[Answer]]:
        return [self.ask(f"t{n}", budget_s) for n in range(count)]


def bench(latency_s: float = 0.1, limits: Limits | None = None, open_s: float = 5.0) -> Callable[[Script], None]:
    """Run a script on a started bench; afterwards nothing may be left pending."""

    def runner(script: Script) -> None:
        async def main() -> None:
            made = Bench(latency_s, limits, open_s)
            await made.scheduler.start()
            await script(made)
            await made.scheduler.close(Deadline(60.0, made.loop.time))
            assert made.scheduler.pending == 0
            assert made.fake.in_flight == 0

        run(main())

    return runner


def test_an_idle_scheduler_adds_no_latency() -> None:
    @bench()
    async def _(b: Bench) -> None:
        begun = b.loop.time()
        await b.ask("a")
        assert b.loop.time() - begun == pytest.approx(0.1)


def test_a_burst_shares_one_batch() -> None:
    @bench()
    async def _(b: Bench) -> None:
        await asyncio.gather(*b.many(32))
        assert [len(batch) for batch in b.fake.batches] == [32]


def test_a_part_of_a_batch_waits_no_longer_than_its_bound_while_others_fly() -> None:
    @bench()
    async def _(b: Bench) -> None:
        first = b.ask("a")
        await asyncio.sleep(0.01)
        begun = b.loop.time()
        await asyncio.gather(first, *b.many(3))
        assert [len(batch) for batch in b.fake.batches] == [1, 3]
        assert b.fake.begun[1] - begun == pytest.approx(0.010)


def test_batches_fly_together_up_to_the_bound_and_are_full_under_load() -> None:
    @bench()
    async def _(b: Bench) -> None:
        await asyncio.gather(*b.many(320))
        assert b.fake.most_in_flight == 4
        assert [len(batch) for batch in b.fake.batches] == [32] * 10


def test_a_batch_holds_listings_of_one_length_class() -> None:
    titles = ["a" * 8, "b" * 200, "好" * 100, "c" * 1000]

    @bench(limits=Limits(max_batch=8))
    async def _(b: Bench) -> None:
        await asyncio.gather(*(b.ask(f"{title}{n}") for n in range(8) for title in titles))
        assert sorted({len(batch) for batch in b.fake.batches}) == [8]
        for batch in b.fake.batches:
            assert len({title[0] for title in batch}) == 1


@pytest.mark.parametrize(
    ("title", "tokens"),
    [("a" * 120, 30), ("a" * 130, 33), ("好" * 45, 32), ("好" * 47, 33), ("a" * 1024, 256)],
    ids=["latin-30", "latin-33", "chinese-32", "chinese-33", "latin-256"],
)
def test_length_classes_follow_the_script(title: str, tokens: int) -> None:
    expected = sum(bound < tokens for bound in CLASS_BOUNDS)
    assert length_class(ListingInput(title=title)) == expected


def test_admission_bounds_listings_and_bytes() -> None:
    limits = Limits(max_batch=4, max_pending=10, max_pending_bytes=200)

    @bench(limits=limits)
    async def _(b: Bench) -> None:
        answers = await asyncio.gather(*b.many(60))
        assert len(answers) == 60
        assert b.seen.most_items <= 10
        assert b.seen.most_bytes <= 200


def test_no_room_within_the_deadline_is_overload() -> None:
    @bench(latency_s=10.0, limits=Limits(max_pending=2))
    async def _(b: Bench) -> None:
        held = b.many(2)
        begun = b.loop.time()
        with pytest.raises(Overloaded, match="2 listings"):
            await b.ask("late", budget_s=1.0)
        assert b.loop.time() - begun == pytest.approx(1.0)
        await asyncio.gather(*held)


def test_a_line_for_admission_has_an_end() -> None:
    @bench(limits=Limits(max_pending=1, max_waiting=3))
    async def _(b: Bench) -> None:
        ends = await asyncio.gather(*b.many(6), return_exceptions=True)
        assert sum(isinstance(end, Overloaded) for end in ends) == 2


def test_a_listing_larger_than_every_bound_is_refused() -> None:
    @bench(limits=Limits(max_pending_bytes=100))
    async def _(b: Bench) -> None:
        with pytest.raises(Rejected, match="100 is the most"):
            await b.ask("x" * 200)


def test_text_that_cannot_be_encoded_is_refused() -> None:
    @bench()
    async def _(b: Bench) -> None:
        with pytest.raises(Rejected, match="cannot be encoded"):
            await b.ask("half \ud83d")
        assert b.fake.batches == []


@pytest.mark.parametrize("error", [Unavailable("gone"), Overloaded("full"), TimedOut("slow")])
def test_retryable_failures_are_tried_again_with_growing_delays(error: InferenceError) -> None:
    @bench(latency_s=0.0)
    async def _(b: Bench) -> None:
        b.fake.failures = [error, error]
        await b.ask("a")
        gaps = [late - early for early, late in itertools.pairwise(b.fake.begun)]
        assert 0.05 <= gaps[0] <= 0.1 <= gaps[1] <= 0.2


def test_retry_stops_at_the_listing_s_deadline_with_the_newest_error() -> None:
    @bench()
    async def _(b: Bench) -> None:
        b.fake.down = True
        begun = b.loop.time()
        with pytest.raises(Unavailable, match="nobody there"):
            await b.ask("a", budget_s=0.5)
        assert b.loop.time() - begun <= 0.5


def test_what_is_not_retryable_is_not_tried_again() -> None:
    @bench()
    async def _(b: Bench) -> None:
        b.fake.failures = [Misconfigured("another model")]
        with pytest.raises(Misconfigured, match="another model"):
            await b.ask("a")
        assert len(b.fake.batches) == 1


def test_a_listing_that_always_breaks_the_server_uses_up_its_tries() -> None:
    @bench()
    async def _(b: Bench) -> None:
        with pytest.raises(InferenceError, match="asked to break"):
            await b.ask("break")
        assert len(b.fake.batches) == Retry().fault_tries


def test_a_batch_too_slow_for_its_timeout_is_halved() -> None:
    @bench(latency_s=0.0)
    async def _(b: Bench) -> None:
        b.fake.failures = [TimedOut("too much at once")]
        await asyncio.gather(*b.many(32))
        assert [len(batch) for batch in b.fake.batches] == [32, 16, 16]


def test_the_breaker_opens_tries_one_call_and_closes_again() -> None:
    @bench(latency_s=0.01, open_s=5.0)
    async def _(b: Bench) -> None:
        b.fake.down = True
        work = b.many(128)
        await asyncio.sleep(2.0)
        assert b.scheduler.breaker_open
        assert not await b.scheduler.ready()
        calls = len(b.seen.calls)
        await asyncio.sleep(2.0)
        assert len(b.seen.calls) == calls  # nobody calls while it is open
        b.fake.down = False
        await asyncio.gather(*work)
        assert b.fake.most_in_flight <= 4
        assert b.seen.changes == [True, False]
        assert not b.scheduler.breaker_open


def test_half_open_lets_one_call_through() -> None:
    @bench(latency_s=3.0, open_s=1.0)
    async def _(b: Bench) -> None:
        b.fake.down = True
        work = b.many(128)
        await asyncio.sleep(0.9)
        b.fake.down = False
        await asyncio.sleep(3.0)
        assert b.fake.in_flight == 1
        await asyncio.gather(*work)


def test_cancelling_takes_a_listing_out_of_the_queue() -> None:
    @bench(limits=Limits(batches_in_flight=1))
    async def _(b: Bench) -> None:
        first = b.ask("first")
        await asyncio.sleep(0.01)
        waiting = b.many(3)
        await asyncio.sleep(0.01)
        waiting[1].cancel()
        await asyncio.gather(first, waiting[0], waiting[2])
        assert b.fake.batches == [["first"], ["t0", "t2"]]
        assert waiting[1].cancelled()


def test_a_call_that_nobody_waits_for_is_cancelled_and_one_with_a_mate_is_not() -> None:
    @bench(latency_s=1.0)
    async def _(b: Bench) -> None:
        pair = b.many(2)
        await asyncio.sleep(0.5)
        pair[0].cancel()
        await asyncio.sleep(0.1)
        assert b.fake.cancelled == 0
        pair[1].cancel()
        await asyncio.sleep(0.1)
        assert (b.fake.cancelled, b.scheduler.pending) == (1, 0)


def test_a_deadline_in_flight_ends_one_listing_only() -> None:
    @bench(latency_s=1.0)
    async def _(b: Bench) -> None:
        short, long = b.ask("short", budget_s=0.5), b.ask("long", budget_s=5.0)
        with pytest.raises(TimedOut):
            await short
        assert isinstance(await long, Answer)


def test_close_gives_up_what_its_deadline_does_not_allow() -> None:
    @bench(latency_s=10.0, limits=Limits(max_batch=1, batches_in_flight=1, max_pending=2))
    async def _(b: Bench) -> None:
        work = b.many(3)  # one in flight, one queued, one waiting for admission
        await asyncio.sleep(0.1)
        await b.scheduler.close(Deadline(1.0, b.loop.time))
        ends = await asyncio.gather(*work, return_exceptions=True)
        assert [type(end) for end in ends] == [Unavailable] * 3
        assert b.loop.time() <= 1.2


def test_before_start_nothing_is_answered() -> None:
    async def main() -> None:
        b = Bench()
        b.fake.down = True
        with pytest.raises(Unavailable):
            await b.scheduler.start()
        with pytest.raises(Unavailable, match="not started"):
            await b.ask("a")
        assert not await b.scheduler.ready()

    run(main())


def test_answers_of_another_model_are_fatal() -> None:
    async def main() -> None:
        reply = (await FakeTransport().infer([msgspec.json.encode(ListingInput(title="a"))], 1.0))[0]
        with pytest.raises(Misconfigured, match="'other' was pinned"):
            decode(reply, "other")
        with pytest.raises(Misconfigured, match="not a ListingAnswer"):
            decode((b'{"type":"what"}', reply[1]), VERSION)
        with pytest.raises(Misconfigured, match="shape"):
            decode((reply[0], reply[1][:3]), VERSION)

    run(main())


TITLES = st.sampled_from(["a", "b" * 300, "好" * 80, "fault", "refuse", "break", "slow"])
FAILURES = st.lists(st.sampled_from([Unavailable("u"), Overloaded("o"), TimedOut("t"), Rejected("r")]), max_size=12)
ASKS = st.lists(st.tuples(TITLES, st.floats(0.0, 2.0), st.floats(0.05, 6.0), st.booleans()), min_size=1, max_size=60)


@settings(max_examples=60, deadline=None)
@given(asks=ASKS, failures=FAILURES)
def test_every_listing_ends_once_within_its_deadline_whatever_happens(
    asks: list[tuple[str, float, float, bool]], failures: list[InferenceError]
) -> None:
    limits = Limits(max_batch=4, batches_in_flight=2, max_pending=8, max_pending_bytes=2000, request_timeout_s=1.0)

    @bench(latency_s=0.05, limits=limits, open_s=0.5)
    async def _(b: Bench) -> None:
        b.fake.failures = list(failures)

        async def one(title: str, after: float, budget: float, give_up: bool) -> None:
            await asyncio.sleep(after)
            begun = b.loop.time()
            task = b.ask(title, budget)
            if give_up:
                b.loop.call_later(budget / 2, task.cancel)
            try:
                answer = await task
            except (Retryable, Rejected):
                pass
            except asyncio.CancelledError:
                assert give_up
            else:
                assert isinstance(answer, Answer)
                assert title not in ("refuse", "break")
            assert b.loop.time() - begun <= budget + 1e-6

        await asyncio.gather(*(one(*ask) for ask in asks))
        assert b.seen.most_items <= 8
        assert b.seen.most_bytes <= 2000
        assert b.fake.most_in_flight <= 2
        await asyncio.sleep(0)
        assert b.scheduler.pending == 0
