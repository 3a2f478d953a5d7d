"""Watermarks and expiry: how far event time is complete in each source partition, and which items fall due."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from stream.features.tiles import NEVER


class Watermark:
    """Newest event time seen in one source partition, less the allowed lateness, ms; it never goes back."""

    def __init__(self, lateness_ms: int) -> None:
        self._lateness = lateness_ms
        self.value = 0

    def see(self, event_time: int) -> None:
        """An event was read."""
        self.value = max(self.value, event_time - self._lateness)

    def restore(self, as_of: int) -> None:
        """A stored state knew of this watermark."""
        self.value = max(self.value, as_of)


class Expiry:
    """Keys by the watermark at which their record stops being true; one entry a key counts, the newest."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, bytes]] = []
        self._due: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._due)

    def set(self, key: bytes, valid_until: int) -> None:
        """The key's record is true until then."""
        if self._due.get(key) == valid_until:
            return
        if valid_until == NEVER:
            self._due.pop(key, None)
            return
        self._due[key] = valid_until
        heapq.heappush(self._heap, (valid_until, key))
        if len(self._heap) > 2 * len(self._due) + 1024:
            # Half of the entries are out of date: a busy key leaves one behind whenever its oldest tile changes.
            self._heap = [(due, each) for each, due in self._due.items()]
            heapq.heapify(self._heap)

    def pop_due(self, watermark: int, limit: int) -> Iterator[bytes]:
        """Up to `limit` keys that fall due at `watermark`, the earliest first; each must be `set` again."""
        while limit > 0 and self._heap and self._heap[0][0] <= watermark:
            due, key = heapq.heappop(self._heap)
            if self._due.get(key) == due:
                del self._due[key]
                limit -= 1
                yield key

    def waiting(self, watermark: int) -> bool:
        """Whether anything falls due at `watermark` (an entry out of date may answer yes)."""
        return bool(self._heap) and self._heap[0][0] <= watermark
