"""The replay: order, pace, bound and refusal, with the clock and the producer's wire injected."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import pytest

from schemas.errors import Reason, RecordError
from stream.demo import replay
from stream.demo.record import DemoRecord
from stream.demo.replay import Replay
from stream.errors import SendFailed
from stream.kafka.limits import check_size


class Wire:
    """A producer whose acknowledgements are counted; `limit` as the topic's."""

    def __init__(self, limit: int = 1_000, fail_at: int = -1) -> None:
        self.sent: list[tuple[str, bytes | None]] = []
        self.open = self.most_open = 0
        self._limit = limit
        self._fail_at = fail_at

    async def send(self, topic: str, *, key: bytes | None, value: bytes | None, headers: Any) -> Awaitable[Any]:
        check_size(topic, self._limit, key, value, headers)
        self.sent.append((topic, key))
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        return self._acknowledge(len(self.sent))

    async def _acknowledge(self, number: int) -> None:
        if number == self._fail_at:
            raise SendFailed("no acknowledgement")
        self.open -= 1


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def record(at: int, size: int = 10) -> DemoRecord:
    return DemoRecord(at=at, topic="user-behaviour", key=str(at).encode(), value=b"x" * size, headers=[])


async def test_speed_zero_never_waits_and_keeps_the_order() -> None:
    wire, clock = Wire(), Clock()
    run = Replay(wire, "p.", 0.0, clock, clock.sleep)
    await run.run([record(at) for at in range(0, 5_000_000, 1000)])
    assert clock.slept == []
    assert [key for _, key in wire.sent] == [str(at).encode() for at in range(0, 5_000_000, 1000)]
    assert {topic for topic, _ in wire.sent} == {"p.user-behaviour"}
    assert run.sent == {"user-behaviour": 5000}


async def test_event_time_is_divided_by_the_speed() -> None:
    clock = Clock()
    run = Replay(Wire(), "", 60.0, clock, clock.sleep)
    await run.run([record(1_000_000), record(1_060_000), record(1_060_001), record(1_180_000)])
    assert clock.now == pytest.approx(100.0 + 180 / 60)
    assert clock.slept == pytest.approx([1.0, 2.0])


async def test_no_more_than_the_bound_is_in_flight() -> None:
    wire = Wire()
    await Replay(wire).run([record(at) for at in range(3 * replay.MAX_IN_FLIGHT)])
    assert wire.most_open == replay.MAX_IN_FLIGHT + 1
    assert wire.open == 0


async def test_a_record_over_the_limit_is_refused_with_a_message_and_the_rest_is_sent() -> None:
    wire = Wire(limit=1_000)
    run = Replay(wire)
    await run.run([record(1), record(2, size=5_000), record(3)])
    assert [key for _, key in wire.sent] == [b"1", b"3"]
    (refused, error), *others = run.refused
    assert not others
    assert refused.at == 2
    assert isinstance(error, RecordError)
    assert error.reason is Reason.TOO_LARGE
    assert "user-behaviour has at most 1,000 bytes" in str(error)
    assert run.sent == {"user-behaviour": 2}


async def test_a_failed_send_ends_the_replay() -> None:
    with pytest.raises(SendFailed):
        await Replay(Wire(fail_at=3)).run([record(at) for at in range(10)])
