"""State of one user and its compact form in the changelog."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct, field

from stream.errors import Fatal
from stream.profiles.affinity import Sums
from stream.profiles.tiles import UserTiles, empty_tiles

STATE_VERSION: Final = 1
READABLE: Final = (1,)
"""State versions that this code reads: its own and the one before (rule 8). A field added at the end with a
default is read from both; anything else needs a reader of its own here and a test that holds old bytes."""

Position = tuple[int, int]
"""Source epoch and offset; the higher is the later."""
BEFORE_ALL: Final[Position] = (0, -1)


class MeanVector(Struct, array_like=True):
    """Decayed mean of item embeddings. sum: `[weight, at]`; data: float32, the weighted sum at `at`."""

    sum: list[float]
    data: bytearray


class SessionState(Struct, array_like=True):
    """As schemas.profile.Session; times in ms."""

    id: str
    started: int
    last: int
    events: int = 1


class Pending(Struct, array_like=True):
    """An event whose product's facts were not known: what the join will need of it."""

    product_id: str
    action: str
    when: int


class UserState(Struct, array_like=True):
    """Everything known of one user.

    stamps: per partition of `user-behaviour` the last event applied (rule 1). last: epoch, partition,
    offset of the newest event applied. first, newest: event times, ms. appended: append time of the
    newest event applied. seen: hashes of the newest event ids applied, oldest first (rule 7).
    category, brand, attribute, price_band, languages: decayed sums. items: product, action, ms, newest
    first. dropped: pending events given up because there were too many.
    """

    version: int = STATE_VERSION
    stamps: dict[int, Position] = field(default_factory=dict)
    last: tuple[int, int, int] = (0, 0, 0)
    first: int = 0
    newest: int = 0
    appended: int = 0
    seen: list[int] = []
    category: Sums = {}
    brand: Sums = {}
    attribute: Sums = {}
    price_band: Sums = {}
    languages: Sums = {}
    counts: dict[str, dict[str, int]] = {}
    last_purchase: int = 0
    purchases: int = 0
    monetary: dict[str, float] = {}
    items: list[tuple[str, str, int]] = []
    session: SessionState | None = None
    consent: dict[str, bool] = {}
    vectors: dict[str, MeanVector] = {}
    pending: list[Pending] = []
    dropped: int = 0
    tiles: list[UserTiles] = field(default_factory=empty_tiles)
    as_of: int = 0

    @property
    def sums(self) -> tuple[Sums, Sums, Sums, Sums]:
        """The four kinds of affinity."""
        return self.category, self.brand, self.attribute, self.price_band


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(UserState)
_version = msgspec.msgpack.Decoder(list[object])
_REPAIR: Final = (
    "run the version that wrote it, or rebuild: stop the group, delete and make the topic user-profile-state again, "
    "and start the group from the earliest offset"
)


def encode_state(state: UserState) -> bytes:
    """MessagePack, fields by position."""
    return _encoder.encode(state)


def decode_state(data: bytes) -> UserState:
    """Raises Fatal for a state of another version than this code reads, or one that is damaged."""
    try:
        state = _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise Fatal(f"user state of version {_version_of(data)} cannot be read ({error}); {_REPAIR}") from None
    if state.version not in READABLE:
        raise Fatal(f"user state has version {state.version}, this code reads {READABLE}; {_REPAIR}")
    return state


def _version_of(data: bytes) -> object:
    try:
        return _version.decode(data)[0]
    except (msgspec.DecodeError, IndexError):
        return "unknown"
