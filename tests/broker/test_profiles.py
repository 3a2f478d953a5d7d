"""The profiles worker on a real broker: whole profiles equal a recount, late facts, bad records, restarts."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest

from schemas.behaviour import BehaviourEvent
from schemas.topics import BEHAVIOUR_BY_PRODUCT, BEHAVIOUR_DLQ, BEHAVIOUR_SIDE, USER_BEHAVIOUR, USER_PROFILE_STATE
from stream.kafka.publish import partition_of
from stream.profiles.state import CODEC, UserState
from stream.profiles.verify import read_all
from stream.profiles.weights import UNRESOLVED_KEPT
from tests.profiles_env import HOUR, START, Env, make_events, make_facts
from tests.worker_kit import PARTITIONS, eventually

pytestmark = pytest.mark.broker


def sample(env: Env, outcome: str) -> str:
    """Name of one sample."""
    return f'shangxin_events_total{{outcome="{outcome}",topic="{env.named(USER_BEHAVIOUR)}"}}'


async def test_whole_profiles_equal_a_recount_also_when_facts_come_late(env: Env) -> None:
    facts, events = make_facts(), make_events(2000)
    await env.list(facts[:20])
    await env.send(events)
    worker = env.start()
    await worker.ready()
    await env.settled()
    await env.equal_to_recount()
    await env.list(facts[20:])
    await env.equal_to_recount()
    repeated = len(events) - len({id_ for id_, _ in events})
    assert worker.metric(sample(env, "applied")) == len(events) - repeated
    assert worker.metric(sample(env, "duplicate")) == repeated
    assert await worker.stop() == 0, worker.text()


async def test_facts_that_come_while_the_worker_is_away_are_joined_at_its_start(env: Env) -> None:
    facts, events = make_facts(), make_events(600)
    await env.send(events)
    worker = env.start()
    await worker.ready()
    await env.settled()
    assert await worker.stop() == 0, worker.text()
    await env.list(facts)
    await env.start().ready()
    await env.equal_to_recount()


async def test_facts_and_events_that_come_together_converge(env: Env) -> None:
    facts, events = make_facts(300), make_events(3000, users=1000, products=300)
    # However late the facts are on a busy machine, nobody has more events waiting than are kept.
    assert max(Counter(event.user_id for _, event in events).values()) <= UNRESOLVED_KEPT
    worker = env.start(PROFILES__MAX_BATCH="20")
    await worker.ready()
    await asyncio.gather(env.list(facts), env.send(events))
    await env.settled()
    await env.equal_to_recount()


async def test_events_that_give_way_while_facts_are_late_are_counted(env: Env) -> None:
    events = [
        (
            f"e{n}",
            BehaviourEvent(user_id="u0", action="view", event_time=START + n, product_id="p0", channel="web"),
        )
        for n in range(UNRESOLVED_KEPT + 7)
    ]
    await env.send(events)
    worker = env.start()
    await worker.ready()
    await env.settled()
    assert worker.metric("shangxin_unresolved_dropped_total") == 7


@pytest.mark.parametrize("on_disk", [False, True])
async def test_a_restart_recovers_and_a_replay_changes_nothing(env: Env, tmp_path: Path, on_disk: bool) -> None:
    events = make_events(1200)
    extra = {"WORKER__STATE_DIR": str(tmp_path / "state")} if on_disk else {}
    await env.list(make_facts())
    await env.send(events[:800])
    worker = env.start(**extra)
    await worker.ready()
    await env.settled()
    assert await worker.stop() == 0, worker.text()
    await env.reset()
    worker = env.start(**extra)
    await worker.ready()
    await env.settled()
    await env.equal_to_recount()
    assert worker.metric(sample(env, "replayed")) == 800
    assert worker.metric(sample(env, "applied")) == 0
    await env.send(events[800:])
    await env.settled()
    await env.equal_to_recount()


async def test_each_event_that_names_a_product_is_written_by_product_once(env: Env) -> None:
    events = make_events(500)
    await env.send(events)
    worker = env.start()
    await worker.ready()
    await env.settled()
    written = [json.loads(record.value) for record in await read_all(env.settings, BEHAVIOUR_BY_PRODUCT)]
    expected = Counter(event.product_id for _, event in dict(events).items() if event.product_id)
    assert Counter(each["product_id"] for each in written) == expected
    assert len({(each["origin_partition"], each["origin_offset"]) for each in written}) == len(written)
    for record in await read_all(env.settings, BEHAVIOUR_BY_PRODUCT):
        assert partition_of(record.key, PARTITIONS) == record.partition


async def test_bad_records_are_parked_unknown_actions_set_aside_and_nothing_stops(env: Env) -> None:
    from schemas.behaviour import BEHAVIOUR_TYPE
    from schemas.envelope import Envelope, headers_of

    events = make_events(200)
    head = headers_of(Envelope("x", BEHAVIOUR_TYPE, "test", START))
    good = f'{{"user_id":"u1","action":"view","event_time":{START}}}'
    await env.list(make_facts())
    await env.send(events[:100])
    for key, value, headers in (
        (b"u1", b"not json", head),
        (b"u2", good.encode(), head),
        (b"u1", good.encode(), []),
        (b"u1", good.replace(str(START), "1760000000").encode(), head),
        (b"u1", good.replace('"view"', '"teleport"').encode(), head),
        (b"u1", None, head),
        (None, good.encode(), head),
    ):
        await (await env.queue(key, value, headers, partition=0))
    await env.send(events[100:])
    worker = env.start()
    await worker.ready()
    await env.settled()
    await env.equal_to_recount()
    reasons = [dict(r.headers)["shangxin_reason"].decode() for r in await read_all(env.settings, BEHAVIOUR_DLQ)]
    assert sorted(reasons) == sorted(
        ["not-json", "key-mismatch", "missing-header", "invalid-field", "missing-field", "missing-key"]
    )
    assert len(await read_all(env.settings, BEHAVIOUR_SIDE)) == 1


async def test_a_record_on_the_wrong_partition_is_sent_on(env: Env) -> None:
    from schemas.behaviour import BEHAVIOUR_TYPE
    from schemas.envelope import Envelope, headers_of

    head = headers_of(Envelope("lost", BEHAVIOUR_TYPE, "test", START))
    value = b'{"user_id":"lost","action":"view","event_time":%d}' % (START + HOUR)
    home = partition_of(b"lost", PARTITIONS)
    await (await env.queue(b"lost", value, head, partition=1 - home))
    worker = env.start()
    await worker.ready()
    await eventually("sent on", lambda: worker.metric(sample(env, "forwarded")) == 1)
    await eventually("counted at home", lambda: worker.metric(sample(env, "applied")) == 1)


async def test_two_workers_share_and_one_takes_over(env: Env) -> None:
    events = make_events(1500)
    await env.list(make_facts())
    first, second = env.start(0), env.start(1)
    await first.ready()
    await second.ready()
    await env.send(events[:800])
    await env.settled()
    first.kill()
    await env.send(events[800:])
    await env.settled()
    await env.equal_to_recount()


async def test_a_state_beyond_the_end_of_its_source_is_fatal(env: Env) -> None:
    await env.send(make_events(100))
    worker = env.start()
    await worker.ready()
    await env.settled()
    assert await worker.stop() == 0
    key = next(r.key for r in await read_all(env.settings, USER_PROFILE_STATE) if not r.key.startswith(b"\x00"))
    state = UserState(stamps={partition_of(key, PARTITIONS): (0, 10_000)}, newest=START)
    await env.publisher.publish(env.named(USER_PROFILE_STATE), key=key, value=CODEC.encode(state))
    worker = env.start()
    assert await worker.ended() == 1, worker.text()
    assert "SourceMoved" in worker.text()
    assert "SHANGXIN_KAFKA__SOURCE_EPOCH=1" in worker.text()
