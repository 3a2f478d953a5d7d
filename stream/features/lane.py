"""What the worker holds in memory for one source partition: its watermark, and what falls due."""

from __future__ import annotations

from dataclasses import dataclass, field

from stream.features.state import ItemState
from stream.features.watermark import Expiry, Watermark

WATERMARK_KEY = b"\x00watermark"
"""State of no item, for its `as_of` alone: the watermark of events that touch no item, which move it all the
same. No id starts with a control character."""


@dataclass
class Renewed:
    """Keys whose record was published again, the watermark it shows, and the send that confirms it.

    Their states are written after it, and with that watermark: a state that knew of a later one than
    the record on the broker would hide from a restart what still has to be published.
    """

    mark: int
    as_of: int
    keys: list[bytes]


@dataclass
class Lane:
    """One source partition."""

    partition: int
    lateness_ms: int
    watermark: Watermark = field(init=False)
    expiry: Expiry = field(default_factory=Expiry)
    keys: int = 0
    renewed: list[Renewed] = field(default_factory=list)
    settled: list[Renewed] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.watermark = Watermark(self.lateness_ms)

    def restore(self, key: bytes, state: ItemState) -> None:
        """Take one stored state into account."""
        self.watermark.restore(state.as_of)
        if key == WATERMARK_KEY:
            return
        self.keys += 1
        self.watermark.see(state.newest)
        self.expiry.set(key, state.valid_until(state.as_of))

    def confirm(self, mark: int) -> None:
        """Every send up to `mark` is on the broker."""
        while self.renewed and self.renewed[0].mark <= mark:
            self.settled.append(self.renewed.pop(0))

    def take_settled(self) -> list[Renewed]:
        """What is on the broker and whose states are to be written now."""
        taken, self.settled = self.settled, []
        return taken
