"""The summary: one JSON document for machines, a few lines for people."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct
from rich.table import Table

from schemas.topics import TOPICS, Direction
from stream.demo.scenario import Scenario
from stream.demo.tally import Tally


class Summary(Struct, frozen=True, kw_only=True):
    """What `--summary FILE` writes.

    events_in: records that the broker took. records_out: by topic, all that shangxin wrote, internal
    topics and side topics included. dead_letters: by reason. lag: records not finished, all groups.
    latency_ms: by stage. seconds: setup (until the replay begins), first_enriched (from the start of
    the command to the first enriched listing seen), replay (until all is through).
    """

    events_in: int
    records_out: dict[str, int]
    dead_letters: dict[str, int]
    lag: int
    latency_ms: dict[str, dict[str, float]]
    seconds: dict[str, float]
    broker: str
    triton: str
    model_version: str

    def write(self, path: Path) -> None:
        """As indented JSON. Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")


def records_out(tally: Tally) -> dict[str, int]:
    """Records by topic that shangxin wrote; output topics stand there with 0 as well."""
    written = [topic for topic in TOPICS if topic.direction is not Direction.IN]
    return {t.name: tally.seen[t.name] for t in written if t.direction is Direction.OUT or tally.seen[t.name]}


def shortfalls(scenario: Scenario, tally: Tally, refused: int) -> list[str]:
    """What should have come out and did not, in words; empty when the demo proved what it says.

    A restarted worker may park a record twice, so more dead letters than expected are no shortfall.
    """
    found = []
    for reason, wanted in sorted(scenario.expected.items()):
        got = refused if reason == "too-large" else tally.dead[reason] + tally.aside[reason]
        if got < wanted:
            found.append(f"{wanted} records should have been refused as {reason}, {got} were")
    for product, state in sorted(scenario.final_states().items()):
        status = tally.status.get(product, "nothing")
        if (status == "withdrawn") != (state == "withdrawn") or status == "nothing":
            found.append(f"{product} should be {state}, the newest record says {status}")
    return found


def table(summary: Summary, aside: int, refused: int) -> Table:
    """For people."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column()
    grid.add_row("broker", summary.broker)
    grid.add_row("model server", f"{summary.triton}, model {summary.model_version}")
    grid.add_row("events in", f"{summary.events_in:,}")
    grid.add_row("records out", _counts(summary.records_out))
    grid.add_row("dead letters", _counts(summary.dead_letters))
    grid.add_row("set aside", f"{aside} of unknown types, on the side topics")
    grid.add_row("refused here", f"{refused} over the topic's limit, never sent")
    latencies = [f"{stage} {q['p50']:,.0f} / {q['p99']:,.0f}" for stage, q in summary.latency_ms.items()]
    grid.add_row("p50 / p99 ms", "\n".join(latencies))
    grid.add_row("lag", f"{summary.lag}")
    grid.add_row("seconds", ", ".join(f"{name} {value:g}" for name, value in summary.seconds.items()))
    return grid


def _counts(counts: dict[str, int]) -> str:
    return "\n".join(f"{name} {n:,}" for name, n in counts.items()) or "none"
