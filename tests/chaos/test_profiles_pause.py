"""SIGSTOP past the session timeout, a successor, SIGCONT: no older snapshot over a newer one (rule 4)."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from schemas.codec import Codec
from schemas.profile import UserProfile
from schemas.topics import USER_PROFILE_STATE, USER_PROFILE_UPDATED
from stream.profiles.state import CODEC
from stream.profiles.verify import read_all
from tests.profiles_env import Env, make_events, make_facts
from tests.worker_kit import Worker, eventually

pytestmark = [pytest.mark.broker, pytest.mark.chaos]

_profiles = Codec(UserProfile)


async def assert_snapshots_never_go_back(env: Env) -> None:
    """In the order of the log, every key's stamps only rise; in the profiles and in the changelog."""
    newest: dict[bytes, int] = {}
    for record in await read_all(env.settings, USER_PROFILE_UPDATED):
        offset = _profiles.decode(record.value).stamp.offset
        assert offset >= newest.get(record.key, -1), f"{record.key!r}: {offset} after {newest[record.key]}"
        newest[record.key] = offset
    newest.clear()
    for record in await read_all(env.settings, USER_PROFILE_STATE):
        if record.key.startswith(b"\x00"):
            continue
        offset = max(offset for _, offset in CODEC.decode(record.value).stamps.values())
        assert offset >= newest.get(record.key, -1), f"{record.key!r}: {offset} after {newest[record.key]}"
        newest[record.key] = offset


def lag_free(worker: Worker) -> bool:
    """Whether the worker is ready and owns something."""
    return worker.get("/readyz")[0] == 200


async def test_a_paused_worker_writes_nothing_over_its_successor(env: Env) -> None:
    await env.list(make_facts())
    events = make_events(4000)
    first = env.start(0, PROFILES__MAX_BATCH="50")
    await first.ready()
    await env.send(events[:1500])
    await eventually("work begun", lambda: first.metric(_handled(env)) > 0)
    first.pause()  # with batches in hand and sends on the way
    await env.send(events[1500:2500])
    second = env.start(1, PROFILES__MAX_BATCH="50")
    await second.ready()
    await env.settled()
    first.resume()
    await env.send(events[2500:])
    # Fenced in the middle of a batch it ends non-zero; between batches it may join again instead.
    await eventually("ended or back", lambda: first.process.poll() is not None or lag_free(first))
    assert first.process.poll() in (None, 1), first.text()
    await env.settled()
    await env.equal_to_recount()
    await assert_snapshots_never_go_back(env)


async def test_paused_again_and_again_under_traffic(env: Env) -> None:
    await env.list(make_facts())
    events = make_events(3000)
    workers = [env.start(0, PROFILES__MAX_BATCH="50"), env.start(1, PROFILES__MAX_BATCH="50")]
    for worker in workers:
        await worker.ready()
    for turn in range(3):
        await env.send(events[turn * 1000 : turn * 1000 + 1000])
        victim = next(worker for worker in workers if worker.process.poll() is None)
        victim.pause()
        await asyncio.sleep(env.settings.kafka.session_timeout_s + 2)  # the pause is what is tested
        victim.resume()
        for index in (0, 1):
            if workers[index].process.poll() is not None:
                workers[index] = env.start(index, PROFILES__MAX_BATCH="50")
    for index in (0, 1):
        if workers[index].process.poll() is not None:
            workers[index] = env.start(index)
    await env.settled()
    await env.equal_to_recount()
    await assert_snapshots_never_go_back(env)


def _handled(env: Env) -> str:
    topic = msgspec.json.encode(f"{env.settings.kafka.topic_prefix}user-behaviour").decode()
    return f'shangxin_events_total{{outcome="applied",topic={topic}}}'
