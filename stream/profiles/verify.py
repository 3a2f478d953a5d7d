"""Compares everything that the profiles stage published with a recount of its source, on a real broker."""

from __future__ import annotations

from dataclasses import dataclass, field

from aiokafka.structs import TopicPartition

from schemas.codec import Codec
from schemas.features import UserFeatures
from schemas.profile import UserProfile
from schemas.topics import LISTING_FACTS, USER_BEHAVIOUR, USER_FEATURES, USER_PROFILE_UPDATED, Topic
from stream.batchpath.contract import Record
from stream.kafka.admin import partition_counts
from stream.kafka.clients import make_reader, start_client
from stream.profiles.apply import Rules
from stream.profiles.recount import Listed, Told, differences, feature_differences, listed, told
from stream.settings import Settings

POLL_MS = 500

_profiles = Codec(UserProfile)
_features = Codec(UserFeatures)


@dataclass
class Verdict:
    """users: in the source. ambiguous: left out, for facts of a product of theirs changed. wrong: user to why."""

    users: int = 0
    ambiguous: int = 0
    wrong: dict[str, list[str]] = field(default_factory=dict)


async def verify(settings: Settings) -> Verdict:
    """Whether the newest profile and features of every user are what a straight recount gives."""
    rules = Rules.of(settings.profiles)
    catalogue = listed(await read_all(settings, LISTING_FACTS))
    users = told(await read_all(settings, USER_BEHAVIOUR), rules)
    profiles = {r.key.decode(): r.value for r in await read_all(settings, USER_PROFILE_UPDATED)}
    features = {r.key.decode(): r.value for r in await read_all(settings, USER_FEATURES)}
    verdict = Verdict(users=len(users))
    for extra in profiles.keys() - users.keys():
        verdict.wrong[extra] = ["has a profile and no event"]
    for name, user in users.items():
        if any(event.product_id in catalogue.ambiguous for event in user.events):
            verdict.ambiguous += 1
        elif why := _wrong(user, profiles.get(name), features.get(name), catalogue, rules):
            verdict.wrong[name] = why
    return verdict


def _wrong(user: Told, profile: bytes | None, features: bytes | None, catalogue: Listed, rules: Rules) -> list[str]:
    if profile is None or features is None:
        return ["has no profile" if profile is None else "has no features"]
    found = differences(user, _profiles.decode(profile), catalogue, rules)
    return found + feature_differences(user, _features.decode(features), catalogue)


async def read_all(settings: Settings, topic: Topic) -> list[Record]:
    """Everything that a topic holds now, each partition in order of offset."""
    name = topic.named(settings.kafka.topic_prefix)
    count = (await partition_counts(settings, (topic,)))[name]
    reader = make_reader(settings, "shangxin-verify")
    await start_client(reader, settings)
    try:
        tps = [TopicPartition(name, number) for number in range(count)]
        reader.assign(tps)
        await reader.seek_to_beginning(*tps)
        found: list[Record] = []
        for tp, end in (await reader.end_offsets(tps)).items():
            while await reader.position(tp) < end:
                found.extend((await reader.getmany(tp, timeout_ms=POLL_MS)).get(tp, ()))
        return found
    finally:
        await reader.stop()
