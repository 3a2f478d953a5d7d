"""The circuit breaker: after too many failures nobody calls for a while, then one call at a time is let through."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from inference.deadline import Clock
from inference.errors import InferenceError, ServerFault, TimedOut, Unavailable


@dataclass(frozen=True)
class BreakerPolicy:
    """When to open. window: newest calls looked at; min_calls: fewer say nothing yet.

    ratio: share of failures that opens. open_s: how long no call is made; well below a listing's
    budget (60 s), so that a restart of the server (10 s) costs waiting and no degraded listing.
    """

    window: int = 20
    min_calls: int = 5
    ratio: float = 0.5
    open_s: float = 5.0


class BreakerOpen(Unavailable):
    """Not called, for the breaker is open. retry_in: seconds until a call may be tried."""

    def __init__(self, retry_in: float) -> None:
        self.retry_in = retry_in
        when = f"the next try is in {retry_in:.1f} s" if retry_in else "one call is trying it now"
        super().__init__(f"the model server keeps failing; {when}")


class State(StrEnum):
    """Closed lets calls through, open none, half-open one at a time."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Breaker:
    """One server's breaker. Counts Unavailable and TimedOut; any other answer shows a living server.

    A call that began before the last change of state says nothing about the state now and is ignored.
    """

    def __init__(
        self,
        policy: BreakerPolicy | None = None,
        clock: Clock = time.monotonic,
        on_change: Callable[[bool], None] = lambda is_open: None,
    ) -> None:
        self._policy = policy or BreakerPolicy()
        self._clock = clock
        self._on_change = on_change
        self._failures: deque[bool] = deque(maxlen=self._policy.window)
        self._state = State.CLOSED
        self._opened_at = 0.0
        self._generation = 0
        self._probing = False

    @property
    def state(self) -> State:
        """The state as of the last call; an open breaker stays open until somebody calls."""
        return self._state

    @contextmanager
    def call(self) -> Iterator[None]:
        """Around one call to the server. Raises BreakerOpen instead of letting it begin."""
        generation = self._enter()
        try:
            yield
        except (Unavailable, TimedOut) as error:
            self._leave(generation, failed=not isinstance(error, ServerFault))
            raise
        except InferenceError:
            self._leave(generation, failed=False)
            raise
        except BaseException:
            self._forget(generation)  # a cancelled call says nothing about the server
            raise
        else:
            self._leave(generation, failed=False)

    def _enter(self) -> int:
        if self._state is State.OPEN:
            retry_in = self._opened_at + self._policy.open_s - self._clock()
            if retry_in > 0:
                raise BreakerOpen(retry_in)
            self._change(State.HALF_OPEN)
        if self._state is State.HALF_OPEN:
            if self._probing:
                raise BreakerOpen(0.0)
            self._probing = True
        return self._generation

    def _leave(self, generation: int, *, failed: bool) -> None:
        if generation != self._generation:
            return
        if self._state is State.HALF_OPEN:
            self._change(State.OPEN if failed else State.CLOSED)
            return
        self._failures.append(failed)
        enough = len(self._failures) >= self._policy.min_calls
        if failed and enough and sum(self._failures) >= self._policy.ratio * len(self._failures):
            self._change(State.OPEN)

    def _forget(self, generation: int) -> None:
        if generation == self._generation:
            self._probing = False

    def _change(self, state: State) -> None:
        was_closed = self._state is State.CLOSED
        self._state = state
        self._generation += 1
        self._probing = False
        self._failures.clear()
        if state is State.OPEN:
            self._opened_at = self._clock()
        if was_closed or state is State.CLOSED:
            self._on_change(state is not State.CLOSED)
