"""A straight recount: the profile of every user from its events, the plain way, to check whole profiles against.

No state, no stamps, no batches, no running sums: each figure is computed from the list of a user's events
at the end. What it shares with the worker are the numbers (weights, half-life, bounds) and the record's type.
It keeps every affinity, where the worker drops the weakest beyond a bound that exceeds what is published.
"""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import UNSET

from schemas.behaviour import Action, BehaviourEvent
from schemas.profile import Affinities, Decayed, EventStamp, LastItem, Rfm, Session, UserProfile
from schemas.vector import Vector
from stream.profiles.apply import Origin, event_time
from stream.profiles.facts import Facts
from stream.profiles.rules import DAY_MS, WEIGHTS, Rules
from stream.profiles.snapshot import BROWSER_VIEWS, LAPSED_DAYS, NEW_DAYS

RELATIVE: Final = 1e-5
ABSOLUTE: Final = 2e-6
"""Sums in another order differ in the last bits, and are published with six decimals."""

Seen = tuple[BehaviourEvent, Origin]


def recount(events: Iterable[Seen], facts: Mapping[str, Facts], rules: Rules) -> dict[str, UserProfile]:
    """Profiles by user. events: in the order of their offsets within each partition; facts by product."""
    users: dict[str, list[Seen]] = defaultdict(list)
    for event, origin in events:
        ids = [o.event_id for _, o in users[event.user_id][-rules.seen :]] if rules.seen else []
        if origin.event_id not in ids:
            users[event.user_id].append((event, origin))
    return {user: _profile(user, own, facts, rules) for user, own in users.items()}


def differences(found: UserProfile, wanted: UserProfile) -> list[str]:
    """Where two profiles differ, a line each; empty when they say the same. `published` does not count."""
    left, right = (msgspec.to_builtins(each) for each in (found, wanted))
    left.pop("published"), right.pop("published")
    return list(_differences("$", left, right))


def _profile(user: str, own: Sequence[Seen], facts: Mapping[str, Facts], rules: Rules) -> UserProfile:
    timed = [(event_time(event, origin.appended), event) for event, origin in own]
    as_of, first = max(when for when, _ in timed), min(when for when, _ in timed)
    purchases = [(when, event) for when, event in timed if event.action == Action.PURCHASE]
    joined = [
        (when, WEIGHTS[event.action], facts[str(event.product_id)])
        for when, event in timed
        if event.action in WEIGHTS and event.product_id in facts
    ]
    waiting = sum(1 for _, event in timed if isinstance(event.product_id, str) and event.product_id not in facts)
    half_life = round(rules.half_life)
    last = own[-1][1]
    counts: dict[str, dict[str, int]] = {}
    for _, event in timed:
        channels = counts.setdefault(event.action, {})
        channels[event.channel] = channels.get(event.channel, 0) + 1
    monetary: dict[str, float] = {}
    for _, event in purchases:
        if isinstance(event.price, float) and isinstance(event.currency, str):
            monetary[event.currency] = monetary.get(event.currency, 0.0) + event.price * event.quantity
    return UserProfile(
        user_id=user,
        stamp=EventStamp(last.epoch, last.partition, last.offset),
        as_of=as_of,
        published=0,
        half_life_ms={"affinities": half_life, "embeddings": half_life, "languages": half_life},
        affinities=Affinities(
            category=_sums(((t, w, node) for t, w, f in joined for node in f.category), as_of, rules),
            brand=_sums(((t, w, f.brand) for t, w, f in joined if f.brand), as_of, rules),
            attribute=_sums(((t, w, pair) for t, w, f in joined for pair in f.attributes), as_of, rules),
            price_band=_sums(((t, w, f.price_band) for t, w, f in joined if f.price_band), as_of, rules),
        ),
        counts=counts,
        rfm=Rfm(
            last_purchase=max((when for when, _ in purchases), default=0),
            purchases=len(purchases),
            monetary={currency: round(spent, 2) for currency, spent in monetary.items()},
        ),
        last_items=_items(timed, rules),
        session=_session(timed, rules),
        segments=_segments(timed, purchases, first, as_of),
        embeddings=_vectors(joined, rules),
        languages=_sums(((t, 1.0, str(e.language)) for t, e in timed if e.language), as_of, rules),
        consent=_consent(timed),
        unresolved=waiting,
    )


