"""A user's state as the records that go out: the profile and the user features."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Final

import numpy as np
from msgspec import UNSET, UnsetType

from schemas.behaviour import Action
from schemas.features import UserFeatures
from schemas.profile import Affinities, Decayed, EventStamp, LastItem, Rfm, Session, UserProfile
from schemas.vector import INT8_SCALE, Vector
from stream.features.tiles import WINDOWS
from stream.profiles.affinity import Sums, strongest
from stream.profiles.rules import DAY_MS, Rules
from stream.profiles.state import MeanVector, UserState
from stream.profiles.tiles import next_fall, window_total

DIGITS: Final = 6
"""Decimals of a published weight: a millionth of a view."""
NEW_DAYS: Final = 7
"""`new`: seen for the first time within the week before `as_of`."""
LAPSED_DAYS: Final = 30
"""`lapsed`: bought, but not within the month before `as_of`; fast-moving goods are bought monthly or oftener."""
BROWSER_VIEWS: Final = 10
"""`browser`: looked that often and never bought."""


def profile_of(state: UserState, user_id: str, rules: Rules, published: int) -> UserProfile:
    """The whole profile. published: wall clock, ms; all else depends on the state alone."""
    half_life = round(rules.half_life)
    return UserProfile(
        user_id=user_id,
        stamp=EventStamp(*state.last),
        as_of=state.newest,
        published=published,
        half_life_ms={"affinities": half_life, "embeddings": half_life, "languages": half_life},
        affinities=Affinities(
            category=_top(state.category, state.newest, rules),
            brand=_top(state.brand, state.newest, rules),
            attribute=_top(state.attribute, state.newest, rules),
            price_band=_top(state.price_band, state.newest, rules),
        ),
        counts=state.counts,
        rfm=Rfm(
            last_purchase=state.last_purchase,
            purchases=state.purchases,
            monetary={currency: round(spent, 2) for currency, spent in state.monetary.items()},
        ),
        last_items=[LastItem(*item) for item in state.items],
        session=_session(state),
        segments=segments(state),
        embeddings=[_embedding(space, mean) for space, mean in sorted(state.vectors.items())],
        languages=_top(state.languages, state.newest, rules),
        consent=state.consent,
        unresolved=len(state.pending) + state.dropped,
    )


def features_of(state: UserState, user_id: str, as_of: int, published: int) -> UserFeatures:
    """The windows as of a watermark; changes nothing. published: wall clock, ms."""
    session = state.session
    return UserFeatures(
        user_id=user_id,
        newest=state.newest,
        as_of=as_of,
        valid_until=next_fall(state.tiles, as_of),
        published=published,
        windows={
            window.name: window_total(held, window, as_of) for held, window in zip(state.tiles, WINDOWS, strict=True)
        },
        session_ms=session.last - session.started if session is not None else 0,
        session_events=session.events if session is not None else 0,
        last_items=[LastItem(*item) for item in state.items],
        freshness_ms=max(0, published - state.appended) if state.appended else 0,
    )


def segments(state: UserState) -> list[str]:
    """Names of the groups the user is in at `as_of`, in alphabetical order."""
    return sorted(_segments(state))


def _segments(state: UserState) -> Iterator[str]:
    if state.newest - state.first < NEW_DAYS * DAY_MS:
        yield "new"
    if state.purchases:
        yield "buyer"
        if state.purchases > 1:
            yield "repeat-buyer"
        if state.newest - state.last_purchase > LAPSED_DAYS * DAY_MS:
            yield "lapsed"
        return
    if sum(state.counts.get(Action.VIEW, {}).values()) >= BROWSER_VIEWS:
        yield "browser"
    if Action.CART_ADD in state.counts:
        yield "cart-abandoner"


def _top(sums: Sums, now: int, rules: Rules) -> dict[str, Decayed]:
    best = strongest(sums, rules.top, now, rules.half_life)
    return {name: Decayed(round(held[0], DIGITS), int(held[1])) for name, held in best}


def _session(state: UserState) -> Session | UnsetType:
    now = state.session
    if now is None:
        return UNSET
    return Session(id=now.id, started=now.started, last=now.last, events=now.events)


def _embedding(space: str, mean: MeanVector) -> Vector:
    array = np.frombuffer(mean.data, np.float32)
    length = float(np.sqrt(np.dot(array, array)))
    steps = np.rint(array * np.float32(INT8_SCALE / (length or 1.0))).astype(np.int8)
    return Vector(space, "int8", len(steps), base64.b64encode(steps.tobytes()).decode("ascii"))
