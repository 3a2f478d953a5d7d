"""`shangxin watch`: follow a topic, one readable line a record."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from schemas.topics import Topic
    from stream.settings import Settings


def command(
    topic: Annotated[str, typer.Argument(help="Topic, without prefix; a dead-letter topic shows why.")],
    from_start: Annotated[bool, typer.Option("--from-start", help="From the oldest record on.")] = False,
    count: Annotated[int, typer.Option(min=0, help="End after so many records; 0 follows for ever.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document a record, with its headers.")] = False,
) -> None:
    """Follow a topic. Reads without a group, so that no worker notices."""
    from stream.cli.target import command_settings

    settings = command_settings()
    known = _known(topic, settings.kafka.topic_prefix)
    try:
        asyncio.run(watch(known, settings, from_start=from_start, count=count, as_json=as_json))
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


async def watch(topic: Topic, settings: Settings, *, from_start: bool, count: int, as_json: bool) -> None:
    """Print `count` records (0: until cancelled). Raises NotReady."""
    from rich.console import Console

    from inference.taxonomy.tree import load_taxonomy
    from stream.view.lines import Lines, write_json
    from stream.view.tail import Tail

    lines = Lines(settings.kafka.topic_prefix, load_taxonomy())
    console = Console(highlight=False)
    tail = Tail(settings, [topic], from_start=from_start)
    await tail.start()
    shown = 0
    try:
        async for record in tail:
            if as_json:
                typer.echo(write_json([lines.document(record)]))
            else:
                console.print(lines.line(record), soft_wrap=not console.is_terminal)
            shown += 1
            if shown == count:
                return
    finally:
        await tail.stop()


def _known(topic: str, prefix: str) -> Topic:
    """One of our topics, with or without the prefix; refuses another with the list of those that are."""
    from schemas.topics import TOPICS

    names = {known.name: known for known in TOPICS}
    short = topic.removeprefix(prefix)
    if short not in names:
        raise typer.BadParameter(f"no topic {topic!r}; there are {', '.join(names)}", param_hint="TOPIC")
    return names[short]
