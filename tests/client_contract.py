"""What every transport must do, alone and under the scheduler; run on the fake and on the real Triton."""

from __future__ import annotations

import asyncio
import time

import msgspec
import pytest

from inference.client import Answer, Retry, Scheduler, Transport
from inference.contract import EMBEDDING_DIM, ListingAnswer, ListingFault, ListingInput, ListingResult
from inference.deadline import Deadline
from inference.errors import Rejected, ServerFault, TimedOut, Unavailable
from tests.triton.double import SLOW_S, VERSION

BUDGET_S = 20.0
"""Far above what any of these takes; a test that needs it is broken."""

_decode = msgspec.json.Decoder(ListingAnswer).decode


def row(title: str) -> bytes:
    """One row of LISTING."""
    return msgspec.json.encode(ListingInput(title=title))


def title_of(answer: Answer) -> str:
    """The echoed title."""
    assert isinstance(answer.answer, ListingResult)
    return answer.answer.nodes[0].node


class TransportContract:
    """Subclasses give the fixture `transport`, which answers as tests/triton/double.py says."""

    async def test_answers_come_in_the_order_of_the_rows(self, transport: Transport) -> None:
        titles = [f"title {'x' * n}" for n in range(40)]
        replies = await transport.infer([row(t) for t in titles], BUDGET_S)
        answers = [_decode(body) for body, _ in replies]
        assert [a.nodes[0].node for a in answers if isinstance(a, ListingResult)] == titles
        assert all(vector.shape == (EMBEDDING_DIM,) for _, vector in replies)
        assert [int(vector.argmax()) for _, vector in replies] == [len(t) for t in titles]

    async def test_a_fault_is_its_row_s_alone(self, transport: Transport) -> None:
        replies = await transport.infer([row("a"), row("fault"), row("b")], BUDGET_S)
        kinds = [type(_decode(body)) for body, _ in replies]
        assert kinds == [ListingResult, ListingFault, ListingResult]
        assert not replies[1][1].any()

    async def test_the_version_is_pinned_and_named(self, transport: Transport) -> None:
        assert await transport.version() == VERSION
        assert await transport.version() == VERSION
        assert await transport.ready()

    async def test_refused_and_broken_batches_are_told_apart(self, transport: Transport) -> None:
        with pytest.raises(Rejected, match="asked to refuse"):
            await transport.infer([row("a"), row("refuse")], BUDGET_S)
        with pytest.raises(ServerFault, match="asked to break"):
            await transport.infer([row("a"), row("break")], BUDGET_S)
        assert len(await transport.infer([row("a")], BUDGET_S)) == 1

    async def test_a_call_ends_at_its_timeout(self, transport: Transport) -> None:
        begun = time.monotonic()
        with pytest.raises(TimedOut):
            await transport.infer([row("slow")], SLOW_S / 5)
        assert time.monotonic() - begun < SLOW_S
        assert len(await transport.infer([row("a")], BUDGET_S)) == 1

    async def test_a_cancelled_call_ends_at_once_and_harms_no_other(self, transport: Transport) -> None:
        call = asyncio.create_task(transport.infer([row("slow")], BUDGET_S))
        other = asyncio.create_task(transport.infer([row("b")], BUDGET_S))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert len(await other) == 1

    async def test_after_close_calls_are_unavailable(self, transport: Transport) -> None:
        await transport.infer([row("a")], BUDGET_S)
        await transport.close()
        with pytest.raises(Unavailable):
            await transport.infer([row("a")], BUDGET_S)
        assert not await transport.ready()

    async def test_every_caller_gets_its_own_answer(self, transport: Transport) -> None:
        scheduler = await started(transport)
        titles = [f"listing {n} {'long ' * (n % 150)}" for n in range(400)]
        deadline = Deadline(BUDGET_S)
        answers = await asyncio.gather(*(scheduler.answer(ListingInput(title=t), deadline) for t in titles))
        assert [title_of(a) for a in answers] == titles
        assert scheduler.pending == 0

    async def test_a_bad_row_never_fails_its_mates(self, transport: Transport) -> None:
        scheduler = await started(transport)
        titles = [f"t{n}" for n in range(32)]
        titles[5], titles[17], titles[29] = "refuse", "break", "fault"
        deadline = Deadline(BUDGET_S)
        work = (scheduler.answer(ListingInput(title=t), deadline) for t in titles)
        answers = dict(zip(titles, await asyncio.gather(*work, return_exceptions=True), strict=True))
        assert isinstance(answers.pop("refuse"), Rejected)
        assert isinstance(answers.pop("break"), ServerFault)
        fault = answers.pop("fault")
        assert isinstance(fault, Answer)
        assert fault.answer == ListingFault(message="asked for")
        assert {t: title_of(a) for t, a in answers.items() if isinstance(a, Answer)} == {t: t for t in answers}

    async def test_close_finishes_what_is_pending(self, transport: Transport) -> None:
        scheduler = await started(transport)
        work = [
            asyncio.create_task(scheduler.answer(ListingInput(title=f"t{n}"), Deadline(BUDGET_S))) for n in range(9)
        ]
        await asyncio.sleep(0)
        await scheduler.close(Deadline(BUDGET_S))
        assert [title_of(a) for a in await asyncio.gather(*work)] == [f"t{n}" for n in range(9)]
        with pytest.raises(Unavailable, match="closed"):
            await scheduler.answer(ListingInput(title="late"), Deadline(BUDGET_S))


async def started(transport: Transport) -> Scheduler:
    """A scheduler that retries fast."""
    scheduler = Scheduler(transport, retry=Retry(first_s=0.01, max_s=0.05))
    assert await scheduler.start() == VERSION
    return scheduler
