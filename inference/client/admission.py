"""Admission: bounds on listings and bytes that are pending; whoever comes later waits in line up to its deadline."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from inference.client.limits import Limits
from inference.deadline import Deadline
from inference.errors import Overloaded, Rejected


class Admission:
    """First come, first served: a small listing does not pass a large one that waits for room."""

    def __init__(self, limits: Limits, on_change: Callable[[int, int], None] = lambda items, size: None) -> None:
        self._limits = limits
        self._on_change = on_change
        self._items = 0
        self._bytes = 0
        self._line: deque[tuple[asyncio.Future[None], int]] = deque()

    @property
    def items(self) -> int:
        """Listings admitted and not released."""
        return self._items

    @property
    def size(self) -> int:
        """Bytes admitted and not released."""
        return self._bytes

    async def acquire(self, size: int, deadline: Deadline) -> None:
        """Room for one listing of `size` bytes.

        Raises Overloaded when none is found within the deadline or too many wait already, Rejected
        when the listing alone is larger than everything that may be pending.
        """
        if size > self._limits.max_pending_bytes:
            raise Rejected(f"the listing has {size} bytes; {self._limits.max_pending_bytes} is the most")
        if not self._line and self._fits(size):
            self._take(size)
            return
        if len(self._line) >= self._limits.max_waiting:
            raise Overloaded(f"{len(self._line)} listings wait for admission already")
        await self._wait(size, deadline)

    def release(self, size: int) -> None:
        """Give back the room of one listing."""
        self._items -= 1
        self._bytes -= size
        self._admit()
        self._on_change(self._items, self._bytes)

    async def _wait(self, size: int, deadline: Deadline) -> None:
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append((place, size))
        admitted = False
        try:
            async with asyncio.timeout(deadline.left):
                await place
            admitted = True
        except TimeoutError:
            message = f"{self._items} listings ({self._bytes} bytes) are pending and none was answered in time"
            raise Overloaded(message) from None
        finally:
            if not admitted:
                self._give_up(place, size)

    def _give_up(self, place: asyncio.Future[None], size: int) -> None:
        if place.done() and not place.cancelled():  # admitted in the same moment: hand the room on
            self.release(size)
            return
        self._line = deque(entry for entry in self._line if entry[0] is not place)
        self._admit()

    def _admit(self) -> None:
        while self._line:
            place, size = self._line[0]
            if not self._fits(size):
                return
            self._line.popleft()
            if not place.done():
                self._take(size)
                place.set_result(None)

    def _fits(self, size: int) -> bool:
        return self._items < self._limits.max_pending and self._bytes + size <= self._limits.max_pending_bytes

    def _take(self, size: int) -> None:
        self._items += 1
        self._bytes += size
        self._on_change(self._items, self._bytes)
