"""From what Triton's gRPC front says to the tree of inference.errors. Messages were read off server 2.51."""

from __future__ import annotations

from inference.errors import (
    InferenceError,
    Misconfigured,
    Overloaded,
    Rejected,
    ServerFault,
    TimedOut,
    Unavailable,
)

_BY_CODE: dict[str, type[InferenceError]] = {
    "UNAVAILABLE": Unavailable,
    "CANCELLED": Unavailable,
    "DEADLINE_EXCEEDED": TimedOut,
    "RESOURCE_EXHAUSTED": Overloaded,
    "INVALID_ARGUMENT": Rejected,
    "OUT_OF_RANGE": Rejected,
    "NOT_FOUND": Misconfigured,
    "UNIMPLEMENTED": Misconfigured,
    "UNAUTHENTICATED": Misconfigured,
    "PERMISSION_DENIED": Misconfigured,
}
"""Any other code (INTERNAL, UNKNOWN, ...) is a ServerFault."""

_BY_MESSAGE: tuple[tuple[str, str, type[InferenceError]], ...] = (
    ("UNAVAILABLE", "exceeds maximum queue size", Overloaded),
    ("UNAVAILABLE", "timeout expired", TimedOut),
    # A dead model process stays dead until the model is loaded again: that is no row's doing.
    ("INTERNAL", "is not healthy", Unavailable),
    # The batch is too large for the channel; its halves may not be.
    ("RESOURCE_EXHAUSTED", "larger than max", Rejected),
)


def error_of(status: str | None, message: str) -> InferenceError:
    """The error for one gRPC status (`StatusCode.NAME`) and its message."""
    code = (status or "").rpartition(".")[2]
    lower = message.lower()
    for wanted, part, kind in _BY_MESSAGE:
        if code == wanted and part in lower:
            return kind(message)
    return _BY_CODE.get(code, ServerFault)(f"{message} ({code or 'no status'})")
