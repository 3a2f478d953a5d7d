"""How hard the model server may be pressed, and how patiently it is tried again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of one scheduler; the defaults are those of stream.settings.TritonSettings.

    max_batch_wait_s: how long the oldest listing may wait for mates while other batches are in
    flight; with nothing in flight nobody waits. max_pending, max_pending_bytes: listings and their
    encoded bytes admitted and not answered, queued and in flight together (a pending call holds
    its tensors). max_waiting: callers that may queue for admission; each holds one listing.
    """

    max_batch: int = 32
    max_batch_wait_s: float = 0.010
    batches_in_flight: int = 4
    max_pending: int = 512
    max_pending_bytes: int = 16_777_216
    max_waiting: int = 4_096
    request_timeout_s: float = 20.0


@dataclass(frozen=True)
class Retry:
    """Exponential backoff with jitter, for as long as the listing's own deadline lasts.

    The n-th delay lies between half and all of min(max_s, first_s * 2 ** (n - 1)) seconds: the
    jitter keeps workers apart, the lower half keeps a struggling server from being hit at once.
    fault_tries: tries of one listing alone that end in the server's internal error or in no
    answer; after them the listing itself is taken for the cause and its error is final.
    """

    first_s: float = 0.1
    max_s: float = 5.0
    fault_tries: int = 3

    def delay(self, failures: int, jitter: float) -> float:
        """Seconds to wait after `failures` (from 1) failures in a row; jitter in [0, 1)."""
        full = min(self.max_s, self.first_s * 2.0 ** min(failures - 1, 30))
        return full * (0.5 + 0.5 * jitter)
