"""State of one user, and its compact form in the changelog."""

from __future__ import annotations

from typing import Final

from msgspec import Struct, field

from schemas.topics import USER_PROFILE_STATE
from stream.batchpath.versions import StateCodec
from stream.features.tiles import WINDOWS
from stream.profiles.decay import Held

STATE_VERSION: Final = 1
READABLE: Final = (0, 1)
"""Versions this code reads: its own and the previous one (rule 8). Version 0, of the trials before 0.1, lacks
the fields from `tiles` on; fields are only ever added at the end, so what is missing takes its default."""

Stamp = tuple[int, int]
"""Source epoch and offset; the higher is the later."""


class UserTile(Struct, array_like=True):
    """Counts of one stretch of event time: by action, and by top-level category."""

    actions: dict[str, int] = {}
    categories: dict[str, int] = {}


class SessionState(Struct, array_like=True):
    """The current session. given: `id` came with the events."""

    id: str
    given: bool
    started: int
    last: int
    events: int


class Unresolved(Struct, array_like=True, frozen=True):
    """An event on a product whose facts were not known yet; what it says of the product is still to be added."""

    product_id: str
    action: str
    when: int
    priced: bool
    """The event had a price of its own: the band of the facts is not used."""


class Mean(Struct, array_like=True):
    """Decayed mean of item embeddings in one space: float32 sum of weight * vector, and sum of weights, at `at`."""

    total: bytes
    weight: float
    at: int


class UserState(Struct, array_like=True):
    """Everything known of one user.

    stamps: for each partition of user-behaviour the last event applied (rule 1). newest: event time of the
    newest event applied, appended: the broker's time of the newest record applied. as_of: watermark at
    the last write. seen: digest of the last event ids applied, oldest first, to the offset of the
    event that was applied (rule 7). tiles: as in WINDOWS.
    """

    version: int = STATE_VERSION
    stamps: dict[int, Stamp] = field(default_factory=dict)
    newest: int = 0
    appended: int = 0
    seen: dict[int, int] = field(default_factory=dict)
    category: Held = field(default_factory=dict)
    brand: Held = field(default_factory=dict)
    attribute: Held = field(default_factory=dict)
    price_band: Held = field(default_factory=dict)
    languages: Held = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    last_purchase: int = 0
    purchases: int = 0
    monetary: dict[str, float] = field(default_factory=dict)
    last_items: list[tuple[str, str, int]] = field(default_factory=list)
    session: SessionState | None = None
    consent: dict[str, tuple[bool, int]] = field(default_factory=dict)
    embeddings: dict[str, Mean] = field(default_factory=dict)
    unresolved: list[Unresolved] = field(default_factory=list)
    tiles: list[dict[int, UserTile]] = field(default_factory=lambda: [{} for _ in WINDOWS])
    as_of: int = 0


CODEC: Final = StateCodec(UserState, "user", READABLE, USER_PROFILE_STATE)
"""Of the changelog."""
