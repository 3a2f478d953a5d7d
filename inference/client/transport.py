"""The seam between the scheduler and whatever answers: Triton, an engine in this process, or a test's fake."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Embedding = NDArray[np.float32]
"""Shape [EMBEDDING_DIM], unit length, zeros for a fault."""
Reply = tuple[bytes, Embedding]
"""One row's answer: encoded ListingResult or ListingFault, and the embedding."""


class Transport(Protocol):
    """Carries one batch there and back. It neither retries nor queues: that is the scheduler's.

    Every method may raise InferenceError and nothing else on purpose; each call ends within its
    timeout. Made and used on one event loop, after any fork.
    """

    async def infer(self, rows: Sequence[bytes], timeout_s: float) -> list[Reply]:
        """Answers in the order of `rows` (encoded ListingInput, at least one), as many as rows.

        timeout_s: seconds until the caller has no use for the answer. Cancelling the call withdraws it.
        Raises Unavailable, Overloaded, TimedOut, ServerFault, Rejected (the batch as a whole), Misconfigured.
        """
        ...

    async def ready(self) -> bool:
        """Whether the pinned model takes calls now; False when nobody answers."""
        ...

    async def version(self) -> str:
        """Name of the model version that `infer` will use, from then on the same one.

        Raises Unavailable when there is none yet, Misconfigured when it does not say its version.
        """
        ...

    async def close(self) -> None:
        """Give back what is held. Later calls raise Unavailable."""
        ...
