"""`shangxin stack`: the embedded broker and model server of this machine."""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from deploy.embedded.stack import Stack

app = typer.Typer(help="Start and end the embedded broker and model server.", no_args_is_help=True)


class Part(StrEnum):
    """What can be started alone."""

    BROKER = "broker"
    TRITON = "triton"


Only = Annotated[list[Part] | None, typer.Option("--only", help="This part alone; default: both.")]


@app.command()
def prepare(only: Only = None) -> None:
    """Fetch the broker's jars and make the model server's environment; start nothing."""
    kind = _stack(only).prepare()
    typer.echo(f"prepared{f', broker: {kind}' if kind else ''}")


@app.command()
def up(
    only: Only = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Drop topics and records of earlier runs first.")] = False,
    models: Annotated[
        Path | None, typer.Option(help="A Triton model repository; default: that of `shangxin models build`.")
    ] = None,
) -> None:
    """Start both and leave them running; prints what to export so that other commands find them."""
    addresses = _stack(only, models).up(fresh=fresh)
    if addresses.bootstrap:
        typer.echo(f"export KAFKA_BOOTSTRAP_SERVERS={addresses.bootstrap}")
    if addresses.triton_grpc:
        typer.echo(f"export TRITON_URL={addresses.triton_grpc}")


@app.command()
def down(drop: Annotated[bool, typer.Option("--drop", help="Throw topics and records away.")] = False) -> None:
    """End what `up` started, and nothing else. Topics and records stay for the next `up` unless dropped."""
    stack = _stack()
    was_up = stack.down(keep_state=not drop)
    typer.echo("down" if was_up else f"no stack was up in {stack.run_dir}")
    if drop:
        typer.echo("topics and records dropped")


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False) -> None:
    """Say of each part whether it serves. Exit status 1 unless all do."""
    stack = _stack()
    parts = stack.status()
    if as_json:
        typer.echo(json.dumps([asdict(part) for part in parts], indent=2))
    elif not parts:
        typer.echo(f"no stack is up in {stack.run_dir}")
    for part in () if as_json else parts:
        where = f"pid {part.pid}, {part.rss_mb} MB" if part.pid else "not ours" if not part.log else "no process"
        typer.echo(f"{part.name:<7} {part.state:<13} {part.kind} {part.version} at {part.address} ({where}) {part.log}")
    if not parts or not all(part.ok for part in parts):
        raise typer.Exit(1)


def _stack(only: list[Part] | None = None, models: Path | None = None) -> Stack:
    from deploy.embedded.stack import PARTS, Stack
    from stream.settings import load_settings

    return Stack(load_settings(), parts=[part.value for part in only] if only else PARTS, models=models, detach=True)