def _sums(weighted: Iterable[tuple[int, float, str]], as_of: int, rules: Rules) -> dict[str, Decayed]:
    by_name: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for when, weight, name in weighted:
        by_name[name].append((when, weight))
    found = {}
    for name, each in by_name.items():
        at = max(when for when, _ in each)
        found[name] = (sum(weight * 2.0 ** (-(at - when) / rules.half_life) for when, weight in each), at)
    ranked = sorted(found, key=lambda n: (-found[n][0] * 2.0 ** (-(as_of - found[n][1]) / rules.half_life), n))
    return {name: Decayed(round(found[name][0], 6), found[name][1]) for name in ranked[: rules.top]}


def _items(timed: Sequence[tuple[int, BehaviourEvent]], rules: Rules) -> list[LastItem]:
    newest: dict[str, tuple[int, int, str]] = {}
    for number, (when, event) in enumerate(timed):
        if isinstance(event.product_id, str):
            newest[event.product_id] = max(newest.get(event.product_id, (0, 0, "")), (when, number, event.action))
    ranked = sorted(newest.items(), key=lambda each: each[1][:2], reverse=True)
    return [LastItem(product, action, when) for product, (when, _, action) in ranked[: rules.last_items]]


def _session(timed: Sequence[tuple[int, BehaviourEvent]], rules: Rules) -> Session:
    """Sessions depend on arrival by definition (a late event of another session is not counted), so in order."""
    name, started, last, events = "", 0, -1, 0
    for when, event in timed:
        given = event.session_id if isinstance(event.session_id, str) else None
        near = started - rules.session_gap <= when <= last + rules.session_gap
        if events and (given == name if given is not None else near):
            started, last, events = min(started, when), max(last, when), events + 1
        elif when >= last:
            name, started, last, events = given or f"from-{when}", when, when, 1
    return Session(id=name, started=started, last=last, events=events)


def _segments(
    timed: Sequence[tuple[int, BehaviourEvent]], purchases: Sequence[Any], first: int, as_of: int
) -> list[str]:
    actions = [event.action for _, event in timed]
    bought = bool(purchases)
    belongs = {
        "new": as_of - first < NEW_DAYS * DAY_MS,
        "buyer": bought,
        "repeat-buyer": len(purchases) > 1,
        "lapsed": bought and as_of - max(when for when, _ in purchases) > LAPSED_DAYS * DAY_MS,
        "browser": not bought and actions.count(Action.VIEW) >= BROWSER_VIEWS,
        "cart-abandoner": not bought and Action.CART_ADD in actions,
    }
    return sorted(name for name, is_in in belongs.items() if is_in)


def _vectors(joined: Sequence[tuple[int, float, Facts]], rules: Rules) -> list[Vector]:
    spaces = sorted({f.space for _, w, f in joined if f.vector is not None and w > 0})
    found = []
    for space in spaces:
        own = [(t, w, f.vector) for t, w, f in joined if f.space == space and f.vector is not None and w > 0]
        at = max(when for when, _, _ in own)
        total = sum(
            np.float64(weight * 2.0 ** (-(at - when) / rules.half_life)) * vector.astype(np.float64)
            for when, weight, vector in own
        )
        steps = np.rint(np.asarray(total) / (np.linalg.norm(total) or 1.0) * 127.0).astype(np.int8)
        found.append(Vector(space, "int8", len(steps), base64.b64encode(steps.tobytes()).decode()))
    return found


def _consent(timed: Sequence[tuple[int, BehaviourEvent]]) -> dict[str, bool]:
    found: dict[str, bool] = {}
    for _, event in timed:
        if event.action == Action.CONSENT and event.consent is not UNSET:
            found |= event.consent or {}
    return found


def _differences(path: str, left: Any, right: Any) -> Iterable[str]:
    if isinstance(left, dict) and isinstance(right, dict):
        if left.get("dtype") == "int8" and right.get("dtype") == "int8":
            yield from _vector_difference(path, left, right)
            return
        for key in sorted(left.keys() | right.keys()):
            yield from _differences(f"{path}.{key}", left.get(key), right.get(key))
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for number, (a, b) in enumerate(zip(left, right, strict=True)):
            yield from _differences(f"{path}[{number}]", a, b)
    elif isinstance(left, float) and isinstance(right, float):
        if abs(left - right) > ABSOLUTE + RELATIVE * abs(right):
            yield f"{path}: {left} is not {right}"
    elif left != right:
        yield f"{path}: {left!r} is not {right!r}"


def _vector_difference(path: str, left: dict[str, Any], right: dict[str, Any]) -> Iterable[str]:
    """Components are rounded to 1/127: a sum in another order may fall on the other side."""
    a, b = (np.frombuffer(base64.b64decode(each["data"]), np.int8).astype(int) for each in (left, right))
    if left["space"] != right["space"] or len(a) != len(b) or int(np.abs(a - b).max(initial=0)) > 1:
        yield f"{path}: vectors differ"
