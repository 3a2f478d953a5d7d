"""A stage of the batch path put together: path, application, table and keyed state from settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from schemas.topics import Topic
from stream.batchpath.build import build_app
from stream.batchpath.path import BatchPath
from stream.batchpath.seams import BatchApp
from stream.batchpath.state import KeyedState
from stream.batchpath.store import StateTable
from stream.batchpath.versions import StateCodec, Versioned
from stream.kafka.admin import wanted_partitions
from stream.process import Process

S = TypeVar("S", bound=Versioned)


@dataclass(frozen=True)
class Stage(Generic[S]):
    """What a stage's handler works with; the handler itself is set on `path`."""

    path: BatchPath
    app: BatchApp
    state: KeyedState[S]


def build_stage(
    process: Process, name: str, source: Topic, changelog: Topic, codec: StateCodec[S], max_batch: int
) -> Stage[S]:
    """A stage that reads `source` and keeps its state in `changelog`. name: of its group. max_batch: records."""
    settings, meters = process.settings, process.meters
    prefix = settings.kafka.topic_prefix
    path = BatchPath([source.named(prefix)], settings.kafka, process.faults)
    app = build_app(settings, name, path, max_batch)
    table = StateTable(
        app,
        name=changelog.named(prefix),
        partitions=wanted_partitions(changelog, settings),
        state_dir=settings.worker.state_dir,
    )
    state: KeyedState[S] = KeyedState(table, path.sends, codec.encode, codec.decode)

    def count(topic: str, records: int) -> None:
        meters.counter("shangxin_records_out_total", topic=topic).inc(records)

    path.sends.on_acknowledged = count
    return Stage(path, app, state)
