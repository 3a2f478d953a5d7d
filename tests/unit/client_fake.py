"""A transport that answers as the `listing` double of tests/triton does, with latency and failures on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import numpy as np

from inference.client.transport import Reply
from inference.contract import EMBEDDING_DIM, ListingAnswer, ListingFault, ListingInput, ListingResult, NodeScore
from inference.errors import InferenceError, Rejected, ServerFault, TimedOut, Unavailable
from tests.triton.double import SLOW_S, VERSION


class FakeTransport:
    """latency_s: of each call. failures: errors for the next calls, one each. down: as if nobody listened."""

    def __init__(self, latency_s: float = 0.0) -> None:
        self.latency_s = latency_s
        self.failures: list[InferenceError] = []
        self.down = False
        self.batches: list[list[str]] = []
        self.begun: list[float] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.cancelled = 0
        self._closed = False

    async def infer(self, rows: Sequence[bytes], timeout_s: float) -> list[Reply]:
        self._reachable()
        titles = [msgspec.json.decode(row, type=ListingInput).title for row in rows]
        self.batches.append(titles)
        self.begun.append(asyncio.get_running_loop().time())
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.sleep(SLOW_S if "slow" in titles else self.latency_s)
        except TimeoutError:
            raise TimedOut(f"no answer in {timeout_s} s") from None
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.in_flight -= 1
        return self._answer(titles)

    async def ready(self) -> bool:
        return not self.down and not self._closed

    async def version(self) -> str:
        self._reachable()
        return VERSION

    async def close(self) -> None:
        self._closed = True

    def _reachable(self) -> None:
        if self.down or self._closed:
            raise Unavailable("nobody there")

    def _answer(self, titles: list[str]) -> list[Reply]:
        if self.failures:
            raise self.failures.pop(0)
        if "refuse" in titles:
            raise Rejected("asked to refuse")
        if "break" in titles:
            raise ServerFault("asked to break")
        return [_reply(title) for title in titles]


def _reply(title: str) -> Reply:
    unit = np.zeros(EMBEDDING_DIM, dtype=np.float32)
    answer: ListingAnswer
    if title == "fault":
        answer = ListingFault(message="asked for")
    else:
        unit[len(title) % EMBEDDING_DIM] = 1.0
        answer = ListingResult(
            language="en",
            language_score=1.0,
            nodes=[NodeScore(title, [title], 1.0)],
            attributes=[],
            spans=[],
            keywords=[],
            safe=1.0,
            tokens=len(title),
            truncated=False,
            versions={"model": VERSION},
        )
    return msgspec.json.encode(answer), unit
