"""`user-profile-updated`: what is known of a user, with decayed values that a reader evaluates at its own now."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType

from schemas.bounds import Count, Duration, Id, Millis, Word
from schemas.vector import Vector

PROFILE_TYPE = "user.profile.updated"


class Decayed(Struct, frozen=True, array_like=True):
    """A value that halves every half-life: at time t it is value * 2 ** -((t - at) / half_life).

    value: weight of the events so far, at `at`. at: ms since 1970 UTC.
    """

    value: float
    at: Millis


class Affinities(Struct, frozen=True, kw_only=True):
    """Decayed interest; the strongest of each kind are published.

    category: by taxonomy node id. brand: by brand. attribute: by `name=value`. price_band: by `CUR:k`
    as in ListingFacts.
    """

    category: dict[str, Decayed] = {}
    brand: dict[str, Decayed] = {}
    attribute: dict[str, Decayed] = {}
    price_band: dict[str, Decayed] = {}


class Rfm(Struct, frozen=True, kw_only=True):
    """Recency, frequency, monetary.

    last_purchase: ms since 1970 UTC, 0 for none. purchases: events. monetary: currency to major units spent.
    """

    last_purchase: Millis = 0
    purchases: Count = 0
    monetary: dict[str, float] = {}


class LastItem(Struct, frozen=True, array_like=True):
    """One of the last items touched, newest first.

    action: the last action on it. at: event time, ms since 1970 UTC.
    """

    product_id: Id
    action: Word
    at: Millis


class Session(Struct, frozen=True, kw_only=True):
    """The current session: ends after a gap of the configured length or when `id` changes.

    id: upstream's, or made here. started: ms since 1970 UTC. last: event time of its newest event, ms
    since 1970 UTC. events: number so far.
    """

    id: str
    started: Millis
    last: Millis
    events: Count


class EventStamp(Struct, frozen=True, array_like=True):
    """Newest event applied.

    epoch: the configured source epoch. partition: partition in `user-behaviour`. offset: offset there.
    """

    epoch: Count
    partition: Count
    offset: Count


class UserProfile(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The whole profile; a newer record replaces it.

    stamp: the newest event applied. as_of: its event time, ms since 1970 UTC. published: wall clock, ms
    since 1970 UTC, not part of the profile's identity. half_life_ms: kind of decayed value to its
    half-life, ms. affinities: decayed interests. counts: action to channel to events. rfm: purchases.
    last_items: newest first, each product once. session: absent before the first event. segments: names
    of the groups the user is in. embeddings: one a space, the decayed mean of item embeddings.
    languages: decayed weight by language. consent: purpose to given or withdrawn. unresolved: events on
    products whose facts were not known yet; they are joined when those arrive.
    """

    user_id: Id
    stamp: EventStamp
    as_of: Millis
    published: Millis
    half_life_ms: dict[str, Duration]
    affinities: Affinities
    counts: dict[str, dict[str, Count]]
    rfm: Rfm
    last_items: list[LastItem] = []
    session: Session | UnsetType = UNSET
    segments: list[str] = []
    embeddings: list[Vector] = []
    languages: dict[str, Decayed] = {}
    consent: dict[str, bool] = {}
    unresolved: Count = 0
