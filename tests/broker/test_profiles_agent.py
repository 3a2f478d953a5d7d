"""The ordinary Faust agent and the batch path give the same profiles on the same events."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from schemas.codec import Codec
from schemas.profile import UserProfile
from schemas.topics import USER_PROFILE_STATE, USER_PROFILE_UPDATED, Topic
from stream.kafka.admin import create_topics
from stream.metrics import Meters
from stream.profiles.agent_path import AgentPath
from stream.profiles.projection import Projection
from stream.profiles.verify import read_all
from tests.profiles_env import Env, make_events, make_facts

pytestmark = pytest.mark.broker
_profiles = Codec(UserProfile)


EVENTS = int(os.environ.get("SHANGXIN_TEST_AGENT_EVENTS", "2000"))
"""2,000 in the suite; 20,000 take the agent about a minute."""


async def published(env: Env, topic: Topic) -> dict[bytes, UserProfile]:
    """Newest profile of each user without its time of publication."""
    newest = {record.key: _profiles.decode(record.value) for record in await read_all(env.settings, topic)}
    return {key: msgspec.structs.replace(profile, published=0) for key, profile in newest.items()}


async def test_agent_path_and_batch_path_give_the_same_profiles(env: Env, tmp_path: Path) -> None:
    sink = msgspec.structs.replace(USER_PROFILE_UPDATED, name="agent-profiles")
    changelog = msgspec.structs.replace(USER_PROFILE_STATE, name="agent-state")
    await create_topics(env.settings, (sink, changelog))
    await env.list(make_facts())
    events = make_events(EVENTS, users=200)
    await env.send(events)
    worker = env.start()
    await worker.ready()
    await env.settled()
    await env.equal_to_recount()
    projection = Projection(env.settings, Meters())
    await projection.load()
    try:
        agent = AgentPath(env.settings, projection, tmp_path, env.named(sink), env.named(changelog))
        await agent.run_until(len(events), 60 + len(events) / 100)
    finally:
        await projection.close()
    by_agent, by_batch = await published(env, sink), await published(env, USER_PROFILE_UPDATED)
    assert len(by_batch) > 100
    assert by_agent == by_batch
