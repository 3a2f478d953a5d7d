"""Topics on the broker: made from the one list in schemas.topics, described, and compared with the settings."""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, UnknownTopicOrPartitionError, for_code
from msgspec import Struct

from inference.deadline import Deadline
from schemas.topics import TOPICS, Partitions, Topic
from stream.errors import Fatal, SourceMoved
from stream.kafka.clients import make_admin, start_client
from stream.kafka.limits import topic_limit
from stream.settings import Settings

SHOWN = ("cleanup.policy", "min.insync.replicas", "retention.ms", "max.message.bytes")
COMPACT_LAG_MS = 60_000
"""A live reader sees each record of a compacted topic for at least a minute before it may be merged."""
TOMBSTONE_MS = 7 * 86_400_000
"""A reader that was away for a week still sees the tombstones, as it sees a week of events."""

VISIBLE_S = 15.0
"""A new topic reaches every broker's metadata within a second or two."""
VISIBLE_POLL_S = 0.1


class TopicState(Struct, frozen=True, kw_only=True):
    """One topic as it is on the broker. partitions 0: not there. created: made by this call."""

    name: str
    partitions: int
    replicas: int
    config: dict[str, str]
    created: bool = False


def wanted_partitions(topic: Topic, settings: Settings) -> int:
    """Partition count by the topic's group."""
    topics = settings.topics
    return topics.product_partitions if topic.partitions is Partitions.PRODUCT else topics.user_partitions


def topic_config(topic: Topic, settings: Settings) -> dict[str, str]:
    """Topic-level configuration."""
    config = {
        "min.insync.replicas": str(settings.topics.min_insync_replicas),
        "max.message.bytes": str(topic_limit(topic, settings)),
        "segment.bytes": str(settings.topics.segment_bytes),
        # The append time is the broker's: freshness is measured from it.
        "message.timestamp.type": "LogAppendTime",
    }
    if topic.compact:
        config |= {
            "cleanup.policy": "compact",
            "min.compaction.lag.ms": str(COMPACT_LAG_MS),
            "delete.retention.ms": str(TOMBSTONE_MS),
        }
    else:
        config |= {
            "cleanup.policy": "delete",
            "retention.ms": str(round(settings.topics.retention_hours * 3_600_000)),
        }
    return config


async def create_topics(settings: Settings, only: tuple[Topic, ...] = TOPICS) -> list[TopicState]:
    """Make the topics that are not there. Idempotent.

    Raises SourceMoved when one is there with another partition count, Fatal when the broker refuses.
    """
    admin = make_admin(settings)
    await start_client(admin, settings)
    try:
        made, states = await _create_all(admin, only, settings)
    finally:
        await admin.close()
    for topic, state in zip(only, states, strict=True):
        _check_count(topic, state, settings)
    return [
        TopicState(name=s.name, partitions=s.partitions, replicas=s.replicas, config=s.config, created=s.name in made)
        for s in states
    ]


async def describe_topics(settings: Settings, only: tuple[Topic, ...] = TOPICS) -> list[TopicState]:
    """Each topic as it is on the broker; partitions 0 where it is not there."""
    admin = make_admin(settings)
    await start_client(admin, settings)
    try:
        return await _describe(admin, only, settings)
    finally:
        await admin.close()


async def partition_counts(settings: Settings, topics: tuple[Topic, ...]) -> dict[str, int]:
    """Partition count by full name, 0 where a topic is not there."""
    return {state.name: state.partitions for state in await describe_topics(settings, topics)}


async def _create_all(
    admin: AIOKafkaAdminClient, topics: tuple[Topic, ...], settings: Settings
) -> tuple[set[str], list[TopicState]]:
    """Names made, and all as they are. A topic that is still being deleted counts as there and then is not."""
    deadline, made = Deadline(VISIBLE_S), set[str]()
    while True:
        made |= await _create(admin, topics, settings)
        states = await _describe(admin, topics, settings)
        missing = [state.name for state in states if not state.partitions]
        if not missing:
            return made, states
        if deadline.passed:
            raise Fatal(f"topics made but not seen after {VISIBLE_S:.0f} s: {', '.join(missing)}")
        await asyncio.sleep(VISIBLE_POLL_S)


async def _create(admin: AIOKafkaAdminClient, topics: tuple[Topic, ...], settings: Settings) -> set[str]:
    wanted = [
        NewTopic(
            name=topic.named(settings.kafka.topic_prefix),
            num_partitions=wanted_partitions(topic, settings),
            replication_factor=settings.topics.replication_factor,
            topic_configs=topic_config(topic, settings),
        )
        for topic in topics
    ]
    response = await admin.create_topics(wanted)
    made = set()
    for name, code, *message in response.topic_errors:
        if code == 0:
            made.add(name)
        elif for_code(code) is not TopicAlreadyExistsError:
            why = message[0] if message and message[0] else for_code(code).__name__
            raise Fatal(f"topic {name} could not be made: {why}")
    return made


async def _describe(admin: AIOKafkaAdminClient, topics: tuple[Topic, ...], settings: Settings) -> list[TopicState]:
    names = [topic.named(settings.kafka.topic_prefix) for topic in topics]
    described = {found["topic"]: found for found in await admin.describe_topics(names)}
    there = [name for name in names if _exists(described.get(name))]
    configs = await _configs(admin, there)
    return [_state(name, described[name] if name in there else None, configs.get(name, {})) for name in names]


def _exists(found: dict[str, Any] | None) -> bool:
    if found is None or for_code(found["error_code"]) is UnknownTopicOrPartitionError:
        return False
    if found["error_code"]:
        raise Fatal(f"topic {found['topic']}: {for_code(found['error_code']).__name__}")
    return True


async def _configs(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    found: dict[str, dict[str, str]] = {}
    for response in await admin.describe_configs(asked):
        for _, _, _, name, entries in response.resources:
            found[name] = {entry[0]: entry[1] for entry in entries if entry[0] in SHOWN}
    return found


def _state(name: str, found: dict[str, Any] | None, config: dict[str, str]) -> TopicState:
    partitions = found["partitions"] if found else []
    replicas = len(partitions[0]["replicas"]) if partitions else 0
    return TopicState(name=name, partitions=len(partitions), replicas=replicas, config=config)


def _check_count(topic: Topic, state: TopicState, settings: Settings) -> None:
    wanted = wanted_partitions(topic, settings)
    if state.partitions not in (0, wanted):
        raise SourceMoved(
            f"topic {state.name} has {state.partitions} partitions, the settings say {wanted}: keys would move. "
            f"Set SHANGXIN_TOPICS__{topic.partitions.value.upper()}_PARTITIONS={state.partitions}, or start a new "
            "generation of topics with another SHANGXIN_KAFKA__TOPIC_PREFIX"
        )
