"""Lets a command beside the stack find it: a light read of run_dir/stack.json, without the stack's own imports."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from deploy.embedded.errors import StackError
from deploy.embedded.identity import ProcessId
from stream.settings import Settings


class _Child(Struct):
    process: ProcessId


class _Broker(Struct):
    bootstrap: str
    child: _Child | None = None


class _Triton(Struct):
    grpc: str
    child: _Child | None = None


class _Record(Struct):
    """The part of deploy.embedded.state.Record that tells where a stack serves."""

    broker: _Broker | None = None
    triton: _Triton | None = None


def fill_addresses(settings: Settings) -> Settings:
    """The settings, with the addresses of the stack that runs in stack.run_dir where none are set.

    Unchanged where no stack runs there: clients then say what to set. Raises StackError on an unreadable record.
    """
    path = settings.stack.run_dir / "stack.json"
    try:
        record = msgspec.json.decode(path.read_bytes(), type=_Record)
    except FileNotFoundError:
        return settings
    except msgspec.DecodeError as error:
        raise StackError(f"{path} cannot be read: {error}") from error
    found: dict[str, object] = {}
    if record.broker and _lives(record.broker.child) and not settings.kafka.bootstrap_servers:
        found["kafka"] = settings.kafka.model_copy(update={"bootstrap_servers": record.broker.bootstrap})
    if record.triton and _lives(record.triton.child) and not settings.triton.url:
        found["triton"] = settings.triton.model_copy(update={"url": record.triton.grpc})
    return settings.model_copy(update=found)


def _lives(child: _Child | None) -> bool:
    """A container or another's server is taken at its word."""
    return child is None or child.process.alive
