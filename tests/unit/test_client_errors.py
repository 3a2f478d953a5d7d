"""What Triton 2.51 and gRPC said, word for word, and the remedy it stands for."""

from __future__ import annotations

import pytest

from inference.client.grpc_errors import error_of
from inference.client.observer import Outcome, outcome_of
from inference.errors import InferenceError, Misconfigured, Overloaded, Rejected, ServerFault, TimedOut, Unavailable

SAID = [
    ("UNAVAILABLE", "failed to connect to all addresses; last error: UNKNOWN: Connection refused", Unavailable),
    ("UNAVAILABLE", "[request id: <id_unknown>] Exceeds maximum queue size", Overloaded),
    ("UNAVAILABLE", "[request id: <id_unknown>] Request timeout expired", TimedOut),
    ("DEADLINE_EXCEEDED", "Deadline Exceeded", TimedOut),
    ("INVALID_ARGUMENT", "inference request batch-size must be <= 64 for 'listing'", Rejected),
    ("NOT_FOUND", "Request for unknown model: 'listing' version 7 is not found", Misconfigured),
    ("INTERNAL", "Failed to process the request(s) for model 'listing_0_0', message: RuntimeError", ServerFault),
    ("INTERNAL", "Stub process 'listing_0_0' is not healthy.", Unavailable),
    ("RESOURCE_EXHAUSTED", "Received message larger than max (5 vs. 4)", Rejected),
    ("RESOURCE_EXHAUSTED", "too many streams", Overloaded),
    ("A_CODE_OF_LATER", "?", ServerFault),
]


@pytest.mark.parametrize(("code", "message", "kind"), SAID, ids=[f"{code}-{kind.__name__}" for code, _, kind in SAID])
def test_each_status_is_the_error_with_its_remedy(code: str, message: str, kind: type[InferenceError]) -> None:
    found = error_of(f"StatusCode.{code}", message)
    assert type(found) is kind
    assert message in str(found)


def test_a_missing_status_is_a_fault_of_the_server() -> None:
    assert type(error_of(None, "?")) is ServerFault


def test_every_error_has_a_label() -> None:
    kinds = [Unavailable, ServerFault, Overloaded, TimedOut, Rejected, Misconfigured]
    assert [outcome_of(kind("")) for kind in kinds] == [
        Outcome.UNAVAILABLE,
        Outcome.UNAVAILABLE,
        Outcome.OVERLOADED,
        Outcome.TIMED_OUT,
        Outcome.REJECTED,
        Outcome.MISCONFIGURED,
    ]
