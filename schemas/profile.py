"""`user-profile-updated`: what is known of a user, with decayed values that a reader evaluates at its own now."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType

from schemas.bounds import Count, Id, Millis
from schemas.vector import Vector

PROFILE_TYPE = "user.profile.updated"


class Decayed(Struct, frozen=True, array_like=True):
    """A value that halves every half-life since `at` (ms): at time t it is value * 2 ** -((t - at) / half_life)."""

    value: float
    at: Millis


class Affinities(Struct, frozen=True, kw_only=True):
    """Decayed interest by taxonomy node id, brand, `name=value`, and `CUR:band`; the strongest are published."""

    category: dict[str, Decayed] = {}
    brand: dict[str, Decayed] = {}
    attribute: dict[str, Decayed] = {}
    price_band: dict[str, Decayed] = {}


class Rfm(Struct, frozen=True, kw_only=True):
    """Recency (ms of the last purchase, 0 for none), frequency (purchases), monetary by currency (major units)."""

    last_purchase: Millis = 0
    purchases: Count = 0
    monetary: dict[str, float] = {}


class LastItem(Struct, frozen=True, array_like=True):
    """One of the last items touched, newest first."""

    product_id: str
    action: str
    at: Millis


class Session(Struct, frozen=True, kw_only=True):
    """The current session: ends after a gap of the configured length or when `id` changes."""

    id: str
    started: Millis
    last: Millis
    events: Count


class EventStamp(Struct, frozen=True, array_like=True):
    """Newest event applied: source epoch, partition, offset."""

    epoch: Count
    partition: Count
    offset: Count


class UserProfile(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The whole profile; a newer record replaces it.

    half_life_ms: the half-life of each kind of decayed value. counts: action to channel to number.
    unresolved: events on products whose facts were not known yet; they are joined when those arrive.
    as_of: event time of the newest event applied. published: ms, not part of the profile's identity.
    """

    user_id: Id
    stamp: EventStamp
    as_of: Millis
    published: Millis
    half_life_ms: dict[str, int]
    affinities: Affinities
    counts: dict[str, dict[str, int]]
    rfm: Rfm
    last_items: list[LastItem] = []
    session: Session | UnsetType = UNSET
    segments: list[str] = []
    embeddings: list[Vector] = []
    languages: dict[str, Decayed] = {}
    consent: dict[str, bool] = {}
    unresolved: Count = 0
