"""What the scheduler tells about itself; a worker turns it into metrics, a test into assertions."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from inference.errors import InferenceError, Overloaded, Rejected, TimedOut, Unavailable


class Outcome(StrEnum):
    """How a call to the model server ended. A bounded set: it is a metric label."""

    OK = "ok"
    UNAVAILABLE = "unavailable"
    OVERLOADED = "overloaded"
    TIMED_OUT = "timed_out"
    REJECTED = "rejected"
    MISCONFIGURED = "misconfigured"


_OUTCOMES: tuple[tuple[type[InferenceError], Outcome], ...] = (
    (Unavailable, Outcome.UNAVAILABLE),
    (Overloaded, Outcome.OVERLOADED),
    (TimedOut, Outcome.TIMED_OUT),
    (Rejected, Outcome.REJECTED),
)


def outcome_of(error: InferenceError) -> Outcome:
    """The label of an error."""
    return next((name for kind, name in _OUTCOMES if isinstance(error, kind)), Outcome.MISCONFIGURED)


class Observer(Protocol):
    """Called on the event loop; must not block or raise."""

    def called(self, outcome: Outcome, seconds: float, rows: int) -> None:
        """One call to the server ended."""
        ...

    def dispatched(self, rows: int, waited_s: float) -> None:
        """A batch left the queue; waited_s: how long its oldest listing had waited."""
        ...

    def pending(self, items: int, size: int) -> None:
        """Listings admitted and not answered, and their encoded bytes."""
        ...

    def breaker(self, is_open: bool) -> None:
        """The circuit breaker opened or closed."""
        ...


class Silent:
    """An observer that tells nobody."""

    def called(self, outcome: Outcome, seconds: float, rows: int) -> None:
        """Nothing."""

    def dispatched(self, rows: int, waited_s: float) -> None:
        """Nothing."""

    def pending(self, items: int, size: int) -> None:
        """Nothing."""

    def breaker(self, is_open: bool) -> None:
        """Nothing."""
