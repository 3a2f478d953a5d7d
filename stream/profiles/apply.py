"""How one event changes a user's state, and how facts that arrive late are joined to it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from msgspec import UNSET

from schemas.behaviour import Action, BehaviourEvent
from stream.profiles.affinity import add, merge, trim
from stream.profiles.facts import Facts
from stream.profiles.rules import PENDING, WEIGHTS, Rules
from stream.profiles.state import BEFORE_ALL, MeanVector, Pending, SessionState, UserState
from stream.profiles.tiles import count_action, count_category


class Applied(StrEnum):
    """What became of an event; a label of shangxin_events_total."""

    APPLIED = "applied"
    REPLAYED = "replayed"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an event stands in `user-behaviour`, its id, and the broker's append time in ms."""

    epoch: int
    partition: int
    offset: int
    event_id: str
    appended: int


def apply(state: UserState, event: BehaviourEvent, origin: Origin, facts: Facts | None, rules: Rules) -> Applied:
    """Apply one event. A replayed one changes nothing, but its key counts as touched for the caller (rule 1).

    facts: of the event's product, None when they are not known yet; the event then waits in `pending`.
    """
    position = (origin.epoch, origin.offset)
    if position <= state.stamps.get(origin.partition, BEFORE_ALL):
        return Applied.REPLAYED
    state.stamps[origin.partition] = position
    if not _is_new(state, origin.event_id, rules):
        return Applied.DUPLICATE
    state.last = (origin.epoch, origin.partition, origin.offset)
    when = event_time(event, origin.appended)
    _clock(state, when, origin.appended)
    _count(state, event, when)
    _session(state, event, when, rules)
    if event.language:
        add(state.languages, event.language, 1.0, when, rules.half_life)
    if isinstance(event.product_id, str):
        _item(state, event.product_id, event.action, when, rules)
        if facts is None:
            _wait(state, event.product_id, event.action, when)
        else:
            _join(state, facts, event.action, when, rules)
    return Applied.APPLIED


def resolve(state: UserState, product_id: str, facts: Facts, rules: Rules) -> bool:
    """Join the events that waited for this product; whether there were any."""
    waiting = [each for each in state.pending if each.product_id == product_id]
    if not waiting:
        return False
    state.pending = [each for each in state.pending if each.product_id != product_id]
    for each in waiting:
        _join(state, facts, each.action, each.when, rules)
    return True


def event_time(event: BehaviourEvent, appended: int) -> int:
    """Event time, but not after the broker's append: a clock that runs ahead must not age what is known."""
    return min(event.event_time, appended) if appended else event.event_time


def id_hash(event_id: str) -> int:
    """63 bits of the id: among 64 remembered ids of a user two collide once in 10^15 users."""
    return int.from_bytes(hashlib.blake2b(event_id.encode(), digest_size=8).digest(), "big") >> 1


def _is_new(state: UserState, event_id: str, rules: Rules) -> bool:
    if not rules.seen:
        return True
    hashed = id_hash(event_id)
    if hashed in state.seen:
        return False
    state.seen.append(hashed)
    if len(state.seen) > rules.seen:
        del state.seen[0]
    return True


def _clock(state: UserState, when: int, appended: int) -> None:
    state.first = min(state.first, when) if state.first else when
    state.newest = max(state.newest, when)
    state.appended = max(state.appended, appended)


def _count(state: UserState, event: BehaviourEvent, when: int) -> None:
    channels = state.counts.setdefault(event.action, {})
    channels[event.channel] = channels.get(event.channel, 0) + 1
    count_action(state.tiles, event.action, when, state.as_of)
    if event.action == Action.PURCHASE:
        state.purchases += 1
        state.last_purchase = max(state.last_purchase, when)
        if event.price is not UNSET and event.price is not None and isinstance(event.currency, str):
            spent = state.monetary.get(event.currency, 0.0)
            state.monetary[event.currency] = spent + event.price * event.quantity
    elif event.action == Action.CONSENT and isinstance(event.consent, dict):
        state.consent.update(event.consent)


def _session(state: UserState, event: BehaviourEvent, when: int, rules: Rules) -> None:
    """A session ends after the gap, or when upstream names another. A late event of another one is not counted."""
    now, given = state.session, event.session_id if isinstance(event.session_id, str) else None
    if now is not None and _same_session(now, given, when, rules):
        now.started = min(now.started, when)
        now.last = max(now.last, when)
        now.events += 1
    elif now is None or when >= now.last:
        state.session = SessionState(given or f"from-{when}", when, when)


def _same_session(now: SessionState, given: str | None, when: int, rules: Rules) -> bool:
    if given is not None:
        return given == now.id
    return now.started - rules.session_gap <= when <= now.last + rules.session_gap


def _item(state: UserState, product_id: str, action: str, when: int, rules: Rules) -> None:
    """Each product once, with its latest action; by event time, a later arrival first among equals."""
    items = state.items
    for index, held in enumerate(items):
        if held[0] == product_id:
            if held[2] > when:
                return
            del items[index]
            break
    at = next((index for index, held in enumerate(items) if held[2] <= when), len(items))
    items.insert(at, (product_id, action, when))
    del items[rules.last_items :]


def _wait(state: UserState, product_id: str, action: str, when: int) -> None:
    state.pending.append(Pending(product_id, action, when))
    if len(state.pending) > PENDING:
        del state.pending[0]
        state.dropped += 1


def _join(state: UserState, facts: Facts, action: str, when: int, rules: Rules) -> None:
    if facts.category:
        count_category(state.tiles, facts.category[0], when, state.as_of)
    weight = WEIGHTS.get(action)
    if weight is None:
        return
    half_life = rules.half_life
    for node in facts.category:
        add(state.category, node, weight, when, half_life)
    if facts.brand:
        add(state.brand, facts.brand, weight, when, half_life)
    for pair in facts.attributes:
        add(state.attribute, pair, weight, when, half_life)
    if facts.price_band:
        add(state.price_band, facts.price_band, weight, when, half_life)
    for sums in state.sums:
        trim(sums, state.newest, half_life)
    if facts.vector is not None and weight > 0:
        _vector(state, facts, weight, when, half_life)


def _vector(state: UserState, facts: Facts, weight: float, when: int, half_life: float) -> None:
    assert facts.vector is not None
    mean = state.vectors.get(facts.space)
    if mean is None:
        data = bytearray((facts.vector * np.float32(weight)).tobytes())
        state.vectors[facts.space] = MeanVector([weight, when], data)
        return
    array = np.frombuffer(mean.data, np.float32)
    factor = merge(mean.sum, weight, when, half_life)
    if factor != 1.0:
        array *= np.float32(factor)
    late = 2.0 ** (min(0.0, when - mean.sum[1]) / half_life)
    array += facts.vector * np.float32(weight * late)
