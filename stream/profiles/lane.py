"""What the worker holds in memory for one source partition."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from stream.features.watermark import Expiry, Watermark
from stream.profiles.publish import valid_until
from stream.profiles.state import UserState


@dataclass
class Lane:
    """Watermark, expiry of user features, and who waits for the facts of which product."""

    partition: int
    lateness_ms: int
    watermark: Watermark = field(init=False)
    expiry: Expiry = field(default_factory=Expiry)
    keys: int = 0
    waiting: dict[str, set[bytes]] = field(default_factory=dict)
    """Product to users with an event that waits for its facts."""

    def __post_init__(self) -> None:
        self.watermark = Watermark(self.lateness_ms)

    def restore(self, key: bytes, state: UserState) -> None:
        """Take one stored state into account. What was published may be older than the watermark: it falls due."""
        self.keys += 1
        self.watermark.restore(state.as_of)
        self.expiry.set(key, valid_until(state, state.as_of))
        for event in state.unresolved:
            self.note_waiting(key, event.product_id)

    def note_waiting(self, key: bytes, product: str) -> None:
        """Remember that the user waits for a product's facts."""
        self.waiting.setdefault(product, set()).add(key)

    def take_waiting(self, product: str) -> Iterator[bytes]:
        """Users that wait for the product, forgotten here."""
        yield from self.waiting.pop(product, ())
