"""Rule 4: no produce unless the last successful heartbeat is younger than session minus delivery timeout."""

from __future__ import annotations

import time
from collections.abc import Callable

from stream.errors import Fenced


class HeartbeatFence:
    """Age of the group membership, as the broker must see it.

    `beat(sent)` takes the time at which the request left, not the answer's: the broker's session
    timer started at the earliest then. Written by the consumer's thread, read by the main loop.
    """

    def __init__(
        self, session_timeout_s: float, delivery_timeout_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limit_s = session_timeout_s - delivery_timeout_s
        if self.limit_s <= 0:
            raise ValueError("kafka.delivery_timeout_s must be below kafka.session_timeout_s: nothing could be sent")
        self.clock = clock
        self._last: float | None = None

    def beat(self, sent: float) -> None:
        """A heartbeat, or a join, that was sent at `sent` succeeded."""
        self._last = sent

    def lapse(self) -> None:
        """The broker no longer knows this member."""
        self._last = None

    @property
    def age_s(self) -> float:
        """Seconds since the last successful heartbeat left; infinite when there is none."""
        return float("inf") if self._last is None else self.clock() - self._last

    @property
    def open(self) -> bool:
        """Whether a produce that starts now is over before a successor can start."""
        return self.age_s < self.limit_s

    def check(self) -> None:
        """Raises Fenced when this worker may have been replaced."""
        if not self.open:
            rule = f"younger than {self.limit_s:.1f} s (session timeout minus delivery timeout)"
            raise Fenced(f"last successful heartbeat is {self.age_s:.1f} s old, must be {rule}; another worker may own")
