"""Lanes: jobs of one product in order, products side by side, bounded, and cut off without a trace."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from inference.deadline import Deadline
from stream.enrichment.lanes import Lanes


def job(log: list[str], name: str, gate: asyncio.Event | None = None) -> Callable[[], Awaitable[None]]:
    """A job that notes its start and end."""

    async def run() -> None:
        log.append(f"{name}+")
        if gate is not None:
            await gate.wait()
        log.append(f"{name}-")

    return run


async def test_jobs_of_a_lane_keep_their_order_and_lanes_run_side_by_side() -> None:
    log: list[str] = []
    lanes, gate = Lanes(10), asyncio.Event()
    lanes.submit("a", job(log, "a1", gate))
    lanes.submit("a", job(log, "a2"))
    lanes.submit("b", job(log, "b1"))
    assert not await lanes.drain(Deadline(0.05))
    assert log == ["a1+", "b1+", "b1-"]
    gate.set()
    assert await lanes.drain(Deadline(5))
    assert log == ["a1+", "b1+", "b1-", "a1-", "a2+", "a2-"]
    assert lanes.room == 10


async def test_a_drain_leaves_the_reserve_of_its_deadline() -> None:
    lanes, gate = Lanes(2), asyncio.Event()
    lanes.submit("a", job([], "a", gate))
    deadline = Deadline(60)
    assert not await lanes.drain(deadline, reserve_s=59.95)
    assert deadline.left > 55
    lanes.abandon()


async def test_lanes_are_bounded() -> None:
    lanes, gate = Lanes(2), asyncio.Event()
    for name in "ab":
        lanes.submit(name, job([], name, gate))
    assert lanes.room == 0
    assert not await lanes.wait_room(0.05)
    gate.set()
    assert await lanes.wait_room(5)


async def test_abandoned_lanes_stop_and_do_not_count_on_the_new_ones() -> None:
    log: list[str] = []
    lanes, gate = Lanes(3), asyncio.Event()
    lanes.submit("a", job(log, "a1", gate))
    lanes.submit("a", job(log, "a2"))
    await asyncio.sleep(0)
    lanes.abandon()
    lanes.submit("a", job(log, "a3", gate))
    await asyncio.sleep(0)
    assert lanes.jobs == 1
    gate.set()
    assert await lanes.drain(Deadline(5))
    assert log == ["a1+", "a3+", "a3-"]


async def test_a_job_that_raises_is_told_and_holds_its_lane() -> None:
    log: list[str] = []
    lanes = Lanes(3)

    async def fail() -> None:
        raise ValueError("no")

    lanes.submit("a", fail)
    lanes.submit("a", job(log, "a2"))
    assert not await lanes.drain(Deadline(5))
    with pytest.raises(ValueError, match="no"):
        await lanes.failure
    assert log == []
