"""How an event changes a user's state. Pure: the same events and facts give the same state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b

import numpy as np

from schemas.behaviour import Action, BehaviourEvent
from stream.features.tiles import WINDOWS
from stream.prices import price_band
from stream.profiles.decay import add, cut, merged
from stream.profiles.facts import Facts
from stream.profiles.state import Mean, SessionState, Stamp, Unresolved, UserState, UserTile
from stream.profiles.weights import AFFINITIES_KEPT, AFFINITIES_SLACK, ID_DIGEST, UNRESOLVED_KEPT, WEIGHTS
from stream.settings import ProfileSettings

DAY_MS = 86_400_000
FactsOf = Callable[[str], Facts | None]


@dataclass(frozen=True)
class Rules:
    """The settings that application depends on; half_life and session_gap in ms."""

    half_life: float
    session_gap: int
    last_items: int
    seen_ids: int
    top: int

    @classmethod
    def of(cls, settings: ProfileSettings) -> Rules:
        """From the settings."""
        return cls(
            half_life=settings.half_life_days * DAY_MS,
            session_gap=round(settings.session_gap_s * 1000),
            last_items=settings.last_items,
            seen_ids=settings.seen_ids,
            top=settings.top_affinities,
        )


class Applied(StrEnum):
    """What became of an event; a label of shangxin_events_total."""

    APPLIED = "applied"
    REPLAYED = "replayed"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an event stands: partition, (epoch, offset), the broker's append time (ms), and its id's digest."""

    partition: int
    stamp: Stamp
    appended: int
    digest: int


def digest_of(source: str, id_: str) -> int:
    """CloudEvents ids are unique within their source."""
    return int.from_bytes(blake2b(f"{source}\x00{id_}".encode(), digest_size=ID_DIGEST).digest(), "big")


def apply_event(state: UserState, event: BehaviourEvent, origin: Origin, facts_of: FactsOf, rules: Rules) -> Applied:
    """Apply one event. A replayed or repeated one leaves everything but the stamp as it was."""
    if origin.stamp <= state.stamps.get(origin.partition, (0, -1)):
        return Applied.REPLAYED
    state.stamps[origin.partition] = origin.stamp
    if origin.digest in state.seen:
        return Applied.DUPLICATE
    if rules.seen_ids:
        state.seen[origin.digest] = origin.stamp[1]
        if len(state.seen) > rules.seen_ids:
            del state.seen[next(iter(state.seen))]
    when = event.event_time
    state.newest = max(state.newest, when)
    state.appended = max(state.appended, origin.appended)
    _count(state, event)
    _session(state, event, rules)
    if isinstance(event.language, str) and event.language:
        add(state.languages, event.language.split("-")[0].lower(), 1.0, when, rules.half_life)
        cut(state.languages, AFFINITIES_KEPT, AFFINITIES_SLACK, state.newest, rules.half_life)
    if isinstance(event.consent, dict):
        _consent(state, event.consent, when)
    if isinstance(event.product_id, str):
        _touch(state, event, event.product_id, facts_of, rules)
    return Applied.APPLIED


def was_repeated(state: UserState, origin: Origin) -> bool:
    """Whether an event that was handled before was dropped then, as a repetition of another one."""
    return state.seen.get(origin.digest, origin.stamp[1]) != origin.stamp[1]


def resolve(state: UserState, facts_of: FactsOf, rules: Rules) -> int:
    """Join the events that waited for facts that are there now; returns how many."""
    left = []
    for waiting in state.unresolved:
        facts = facts_of(waiting.product_id)
        if facts is None:
            left.append(waiting)
        else:
            _join(state, waiting, facts, rules)
    joined = len(state.unresolved) - len(left)
    state.unresolved = left
    return joined


