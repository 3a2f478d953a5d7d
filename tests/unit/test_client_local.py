"""The in-process transport: one thread, in order, with the same errors as a server's."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from inference.client import Scheduler
from inference.client.local import LocalTransport
from inference.client.transport import Embedding
from inference.contract import EMBEDDING_DIM, ListingAnswer, ListingFault, ListingInput
from inference.deadline import Deadline
from inference.errors import TimedOut, Unavailable


class Manifest:
    version = "local-0001"


class Engine:
    """Answers with the title, remembers the thread; a title `hold` waits for `go`."""

    def __init__(self) -> None:
        self.manifest = Manifest()
        self.threads = {threading.get_ident()}
        self.go = threading.Event()

    def answer(self, inputs: Sequence[ListingInput]) -> Sequence[tuple[ListingAnswer, Embedding]]:
        self.threads.add(threading.get_ident())
        if any(item.title == "hold" for item in inputs):
            assert self.go.wait(10)
        return [(ListingFault(message=item.title), np.zeros(EMBEDDING_DIM, np.float32)) for item in inputs]


def row(title: str) -> bytes:
    return msgspec.json.encode(ListingInput(title=title))


async def test_one_thread_makes_the_engine_and_answers_in_order() -> None:
    made: list[Engine] = []

    def make() -> Engine:
        made.append(Engine())
        return made[0]

    transport = LocalTransport(make)
    assert not await transport.ready()
    scheduler = Scheduler(transport)
    assert await scheduler.start() == "local-0001"
    assert await scheduler.ready()
    titles = [f"t{n}" for n in range(5)]
    answers = [await scheduler.answer(ListingInput(title=title), Deadline(10.0)) for title in titles]
    assert [answer.answer for answer in answers] == [ListingFault(message=title) for title in titles]
    assert len(made) == 1
    assert len(made[0].threads) == 1
    assert threading.get_ident() not in made[0].threads
    await scheduler.close(Deadline(1.0))


async def test_a_call_ends_at_its_timeout_while_the_thread_goes_on() -> None:
    engine = Engine()
    transport = LocalTransport(lambda: engine)
    begun = time.monotonic()
    with pytest.raises(TimedOut):
        await transport.infer([row("hold")], 0.05)
    assert time.monotonic() - begun < 5
    engine.go.set()
    assert len(await transport.infer([row("next")], 10.0)) == 1
    await transport.close()
    with pytest.raises(Unavailable):
        await transport.infer([row("late")], 1.0)
