"""The errors of inference, drawn as a tree whose branches are remedies.

InferenceError
├── Retryable            another try may succeed: the caller's retry policy decides
│   ├── Unavailable      server or model not there, connection lost, breaker open
│   │   └── ServerFault  the server answers, with an internal error: may be one row's doing
│   ├── Overloaded       a queue is full here or at the server
│   └── TimedOut         no answer within the deadline
├── Rejected             this input can never be answered: park or degrade, do not retry
└── Misconfigured        model, version or tensors are not what was pinned: fatal
"""

from __future__ import annotations


class InferenceError(Exception):
    """Root of everything that inference raises on purpose."""


class Retryable(InferenceError):
    """Another try may succeed."""


class Unavailable(Retryable):
    """The server or the model does not answer at all; the circuit breaker counts these."""


class ServerFault(Unavailable):
    """The server is there and failed on this batch; tried again in smaller parts, to spare the mates of a bad row."""


class Overloaded(Retryable):
    """A bounded queue is full; slow down."""


class TimedOut(Retryable):
    """No answer within the deadline."""


class Rejected(InferenceError):
    """The model refused this one input."""


class Misconfigured(InferenceError):
    """The served model is not the one that was pinned, or its tensors differ."""
