"""Named fault points: where a test has this process killed, to show that nothing is lost or doubled."""

from __future__ import annotations

import os
import signal
from enum import StrEnum


class FaultPoint(StrEnum):
    """The places, in the order in which an event passes them."""

    AFTER_DECODE = "after-decode"
    AFTER_CHANGELOG = "after-changelog"
    AFTER_PUBLISH = "after-publish"
    BEFORE_COMMIT = "before-commit"


class Faults:
    """Kills this process with SIGKILL the n-th time it passes the configured point; else does nothing."""

    def __init__(self, spec: str = "") -> None:
        point, _, count = spec.partition(":")
        self._point = FaultPoint(point) if point else None
        self._left = int(count or 1)

    def armed(self, point: FaultPoint) -> bool:
        """Whether `point` is the configured one: what lies before it must then really have happened."""
        return point is self._point

    def at(self, point: FaultPoint) -> None:
        """Called by a worker as it passes `point`."""
        if point is not self._point:
            return
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
