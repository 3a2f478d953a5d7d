"""Recount of profiles and user features: whole records against a fold of the source, one event after the other.

What may differ, and is left out of the equality: `published` and `freshness_ms` (wall clock), and, for a user with
an event on a product that was updated meanwhile, those kinds of affinity that the update changed. Such an event
was joined with the facts of its time, which the log does not tell; each of those values must lie between what the
kindest and the unkindest choice of facts give, and some choice must explain the embedding.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.behaviour import BehaviourEvent
from schemas.codec import Codec
from schemas.features import UserFeatures
from schemas.profile import Decayed, UserProfile
from schemas.topics import LISTING_FACTS, USER_BEHAVIOUR, USER_FEATURES, USER_PROFILE_UPDATED
from schemas.vector import unpack
from stream.prices import price_band
from stream.profiles.apply import Origin, Rules, apply_event, digest_of
from stream.profiles.facts import Facts, read_facts
from stream.profiles.publish import features_of, profile_of
from stream.profiles.recount import (
    TOLERANCE,
    VECTOR_TOLERANCE,
    Listed,
    Told,
    differences,
    feature_differences,
    listed,
    told,
)
from stream.profiles.state import UserState
from stream.profiles.verify import read_all
from stream.profiles.weights import WEIGHTS
from stream.settings import Settings
from tests.chaos.system_listings import newest
from tests.chaos.system_plain import INT8_STEP, plain, unequal

SAME = 1e-9
"""Relative, of sums of a few hundred terms; an event that waited for its facts is added later than in the fold."""
CHOICES_MAX = 4096
"""Choices of facts tried for one embedding: of 384 float64 each 12 MB. A user with more is counted as unchecked."""
KINDS = ("category", "brand", "attribute", "price_band")

_profiles = Codec(UserProfile)
_features = Codec(UserFeatures)


@dataclass
class Users:
    """users: in the source. joined_twice: whose affinities were partly compared by bounds. unchecked: whose embedding
    was not compared. wrong: every difference."""

    users: int = 0
    joined_twice: int = 0
    unchecked: int = 0
    wrong: list[str] = field(default_factory=list)


async def recount_users(settings: Settings) -> Users:
    """Compare the newest profile and features of every user with the recount."""
    rules = Rules.of(settings.profiles)
    facts = await read_all(settings, LISTING_FACTS)
    catalogue, versions = listed(facts), facts_versions(facts)
    users = told(await read_all(settings, USER_BEHAVIOUR), rules)
    profiles, features = await newest(settings, USER_PROFILE_UPDATED), await newest(settings, USER_FEATURES)
    marks = _marks(users.values(), settings)
    found = Users(users=len(users))
    found.wrong += [f"{name}: users differ" for name in users.keys() ^ profiles.keys()]
    found.wrong += [f"{name}: users of features differ" for name in users.keys() ^ features.keys()]
    for name, user in users.items():
        profile, windows = profiles.get(name), features.get(name)
        if profile is None or windows is None:
            continue
        one = _User(user, _profiles.decode(profile), _features.decode(windows), catalogue, versions, rules)
        found.joined_twice += bool(one.changed)
        found.unchecked += one.unchecked
        found.wrong += [f"{name} {why}" for why in one.wrong(marks[user.partition])]
    return found


def facts_versions(records: Iterable[Any]) -> dict[str, list[Facts]]:
    """All facts that a product ever had. Two that differ by a rounding of the embedding are one."""
    found: defaultdict[str, list[Facts]] = defaultdict(list)
    for record in records:
        facts = read_facts(record.value) if record.value else None
        if facts is not None and not any(not _changed(known, facts) for known in found[record.key.decode()]):
            found[record.key.decode()].append(facts)
    return dict(found)


def _changed(one: Facts, other: Facts) -> set[str]:
    """What differs: kinds of affinity, `vector`, and `top` for the top-level category."""
    found = {kind for kind in KINDS if _names(kind, one) != _names(kind, other)}
    if one.category[0] != other.category[0]:
        found.add("top")
    if one.space != other.space or not _close(one.vector, other.vector):
        found.add("vector")
    return found


def _close(one: NDArray[np.float32] | None, other: NDArray[np.float32] | None) -> bool:
    if one is None or other is None:
        return one is other
    return bool(np.abs(one - other).max() <= INT8_STEP + 1e-6)


def _names(kind: str, facts: Facts) -> set[str]:
    held = {
        "category": facts.category,
        "brand": (facts.brand,),
        "attribute": facts.attributes,
        "price_band": (facts.price_band,),
    }
    return {name for name in held[kind] if name}


def _marks(users: Iterable[Told], settings: Settings) -> dict[int, int]:
    """Watermark at the end of each partition."""
    found: dict[int, int] = {}
    for user in users:
        times = [min(e.event_time, appended) for e, (_, appended) in zip(user.events, user.places, strict=True)]
        mark = max(times) - round(settings.features.allowed_lateness_s * 1000)
        found[user.partition] = max(mark, found.get(user.partition, 0))
    return found


@dataclass
class _User:
    told: Told
    profile: UserProfile
    features: UserFeatures
    catalogue: Listed
    versions: dict[str, list[Facts]]
    rules: Rules

    def __post_init__(self) -> None:
        self.says = [e for e in self.told.events if isinstance(e.product_id, str) and e.action in WEIGHTS]
        self.changed: set[str] = set()
        for event in self.says:
            versions = self._versions(event)
            for other in versions[1:]:
                self.changed |= _changed(versions[0], other)
        self.choices = self._choices() if "vector" in self.changed else None
        self.unchecked = "vector" in self.changed and self.choices is None

    def wrong(self, mark: int) -> Iterator[str]:
        yield from self._whole(mark)
        for kind in sorted(self.changed & set(KINDS)):
            yield from self._within(kind, getattr(self.profile.affinities, kind))
        if self.choices is not None:
            yield from self._explained(self.choices)
        if not any(event.product_id in self.catalogue.ambiguous for event in self.told.events):
            # The same again by another arithmetic: closed forms over all events.
            yield from differences(self.told, self.profile, self.catalogue, self.rules)
            yield from feature_differences(self.told, self.features, self.catalogue)

    def _whole(self, mark: int) -> Iterator[str]:
        state, name = self._folded(), self.told.user_id
        found, expected = plain(self.profile), plain(profile_of(state, name, self.rules, self.profile.published))
        for record in (found, expected):
            for kind in self.changed & set(KINDS):
                record["affinities"].pop(kind, None)
            if "vector" in self.changed:
                record.pop("embeddings", None)
        yield from unequal(found, expected, SAME, "profile")
        as_of, published = self.features.as_of, self.features.published
        found, expected = plain(self.features), plain(features_of(state, name, as_of, published))
        for record in (found, expected):
            record.pop("freshness_ms", None)
            if "top" in self.changed:
                for window in record["windows"].values():
                    window.pop("categories", None)
        yield from unequal(found, expected, SAME, "features")
        if not as_of <= mark < self.features.valid_until:
            yield f"features: {mark} is not in [{as_of}, {self.features.valid_until})"

    def _folded(self) -> UserState:
        state, partition = UserState(), self.told.partition
        for event, (offset, appended), id_ in zip(self.told.events, self.told.places, self.told.ids, strict=True):
            origin = Origin(partition, (0, offset), appended, digest_of(*id_))
            apply_event(state, event, origin, self.catalogue.facts.get, self.rules)
        state.stamps[partition] = (0, self.told.offset)  # repetitions move the stamp and nothing else
        return state

    def _versions(self, event: BehaviourEvent) -> list[Facts]:
        return self.versions.get(str(event.product_id), [])

    def _worth(self, event: BehaviourEvent) -> float:
        worth: float = WEIGHTS[event.action] * 2.0 ** ((event.event_time - self.profile.as_of) / self.rules.half_life)
        return worth

    def _within(self, kind: str, published: dict[str, Decayed]) -> Iterator[str]:
        low, high = defaultdict[str, float](float), defaultdict[str, float](float)
        for event in self.says:
            worth, said = self._worth(event), self._said(kind, event)
            for name in set().union(*said):
                sure = all(name in names for names in said)
                low[name] += worth if sure else min(0.0, worth)
                high[name] += worth if sure else max(0.0, worth)
        slack = TOLERANCE * max(map(abs, high.values()), default=1.0)
        as_of, half_life = self.profile.as_of, self.rules.half_life
        values = {name: each.value * 2.0 ** ((each.at - as_of) / half_life) for name, each in published.items()}
        for name, value in values.items():
            if not low[name] - slack <= value <= high[name] + slack:
                yield f"{kind} {name}: {value}, recounted {low[name]} to {high[name]}"
        weakest = min(values.values(), default=0.0) if len(values) >= self.rules.top else 0.0
        for name in low.keys() - values.keys():
            if low[name] > weakest + slack:
                yield f"{kind} {name}: not there, recounted {low[name]} to {high[name]}"

    def _said(self, kind: str, event: BehaviourEvent) -> list[set[str]]:
        """Names that the event adds to, for each facts it may have been joined with."""
        own = price_band(event.price, event.currency) if kind == "price_band" else ""
        return [{own}] if own else [_names(kind, facts) for facts in self._versions(event)]

    def _choices(self) -> NDArray[np.float64] | None:
        """Sums of the embeddings, one row a choice of facts for the events; None when they are too many."""
        totals: NDArray[np.float64] | None = None
        for event in self.says:
            vectors = [f.vector.astype(np.float64) for f in self._versions(event) if f.vector is not None]
            if not vectors or WEIGHTS[event.action] <= 0:
                continue
            terms = [vector * self._worth(event) for vector in _distinct(vectors)]
            sums = np.zeros((1, len(terms[0]))) if totals is None else totals
            if len(sums) * len(terms) > CHOICES_MAX:
                return None
            totals = np.concatenate([sums + term for term in terms])
        return totals

    def _explained(self, choices: NDArray[np.float64]) -> Iterator[str]:
        (vector,) = self.profile.embeddings
        units = choices / np.linalg.norm(choices, axis=1, keepdims=True)
        off = float(np.abs(units - np.array(unpack(vector))).max(axis=1).min())
        if off > VECTOR_TOLERANCE:
            yield f"embedding: off by {off} from the nearest of {len(choices)} choices of facts"


def _distinct(vectors: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    found: list[NDArray[np.float64]] = []
    for vector in vectors:
        if not any(np.abs(vector - known).max() <= INT8_STEP + 1e-6 for known in found):
            found.append(vector)
    return found
