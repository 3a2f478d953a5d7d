"""`make bench`: each worker's rate as a ratio to the raw pass-through, in interleaved rounds on one broker.

The absolute rates of a shared machine drift; the ratio within a round is what is quoted. Results are kept as
JSON under bench-out/, with the broker, the counts, and every run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from deploy.embedded.stack import Stack
from schemas.topics import BEHAVIOUR_BY_PRODUCT, LISTING_FACTS, PRODUCT_CREATED, USER_BEHAVIOUR, Topic
from stream.kafka.admin import create_topics
from stream.settings import KafkaSettings, Settings, load_settings
from tests.bench import load
from tests.bench.worker import Run, measure

INSTANT = "tests.bench.instant_enrich"
"""The enrichment worker on a model that answers at once: what the worker itself costs."""
LIMIT_S = 900.0
"""A run that takes longer than this is broken, not slow."""


class Variant(msgspec.Struct, frozen=True):
    """One thing measured: the module command, the topic it reads, what fills that topic, and how many records."""

    name: str
    command: tuple[str, ...]
    source: Topic
    records: Callable[[int], Iterator[load.Record]]
    count: int
    needs_facts: bool = False


def variants(count: int, listings: int, settings: Settings) -> list[Variant]:
    """Everything that is compared with the pass-through."""
    partitions = settings.topics.user_partitions
    cli = "stream.cli.main"
    return [
        Variant("profiles", (cli, "profiles"), USER_BEHAVIOUR, load.behaviour, count, True),
        Variant("features", (cli, "features"), BEHAVIOUR_BY_PRODUCT, lambda n: load.by_product(n, partitions), count),
        Variant(
            "enrichment, instant model", ("tests.bench.instant_enrich",), PRODUCT_CREATED, load.listings, count // 4
        ),
        Variant("enrichment, real Triton", (cli, "enrich"), PRODUCT_CREATED, load.listings, listings),
    ]


def main() -> None:
    """Run the rounds, print the table, keep the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=100_000, help="behaviour events a run")
    parser.add_argument("--listings", type=int, default=400, help="listings a run on the real Triton")
    parser.add_argument("--only", action="append", help="name of a variant; may be given again")
    parser.add_argument("--out", type=Path, default=Path("bench-out"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    settings = load_settings()
    every = variants(args.count, args.listings, settings)
    if unknown := {*(args.only or ())} - {each.name for each in every}:
        parser.error(f"--only: one of {[each.name for each in every]}; got {sorted(unknown)}")
    own = settings.model_copy(update={"stack": settings.stack.model_copy(update={"run_dir": args.out / "stack"})})
    with Stack(own, keep_state=False) as stack:
        addresses = stack.addresses
        chosen = [each for each in every if not args.only or each.name in args.only]
        rounds = _rounds(chosen, args, addresses)
        result = {
            "broker": f"{addresses.broker_kind} {addresses.broker_version}",
            "machine": {"cores": os.cpu_count(), "processor": platform.processor() or platform.machine()},
            "count": args.count,
            "rounds": rounds,
            "summary": _summary(rounds),
        }
    file = args.out / f"bench-{int(time.time())}.json"
    file.write_text(json.dumps(result, indent=2))
    _print(result["summary"], file)


def _rounds(chosen: list[Variant], args: argparse.Namespace, addresses: Any) -> list[dict[str, Any]]:
    rounds = []
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("rounds", total=args.rounds * len(chosen))
        for number in range(args.rounds):
            for variant in chosen:
                progress.update(task, description=f"round {number + 1}: {variant.name}")
                rounds.append({"round": number, **_one(number, variant, args.out, addresses)})
                progress.advance(task)
    return rounds


def _one(number: int, variant: Variant, out: Path, addresses: Any) -> dict[str, Any]:
    """One variant in one round: its source filled once, the pass-through on it, then the worker on it."""
    prefix = f"bench-{os.getpid()}-{number}-{variant.name.replace(' ', '-').replace(',', '')}."
    settings = load_settings(kafka=KafkaSettings(bootstrap_servers=addresses.bootstrap, topic_prefix=prefix))
    asyncio.run(_fill(settings, variant))
    source = variant.source.named(prefix)
    yardstick = _passthrough(addresses.bootstrap, source, f"{prefix}copy", variant.count)
    env = {
        "SHANGXIN_KAFKA__BOOTSTRAP_SERVERS": addresses.bootstrap,
        "SHANGXIN_KAFKA__TOPIC_PREFIX": prefix,
        "SHANGXIN_KAFKA__GROUP_PREFIX": prefix,
        "SHANGXIN_TRITON__URL": addresses.triton_grpc,
        "SHANGXIN_STACK__RUN_DIR": str(out / prefix),
    }
    run = measure(variant.command, env, source, variant.count, out, LIMIT_S)
    base = yardstick["records"] / yardstick["seconds"]
    return {
        "variant": variant.name,
        "passthrough": {**yardstick, "rate": base},
        "worker": {**msgspec.to_builtins(run), "rate": run.rate},
        "ratio": run.rate / base,
        "cpu_ratio": _cpu(run) / (yardstick["cpu_seconds"] / yardstick["records"]),
    }


def _cpu(run: Run) -> float:
    return run.cpu_seconds / run.records


async def _fill(settings: Settings, variant: Variant) -> None:
    copy = msgspec.structs.replace(variant.source, name="copy")
    await create_topics(settings)
    await create_topics(settings, only=(copy,))
    bootstrap, prefix = settings.kafka.bootstrap_servers, settings.kafka.topic_prefix
    if variant.needs_facts:
        await load.produce(bootstrap, LISTING_FACTS.named(prefix), load.facts())
    sent = await load.produce(bootstrap, variant.source.named(prefix), variant.records(variant.count))
    if sent != variant.count:
        raise RuntimeError(f"{variant.name}: {sent} records sent, {variant.count} wanted")


def _passthrough(bootstrap: str, source: str, sink: str, count: int) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench.passthrough", "--bootstrap", bootstrap, "--source", source]
    command += ["--sink", sink, "--group", f"{sink}-group", "--count", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def _summary(rounds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = dict.fromkeys(r["variant"] for r in rounds)
    return [
        {
            "variant": name,
            "ratio": load.median([r["ratio"] for r in rounds if r["variant"] == name]),
            "cpu_ratio": load.median([r["cpu_ratio"] for r in rounds if r["variant"] == name]),
            "rate": load.median([r["worker"]["rate"] for r in rounds if r["variant"] == name]),
            "passthrough_rate": load.median([r["passthrough"]["rate"] for r in rounds if r["variant"] == name]),
            "rss_mb": load.median([r["worker"]["rss_mb"] for r in rounds if r["variant"] == name]),
        }
        for name in names
    ]


def _print(summary: list[dict[str, Any]], file: Path) -> None:
    table = Table(title="rate as a ratio to the raw aiokafka pass-through (median of the rounds)")
    for head in ("worker", "ratio", "CPU an event / pass-through's", "events/s", "pass-through/s", "RSS MB"):
        table.add_column(head, justify="left" if head == "worker" else "right")
    for row in summary:
        table.add_row(
            row["variant"],
            f"{row['ratio']:.3f}",
            f"{row['cpu_ratio']:.1f}",
            f"{row['rate']:,.0f}",
            f"{row['passthrough_rate']:,.0f}",
            f"{row['rss_mb']:.0f}",
        )
    Console().print(table)
    Console().print(f"every run: {file}")


if __name__ == "__main__":
    main()
