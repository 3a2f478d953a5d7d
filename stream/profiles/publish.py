"""From a state to the two records that go out: the profile and the user features."""

from __future__ import annotations

import base64
import math

import numpy as np
from msgspec import UNSET

from schemas.features import UserFeatures, UserWindow
from schemas.profile import Affinities, Decayed, EventStamp, LastItem, Rfm, Session, UserProfile
from schemas.vector import INT8_SCALE, Vector
from stream.features.tiles import NEVER, WINDOWS, Window
from stream.profiles.apply import Rules
from stream.profiles.decay import top
from stream.profiles.state import Mean, UserState, UserTile

SPACES_PUBLISHED = 2
"""The current encoder's space and the one before it, while readers change over."""


def profile_of(state: UserState, user_id: str, rules: Rules, published: int) -> UserProfile:
    """The whole profile; `published` (ms, wall clock) is the only field that depends on anything but state."""
    at, half_life = state.newest, rules.half_life
    session = state.session
    return UserProfile(
        user_id=user_id,
        stamp=newest_stamp(state),
        as_of=at,
        published=published,
        half_life_ms={"affinities": round(half_life), "languages": round(half_life), "embeddings": round(half_life)},
        affinities=Affinities(
            category=top(state.category, rules.top, at, half_life),
            brand=top(state.brand, rules.top, at, half_life),
            attribute=top(state.attribute, rules.top, at, half_life),
            price_band=top(state.price_band, rules.top, at, half_life),
        ),
        counts=state.counts,
        rfm=Rfm(last_purchase=state.last_purchase, purchases=state.purchases, monetary=state.monetary),
        last_items=[LastItem(*item) for item in state.last_items],
        session=Session(id=session.id, started=session.started, last=session.last, events=session.events)
        if session
        else UNSET,
        embeddings=_vectors(state),
        languages=_languages(state, rules),
        consent={purpose: granted for purpose, (granted, _) in state.consent.items()},
        unresolved=len(state.unresolved),
    )


def newest_stamp(state: UserState) -> EventStamp:
    """The highest stamp: of the newest epoch, then the highest offset, then the highest partition."""
    (epoch, offset), partition = max((stamp, partition) for partition, stamp in state.stamps.items())
    return EventStamp(epoch, partition, max(0, offset))


def features_of(state: UserState, user_id: str, as_of: int, published: int) -> UserFeatures:
    """The windows at watermark `as_of` (ms of event time), not before `state.as_of`."""
    session = state.session
    return UserFeatures(
        user_id=user_id,
        newest=state.newest,
        as_of=as_of,
        valid_until=valid_until(state, as_of),
        published=published,
        windows={w.name: _window(tiles, w, as_of) for tiles, w in zip(state.tiles, WINDOWS, strict=True)},
        session_ms=session.last - session.started if session else 0,
        session_events=session.events if session else 0,
        last_items=[LastItem(*item) for item in state.last_items],
        freshness_ms=max(0, published - state.appended) if state.appended else 0,
    )


def valid_until(state: UserState, as_of: int) -> int:
    """Watermark after `as_of` at which a count next falls; NEVER when nothing is held."""
    found: int = NEVER
    for tiles, window in zip(state.tiles, WINDOWS, strict=True):
        first = window.begins(as_of) // window.tile
        oldest = min((number for number in tiles if number >= first), default=None)
        if oldest is not None:
            found = min(found, window.leaves(oldest * window.tile))
    return found


def advance(state: UserState, as_of: int) -> None:
    """Move to a watermark and drop the tiles that it has passed; it never goes back."""
    state.as_of = max(state.as_of, as_of)
    for tiles, window in zip(state.tiles, WINDOWS, strict=True):
        first = window.begins(state.as_of) // window.tile
        if tiles and min(tiles) < first:
            for number in [number for number in tiles if number < first]:
                del tiles[number]


def _window(tiles: dict[int, UserTile], window: Window, as_of: int) -> UserWindow:
    first = window.begins(as_of) // window.tile
    actions: dict[str, int] = {}
    categories: dict[str, int] = {}
    for number, tile in tiles.items():
        if number >= first:
            _sum(actions, tile.actions)
            _sum(categories, tile.categories)
    return UserWindow(actions=actions, categories=categories)


def _sum(into: dict[str, int], counts: dict[str, int]) -> None:
    for name, number in counts.items():
        into[name] = into.get(name, 0) + number


def _languages(state: UserState, rules: Rules) -> dict[str, Decayed]:
    return top(state.languages, rules.top, state.newest, rules.half_life)


def _vectors(state: UserState) -> list[Vector]:
    """Unit-length means as int8, the space of the newest event first."""
    newest = sorted(state.embeddings.items(), key=lambda pair: (-pair[1].at, pair[0]))[:SPACES_PUBLISHED]
    return [packed for space, mean in newest if (packed := _packed(space, mean)) is not None]


def _packed(space: str, mean: Mean) -> Vector | None:
    total = np.frombuffer(mean.total, "<f4")
    length = math.sqrt(total.dot(total))
    if length == 0.0:
        return None
    # A component of a unit vector is at most 1 but for float32's last bit, which rounding takes away.
    steps = np.rint(total * np.float32(INT8_SCALE / length)).astype("<i1")
    return Vector(space, "int8", len(steps), base64.b64encode(steps.tobytes()).decode("ascii"))
