"""Rule 4: no produce by a worker whose last successful heartbeat is too old, for it may have been replaced.

aiokafka keeps the time of the last good heartbeat in a local variable, so the fence listens: it wraps
`_do_heartbeat`, `_do_rejoin_group` and `reset_generation` of the consumer's coordinator. They are private;
tests/unit and tests/broker pin them, so that an upgrade fails a test and not a customer.

A static member is replaced at once by another process of the same instance id, without any session timeout:
a member put out of its group while its heartbeats were good is taken for that, and produces no more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from stream.errors import Fenced
from stream.settings import KafkaSettings

_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
HEARTBEAT = "_do_heartbeat"
REJOIN = "_do_rejoin_group"
RESET = "reset_generation"


def clock() -> float:
    """Seconds that also pass while the machine sleeps, as the broker's do; CLOCK_MONOTONIC stands still on Linux."""
    return time.clock_gettime(_CLOCK)


class Fence:
    """Age of the last successful heartbeat, counted from before it was sent, and the limit on it."""

    def __init__(self, kafka: KafkaSettings, clock: Callable[[], float] = clock) -> None:
        self.limit = kafka.session_timeout_s - kafka.delivery_timeout_s
        if self.limit <= 2 * kafka.heartbeat_interval_s:
            raise Fenced(
                f"session_timeout_s {kafka.session_timeout_s} minus delivery_timeout_s {kafka.delivery_timeout_s} "
                f"must exceed two heartbeat intervals ({kafka.heartbeat_interval_s} s): nothing could be produced"
            )
        self._clock = clock
        self._last = float("-inf")
        self._attached = float("-inf")
        self._session = kafka.session_timeout_s
        self._joining = False
        self.displaced = False
        """Put out of the group with good heartbeats; never taken back."""

    def attach(self, consumer: Any) -> None:
        """Listen to the heartbeats of a started aiokafka consumer, before it subscribes where possible.

        Works on a consumer that another owns (Faust): `consumer` is its AIOKafkaConsumer.
        """
        self._attached = self._clock()
        coordinator = consumer._coordinator
        heartbeat, rejoin, reset = (getattr(coordinator, name) for name in (HEARTBEAT, REJOIN, RESET))

        async def watched_heartbeat() -> bool:
            sent = self._clock()
            good: bool = await heartbeat()
            if good:
                self.beat(sent)
            return good

        async def watched_rejoin(subscription: Any) -> bool:
            if self.displaced:
                # Joining again would put the other one out: the consumer fails instead, and with it the process.
                self.check()
            self._joining = True
            try:
                joined: bool = await rejoin(subscription)
            finally:
                self._joining = False
            if joined:
                # The join may have waited for others: only a heartbeat of the new generation dates it.
                await watched_heartbeat()
            return joined

        def watched_reset() -> None:
            # During a join nothing is owned, and closing resets as well.
            if not self._joining and not coordinator._closing.done() and self.age <= self._session:
                self.displaced = True
            reset()

        setattr(coordinator, RESET, watched_reset)
        setattr(coordinator, HEARTBEAT, watched_heartbeat)
        setattr(coordinator, REJOIN, watched_rejoin)

    def beat(self, sent: float) -> None:
        """A heartbeat sent at `sent` (seconds of the fence's clock) was answered well."""
        self._last = max(self._last, sent)

    @property
    def age(self) -> float:
        """Seconds since the last good heartbeat was sent; infinite before the first."""
        return self._clock() - self._last

    @property
    def silence(self) -> float:
        """As `age`, but counted from `attach` before the first heartbeat: how long the group has not been heard."""
        return self._clock() - max(self._last, self._attached)

    def check(self) -> None:
        """Raises Fenced when the heartbeat is too old to produce safely, or the place in the group was lost."""
        if self.displaced:
            raise Fenced(
                "the group does not know this worker any more although its heartbeats were good: another process "
                "runs under its kafka.instance_id (or worker_index on this host), or an operator removed it; "
                "nothing more is produced"
            )
        age = self.age
        if age > self.limit:
            raise Fenced(
                f"the last good heartbeat is {age:.1f} s old, over the limit of {self.limit:.1f} s: another worker "
                "may own these partitions, nothing more is produced; restart this worker"
            )
