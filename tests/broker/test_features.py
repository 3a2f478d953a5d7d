"""The features worker on a real broker: exact after replays, crashes, restarts; expiry; what it refuses."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import msgspec
import pytest

from schemas.behaviour import BehaviourByProduct
from schemas.topics import BEHAVIOUR_BY_PRODUCT, BEHAVIOUR_DLQ, ITEM_FEATURES_STATE
from stream.faults import FaultPoint
from stream.features.state import CODEC, ItemState
from stream.kafka.publish import partition_of
from tests.features_env import START, Env, make_events
from tests.features_naive import HOUR
from tests.worker_kit import PARTITIONS, Worker, eventually

pytestmark = pytest.mark.broker


def sample(env: Env, outcome: str) -> str:
    """Name of one sample."""
    return f'shangxin_events_total{{outcome="{outcome}",topic="{env.named(BEHAVIOUR_BY_PRODUCT)}"}}'


async def test_windows_equal_a_recount_and_expire_with_the_watermark(env: Env) -> None:
    events = make_events(2000)
    await env.send(events[:1500])
    worker = env.start()
    await worker.ready()
    await env.equal_to_recount(events[:1500])
    await env.send(events[1500:])
    await env.settled()
    await env.equal_to_recount(events)
    assert worker.metric(sample(env, "applied")) == 2000
    # A day of silence for all but one item of each partition: everything else must fall to zero.
    last = [
        next(e for e in events if partition_of(e.product_id.encode(), PARTITIONS) == number)
        for number in range(PARTITIONS)
    ]
    later = [
        type(e)(
            product_id=e.product_id,
            user_id=e.user_id,
            action="view",
            event_time=START + 80 * HOUR,
            origin_partition=7,
            origin_offset=number,
        )
        for number, e in enumerate(last)
    ]
    await env.send(later)
    await env.equal_to_recount([*events, *later])
    assert await worker.stop() == 0


@pytest.mark.parametrize("point", list(FaultPoint))
async def test_killed_at_a_fault_point_with_no_later_traffic_nothing_is_lost_or_doubled(
    env: Env, point: FaultPoint
) -> None:
    events = make_events(1200)
    await env.send(events)
    worker = env.start(WORKER__FAULT=f"{point}:3" if point is not FaultPoint.BEFORE_COMMIT else f"{point}:1")
    assert await worker.ended() == -9, worker.text()
    worker = env.start()
    await worker.ready()
    await env.settled()
    await env.equal_to_recount(events)


async def test_killed_again_and_again_while_expiring(env: Env) -> None:
    events = make_events(3000, products=300, hours=200)
    await env.send(events)
    for number in (2, 5, 9):
        worker = env.start(WORKER__FAULT=f"after-publish:{number}")
        assert await worker.ended() == -9, worker.text()
    worker = env.start()
    await worker.ready()
    await env.settled()
    await env.equal_to_recount(events)


@pytest.mark.parametrize("on_disk", [False, True])
async def test_a_restart_recovers_and_a_replay_changes_nothing(env: Env, tmp_path: Path, on_disk: bool) -> None:
    events = make_events(1500)
    extra = {"WORKER__STATE_DIR": str(tmp_path / "state")} if on_disk else {}
    await env.send(events[:1000])
    worker = env.start(0, **extra)
    await worker.ready()
    await env.settled()
    assert await worker.stop() == 0, worker.text()
    await env.reset()
    worker = env.start(0, **extra)
    await worker.ready()
    await env.settled()
    await env.equal_to_recount(events[:1000])
    counted = sum(event.action != "click" for event in events[:1000])
    assert worker.metric(sample(env, "replayed")) == counted
    await env.send(events[1000:])
    await env.settled()
    await env.equal_to_recount(events)


async def test_events_that_the_stage_before_wrote_twice_count_once(env: Env) -> None:
    events = make_events(800)
    await env.send(events[:500])
    await env.send(events[300:])
    worker = env.start()
    await worker.ready()
    await env.settled()
    await env.equal_to_recount(events)
    assert worker.metric(sample(env, "duplicate")) == sum(e.action != "click" for e in events[300:500])


async def test_two_workers_share_and_one_takes_over(env: Env) -> None:
    events = make_events(1500)
    first, second = env.start(0), env.start(1)
    await first.ready()
    await second.ready()
    await env.send(events[:800])
    await env.settled()
    first.kill()
    await env.send(events[800:])
    await env.settled()
    await env.equal_to_recount(events)


async def test_what_is_no_event_is_parked_with_the_reason_and_stops_nothing(env: Env) -> None:
    events = make_events(100)
    await env.send(events[:50])
    good = b'{"product_id":"p1","user_id":"u","action":"view","event_time":1760000000000,'
    for key, value in (
        (b"p1", b"not json"),
        (b"p2", good + b'"origin_partition":9,"origin_offset":0}'),
        (None, good + b'"origin_partition":9,"origin_offset":1}'),
        (b"p1", good + b'"origin_partition":9}'),
        (b"p1", None),
    ):
        await (await env.queue(key, value, partition=0))
    await env.send(events[50:])
    worker = env.start()
    await worker.ready()
    await env.settled()
    await env.equal_to_recount(events)
    reasons = [dict(record.headers)["shangxin_reason"].decode() for record in await env.records(BEHAVIOUR_DLQ)]
    assert sorted(reasons) == ["key-mismatch", "missing-field", "missing-key", "not-json", "not-json"]


async def test_a_record_on_the_wrong_partition_is_sent_on(env: Env) -> None:
    events = make_events(60)
    await env.send(events)
    event = BehaviourByProduct(
        product_id="lost", user_id="u", action="view", event_time=START + HOUR, origin_partition=9, origin_offset=0
    )
    home = partition_of(b"lost", PARTITIONS)
    await (await env.queue(b"lost", msgspec.json.encode(event), partition=1 - home))
    worker = env.start()
    await worker.ready()
    await eventually("sent on and counted", lambda: worker.metric(sample(env, "forwarded")) == 1)
    await env.settled()
    found = await env.newest()
    assert found["lost"].totals.views == 1


async def test_a_state_beyond_the_end_of_its_source_is_fatal(env: Env, kafka: str) -> None:
    events = make_events(300)
    await env.send(events)
    worker = env.start()
    await worker.ready()
    await env.settled()
    assert await worker.stop() == 0
    states = await env.records(ITEM_FEATURES_STATE)
    state = CODEC.encode(ItemState(stamp=(0, 10_000)))
    key = next(record.key for record in states if not record.key.startswith(b"\x00"))
    await env.publisher.publish(env.named(ITEM_FEATURES_STATE), key=key, value=state)
    worker = env.start()
    assert await worker.ended() == 1
    assert "SourceMoved" in worker.text()
    assert "SHANGXIN_KAFKA__SOURCE_EPOCH=1" in worker.text()


async def test_a_worker_that_slept_past_its_session_overwrites_nothing(env: Env) -> None:
    events = make_events(6000)
    first = env.start(0)
    await first.ready()
    sending = asyncio.create_task(env.send(events[:5000]))
    await eventually("in the middle of its work", lambda: first.metric(sample(env, "applied")) > 0)
    first.process.send_signal(signal.SIGSTOP)
    second = env.start(1)
    await sending
    await env.send(events[5000:])
    await second.ready()  # it owns everything once the first one's session is over
    await env.settled()
    first.process.send_signal(signal.SIGCONT)
    again = env.start(0) if await ended_or_ready(first) else first
    await again.ready()
    await env.settled()
    await env.equal_to_recount(events)


async def ended_or_ready(worker: Worker) -> bool:
    """True when it ended (and its supervisor would start it again), False when it takes work again."""

    def decided() -> bool:
        return worker.process.poll() is not None or worker.get("/readyz")[0] == 200

    await eventually("ended or ready", decided)
    return worker.process.poll() is not None