def _count(state: UserState, event: BehaviourEvent) -> None:
    channels = state.counts.setdefault(event.action, {})
    channels[event.channel] = channels.get(event.channel, 0) + 1
    for tiles, window in zip(state.tiles, WINDOWS, strict=True):
        if event.event_time >= window.begins(state.as_of):
            actions = _tile(tiles, event.event_time // window.tile).actions
            actions[event.action] = actions.get(event.action, 0) + 1
    if event.action == Action.PURCHASE:
        state.purchases += 1
        state.last_purchase = max(state.last_purchase, event.event_time)
        if isinstance(event.price, float | int) and isinstance(event.currency, str):
            spent = state.monetary.get(event.currency, 0.0) + event.price * event.quantity
            state.monetary[event.currency] = spent


def _tile(tiles: dict[int, UserTile], number: int) -> UserTile:
    found = tiles.get(number)
    if found is None:
        found = tiles[number] = UserTile({}, {})
    return found


def _session(state: UserState, event: BehaviourEvent, rules: Rules) -> None:
    """The newest session only: an event of an earlier one does not bring it back."""
    when, now = event.event_time, state.session
    given = event.session_id if isinstance(event.session_id, str) else None
    if now is not None:
        same = now.id == given if given is not None and now.given else abs(when - now.last) <= rules.session_gap
        if same and when - now.last <= rules.session_gap and now.started - when <= rules.session_gap:
            now.started, now.last = min(now.started, when), max(now.last, when)
            now.events += 1
            return
        if when < now.last:
            return
    state.session = SessionState(given or f"at-{when}", given is not None, when, when, 1)


def _consent(state: UserState, given: dict[str, bool], when: int) -> None:
    for purpose, granted in given.items():
        if when >= state.consent.get(purpose, (False, -1))[1]:
            state.consent[purpose] = (granted, when)


def _touch(state: UserState, event: BehaviourEvent, product: str, facts_of: FactsOf, rules: Rules) -> None:
    when = event.event_time
    _last_item(state, product, event.action, when, rules.last_items)
    weight = WEIGHTS.get(event.action)
    if weight is None:
        return
    band = price_band(event.price, event.currency)
    if band:
        add(state.price_band, band, weight, when, rules.half_life)
        cut(state.price_band, AFFINITIES_KEPT, AFFINITIES_SLACK, state.newest, rules.half_life)
    waiting = Unresolved(product, event.action, when, bool(band))
    facts = facts_of(product)
    if facts is None:
        state.unresolved.append(waiting)
        del state.unresolved[:-UNRESOLVED_KEPT]
    else:
        _join(state, waiting, facts, rules)


def _last_item(state: UserState, product: str, action: str, when: int, keep: int) -> None:
    """Newest first, each product once; the later arrival goes first among equal times."""
    items = state.last_items
    for index, (known, _, at) in enumerate(items):
        if known == product:
            if at > when:
                return
            del items[index]
            break
    place = next((i for i, (_, _, at) in enumerate(items) if at <= when), len(items))
    items.insert(place, (product, action, when))
    del items[keep:]


def _join(state: UserState, event: Unresolved, facts: Facts, rules: Rules) -> None:
    weight, when, half_life = WEIGHTS[event.action], event.when, rules.half_life
    for node in facts.category:
        add(state.category, node, weight, when, half_life)
    if facts.brand:
        add(state.brand, facts.brand, weight, when, half_life)
    for name in facts.attributes:
        add(state.attribute, name, weight, when, half_life)
    if facts.price_band and not event.priced:
        add(state.price_band, facts.price_band, weight, when, half_life)
    for held in (state.category, state.brand, state.attribute, state.price_band):
        cut(held, AFFINITIES_KEPT, AFFINITIES_SLACK, state.newest, half_life)
    for tiles, window in zip(state.tiles, WINDOWS, strict=True):
        if when >= window.begins(state.as_of):
            categories = _tile(tiles, when // window.tile).categories
            categories[facts.category[0]] = categories.get(facts.category[0], 0) + 1
    if facts.vector is not None and weight > 0:
        _mean(state, facts, weight, when, half_life)


def _mean(state: UserState, facts: Facts, weight: float, when: int, half_life: float) -> None:
    """Sum and weight decay alike, so their quotient is the decayed mean. Only interest shown counts."""
    assert facts.vector is not None
    found = state.embeddings.get(facts.space)
    if found is None:
        total = (facts.vector * np.float32(weight)).astype("<f4")
        state.embeddings[facts.space] = Mean(total.tobytes(), weight, when)
        return
    held = np.frombuffer(found.total, "<f4")
    fade, worth = 1.0, weight
    if when >= found.at:
        fade = 2.0 ** ((found.at - when) / half_life)
    else:
        worth = weight * 2.0 ** ((when - found.at) / half_life)
    found.total = (held * np.float32(fade) + facts.vector * np.float32(worth)).astype("<f4").tobytes()
    found.weight, found.at = merged(found.weight, found.at, weight, when, half_life)
