"""A straight recount: what every profile must be, from the source alone, without stamps, batches or stores.

It shares the wire types, the reader of records and the constants with the worker, and nothing of its
arithmetic: decayed values are summed in closed form at the end, windows by scanning all events. An event is
joined with the facts of its product; products whose facts changed in a way that a join can see are named
`ambiguous`, for the worker joined each event with the facts of its time.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from schemas.behaviour import BehaviourEvent
from schemas.errors import RecordError
from schemas.features import UserFeatures
from schemas.profile import Decayed, UserProfile
from schemas.validate import read_behaviour
from schemas.vector import unpack
from stream.batchpath.contract import Record
from stream.features.tiles import WINDOWS
from stream.prices import price_band
from stream.profiles.apply import Rules
from stream.profiles.facts import Facts, read_facts
from stream.profiles.weights import WEIGHTS

TOLERANCE = 1e-6
"""Relative. Sums of thousands of terms in another order differ by 1e-13; a lost view of a fortnight ago in a
thousand differs by 5e-4."""
VECTOR_TOLERANCE = 2.5 / 127
"""A component of an int8 vector: rounding on both sides, and float32 sums in another order."""


@dataclass
class Told:
    """What the source says of one user: its events in the order of its partition, repetitions left out."""

    user_id: str
    events: list[BehaviourEvent] = field(default_factory=list)
    partition: int = 0
    offset: int = -1
    ids: list[tuple[str, str]] = field(default_factory=list)
    places: list[tuple[int, int]] = field(default_factory=list)
    """Offset and append time (ms) of each event."""


@dataclass
class Listed:
    """Facts by product, and the products whose facts changed."""

    facts: dict[str, Facts] = field(default_factory=dict)
    ambiguous: set[str] = field(default_factory=set)


def listed(records: Iterable[Record]) -> Listed:
    """From the records of listing-facts in order."""
    found = Listed()
    for record in records:
        facts = read_facts(record.value) if record.value else None
        if facts is None:
            continue
        product = record.key.decode()
        before = found.facts.get(product)
        if before is not None and _seen_by_join(before) != _seen_by_join(facts):
            found.ambiguous.add(product)
        found.facts[product] = facts
    return found


def told(records: Iterable[Record], rules: Rules) -> dict[str, Told]:
    """From the records of user-behaviour in order; what is no event is left out, as the worker parks it."""
    users: dict[str, Told] = {}
    for record in records:
        try:
            envelope, event = read_behaviour(record.headers, record.key, record.value, record.timestamp)
        except RecordError:
            continue
        user = users.setdefault(event.user_id, Told(event.user_id))
        user.partition, user.offset = record.partition, record.offset
        id_ = (envelope.source, envelope.id)
        if rules.seen_ids and id_ in user.ids[-rules.seen_ids :]:
            continue
        user.ids.append(id_)
        user.events.append(event)
        user.places.append((record.offset, record.timestamp))
    return users


def differences(user: Told, profile: UserProfile, catalogue: Listed, rules: Rules) -> list[str]:
    """Every way in which a profile is not what the source says; empty when it is."""
    return list(_differences(user, profile, catalogue, rules))


def _differences(user: Told, profile: UserProfile, catalogue: Listed, rules: Rules) -> Iterator[str]:
    joined = [(event, catalogue.facts.get(str(event.product_id))) for event in user.events if _says(event)]
    yield from _unequal("stamp", (profile.stamp.partition, profile.stamp.offset), (user.partition, user.offset))
    yield from _unequal("as_of", profile.as_of, max(event.event_time for event in user.events))
    yield from _unequal("counts", profile.counts, _counts(user.events))
    yield from _unequal("unresolved", profile.unresolved, sum(facts is None for _, facts in joined))
    yield from _unequal("last_items", [tuple(_items(i)) for i in profile.last_items], _last_items(user.events, rules))
    yield from _purchases(user.events, profile)
    at = profile.as_of
    for kind, terms in _terms(user.events, joined).items():
        published: Mapping[str, Decayed] = (
            profile.languages if kind == "languages" else getattr(profile.affinities, kind)
        )
        yield from _decayed(kind, published, terms, at, rules)
    yield from _vectors(profile, joined, at, rules)


def _says(event: BehaviourEvent) -> bool:
    return isinstance(event.product_id, str) and event.action in WEIGHTS


def _items(item: object) -> tuple[str, str, int]:
    return (item.product_id, item.action, item.at)  # type: ignore[attr-defined]


def _unequal(what: str, found: object, expected: object) -> Iterator[str]:
    if found != expected:
        yield f"{what}: {found!r}, the source says {expected!r}"


def _counts(events: list[BehaviourEvent]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for event in events:
        found[event.action][event.channel] += 1
    return {action: dict(channels) for action, channels in found.items()}


def _last_items(events: list[BehaviourEvent], rules: Rules) -> list[tuple[str, str, int]]:
    newest: dict[str, tuple[int, int, str]] = {}
    for number, event in enumerate(events):
        if isinstance(event.product_id, str):
            mine = (event.event_time, number, event.action)
            newest[event.product_id] = max(mine, newest.get(event.product_id, mine))
    ranked = sorted(((at, number, action, product) for product, (at, number, action) in newest.items()), reverse=True)
    return [(product, action, at) for at, _, action, product in ranked[: rules.last_items]]


def _purchases(events: list[BehaviourEvent], profile: UserProfile) -> Iterator[str]:
    bought = [event for event in events if event.action == "purchase"]
    yield from _unequal("purchases", profile.rfm.purchases, len(bought))
    yield from _unequal("last_purchase", profile.rfm.last_purchase, max((e.event_time for e in bought), default=0))
    spent: dict[str, list[float]] = defaultdict(list)
    for event in bought:
        if isinstance(event.price, float | int) and isinstance(event.currency, str):
            spent[event.currency].append(event.price * event.quantity)
    yield from _unequal("currencies", set(profile.rfm.monetary), set(spent))
    for currency, amounts in spent.items():
        if not math.isclose(profile.rfm.monetary.get(currency, -1.0), math.fsum(amounts), rel_tol=TOLERANCE):
            yield f"monetary {currency}: {profile.rfm.monetary.get(currency)}, the source says {math.fsum(amounts)}"


Terms = dict[str, list[tuple[float, int]]]


def _terms(events: list[BehaviourEvent], joined: list[tuple[BehaviourEvent, Facts | None]]) -> dict[str, Terms]:
    """Kind and name to every (weight, event time) that adds to it."""
    found: dict[str, Terms] = {
        kind: defaultdict(list) for kind in ("category", "brand", "attribute", "price_band", "languages")
    }
    for event in events:
        if isinstance(event.language, str) and event.language:
            found["languages"][event.language.split("-")[0].lower()].append((1.0, event.event_time))
    for event, facts in joined:
        term = (WEIGHTS[event.action], event.event_time)
        band = price_band(event.price, event.currency) or (facts.price_band if facts else "")
        names = [("price_band", band)]
        if facts is not None:
            names += [("category", node) for node in facts.category] + [("brand", facts.brand)]
            names += [("attribute", name) for name in facts.attributes]
        for kind, name in names:
            if name:
                found[kind][name].append(term)
    return found


def _decayed(kind: str, published: Mapping[str, Decayed], terms: Terms, at: int, rules: Rules) -> Iterator[str]:
    values = {
        name: math.fsum(weight * 2.0 ** ((when - at) / rules.half_life) for weight, when in each)
        for name, each in terms.items()
    }
    scale = max(map(abs, values.values()), default=1.0)
    for name, found in published.items():
        now = found.value * 2.0 ** ((found.at - at) / rules.half_life)
        if not math.isclose(now, values.get(name, 0.0), rel_tol=TOLERANCE, abs_tol=TOLERANCE * scale):
            yield f"{kind} {name}: {now}, the source says {values.get(name)}"
        elif found.at != max(when for _, when in terms[name]):
            yield f"{kind} {name}: at {found.at}, the source says {max(when for _, when in terms[name])}"
    positive = {name: value for name, value in values.items() if value > TOLERANCE * scale}
    if len(published) < min(rules.top, len(positive)):
        yield f"{kind}: {len(published)} names, the source says {min(rules.top, len(positive))}"
    weakest = min((values.get(name, 0.0) for name in published), default=0.0)
    for name, value in positive.items():
        if name not in published and value > weakest + TOLERANCE * scale:
            yield f"{kind} {name}: not there, the source says {value}"


def _vectors(
    profile: UserProfile, joined: list[tuple[BehaviourEvent, Facts | None]], at: int, rules: Rules
) -> Iterator[str]:
    sums: dict[str, NDArray[np.float64]] = {}
    for event, facts in joined:
        weight = WEIGHTS[event.action]
        if facts is not None and facts.vector is not None and weight > 0:
            term = facts.vector.astype(np.float64) * weight * 2.0 ** ((event.event_time - at) / rules.half_life)
            sums[facts.space] = sums[facts.space] + term if facts.space in sums else term
    published = {vector.space: np.array(unpack(vector)) for vector in profile.embeddings}
    if set(published) != set(sums):
        yield f"spaces {sorted(published)}, the source says {sorted(sums)}"
        return
    for space, total in sums.items():
        off = np.abs(published[space] - total / np.linalg.norm(total)).max()
        if off > VECTOR_TOLERANCE:
            yield f"embedding {space}: off by {off}"


def feature_differences(user: Told, features: UserFeatures, catalogue: Listed) -> list[str]:
    """Every way in which a user's windows are not what the source says at their own `as_of`."""
    found: list[str] = []
    for window in WINDOWS:
        begin = (features.as_of - window.length) // window.tile * window.tile
        actions: dict[str, int] = defaultdict(int)
        categories: dict[str, int] = defaultdict(int)
        for event in user.events:
            if event.event_time < begin:
                continue
            actions[event.action] += 1
            facts = catalogue.facts.get(event.product_id) if isinstance(event.product_id, str) else None
            if facts is not None and event.action in WEIGHTS:
                categories[facts.category[0]] += 1
        mine = features.windows[window.name]
        found += _unequal(f"{window.name} actions", mine.actions, dict(actions))
        found += _unequal(f"{window.name} categories", mine.categories, dict(categories))
    return found


def _seen_by_join(facts: Facts) -> tuple[object, ...]:
    vector = b"" if facts.vector is None else facts.vector.tobytes()
    return facts.category, facts.brand, facts.attributes, facts.price_band, facts.space, vector
