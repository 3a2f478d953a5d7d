"""`shangxin topics`: make, describe and repair the topics."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import typer

app = typer.Typer(help="Make, describe and repair the topics on the broker.", no_args_is_help=True)


@app.command()
def create() -> None:
    """Make every topic that is not there yet; one with another partition count is named and refused."""
    from stream.cli.target import command_settings
    from stream.kafka.admin import create_topics

    for state in asyncio.run(create_topics(command_settings())):
        mark = "created" if state.created else "exists "
        typer.echo(f"{mark}  {state.name}  partitions={state.partitions} replicas={state.replicas}")


@app.command()
def describe(as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False) -> None:
    """Show every topic as it is on the broker."""
    from msgspec import to_builtins

    from stream.cli.target import command_settings
    from stream.kafka.admin import describe_topics

    states = asyncio.run(describe_topics(command_settings()))
    if as_json:
        typer.echo(json.dumps(to_builtins(states), indent=2))
        return
    for state in states:
        config = " ".join(f"{name}={value}" for name, value in sorted(state.config.items()))
        typer.echo(f"{state.name}  partitions={state.partitions or 'missing'} replicas={state.replicas} {config}")


@app.command()
def reset(
    group: Annotated[str, typer.Option(help="Consumer group, with its prefix; its workers must be stopped.")],
    topic: Annotated[str, typer.Option(help="Topic, with its prefix.")],
    to: Annotated[str, typer.Option(help="earliest or latest.")],
) -> None:
    """Set a stopped group's committed offsets to the beginning or the end of a topic."""
    from stream.cli.target import command_settings
    from stream.kafka.sources import reset_group

    for partition, offset in sorted(asyncio.run(reset_group(command_settings(), group, topic, to)).items()):
        typer.echo(f"{topic}/{partition}: {group} reads on from {offset}")
