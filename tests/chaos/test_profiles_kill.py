"""kill -9 of the profiles worker at each fault point, with no later traffic on any key, and while it joins."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.topics import BEHAVIOUR_BY_PRODUCT
from stream.faults import FaultPoint
from stream.profiles.verify import read_all
from tests.profiles_env import Env, make_events, make_facts

pytestmark = [pytest.mark.broker, pytest.mark.chaos]


@pytest.mark.parametrize("point", list(FaultPoint))
async def test_killed_at_a_fault_point_with_no_later_traffic_nothing_is_lost_or_doubled(
    env: Env, point: FaultPoint
) -> None:
    events = make_events(900)
    await env.list(make_facts())
    await env.send(events)
    # Few commits happen in a second of work, many batches do.
    worker = env.start(WORKER__FAULT=f"{point}:{1 if point is FaultPoint.BEFORE_COMMIT else 3}")
    assert await worker.ended() == -9, worker.text()
    await env.start().ready()
    await env.settled()
    await env.equal_to_recount()
    named = {id_ for id_, event in events if event.product_id}
    written = await read_all(env.settings, BEHAVIOUR_BY_PRODUCT)
    assert {dict(record.headers)["ce_id"].decode() for record in written} == named


async def test_killed_again_and_again_on_disk(env: Env, tmp_path: Path) -> None:
    await env.list(make_facts()[:20])
    await env.send(make_events(1500))
    state = {"WORKER__STATE_DIR": str(tmp_path / "state")}
    for point in (FaultPoint.AFTER_CHANGELOG, FaultPoint.AFTER_PUBLISH, FaultPoint.AFTER_DECODE):
        worker = env.start(WORKER__FAULT=f"{point}:2", **state)
        assert await worker.ended() == -9, worker.text()
    await env.list(make_facts()[20:])
    await env.start(**state).ready()
    await env.settled()
    await env.equal_to_recount()


async def test_killed_between_joining_late_facts_and_publishing_them(env: Env) -> None:
    await env.send(make_events(600))
    worker = env.start()
    await worker.ready()
    await env.settled()
    await env.list(make_facts())
    worker.kill()
    await env.start().ready()
    await env.equal_to_recount()
