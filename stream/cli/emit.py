"""`shangxin emit`: send listings and actions from a file or a pipe."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from collections.abc import Awaitable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from schemas.errors import RecordError

if TYPE_CHECKING:
    from stream.settings import Settings

IN_FLIGHT = 500
"""Unacknowledged records: enough for full batches, few enough that an error is told near its line."""


def command(
    file: Annotated[str, typer.Argument(help="JSON lines; - reads standard input.")],
    validate: Annotated[bool, typer.Option(help="Check each record as a worker would, before sending it.")] = True,
    topic: Annotated[str, typer.Option(help="Topic of lines that do not say; without prefix.")] = "",
) -> None:
    """Send records: one JSON document a line.

    A line is a listing, an action, or {"topic": …, "key": …, "type": …, "value": …} (also id, source, time,
    headers, and raw: text to send instead of a value). Refused lines are named with field, value and rule;
    the others are sent. Exit status 1 when a line was refused.
    """
    from stream.cli.target import command_settings

    if file == "-":
        sent, refused = asyncio.run(emit(sys.stdin.buffer, command_settings(), validate=validate, topic=topic))
    else:
        path = Path(file)
        if not path.is_file():
            raise typer.BadParameter(f"there is no file {file}", param_hint="FILE")
        with path.open("rb") as lines:
            sent, refused = asyncio.run(emit(lines, command_settings(), validate=validate, topic=topic))
    typer.echo(f"sent {sent}, refused {refused}", err=True)
    if refused:
        raise typer.Exit(1)


async def emit(lines: BinaryIO, settings: Settings, *, validate: bool, topic: str) -> tuple[int, int]:
    """Send every line that is good; returns how many were sent and how many refused. Raises SendFailed."""
    from stream.intake.rows import numbered
    from stream.kafka.publish import Publisher

    publisher = Publisher(settings, client_id="shangxin-emit")
    await publisher.start()
    pending: deque[Awaitable[Any]] = deque()
    sent = refused = 0
    try:
        for number, line in numbered(lines):
            try:
                pending.append(await _send(publisher, settings, line, validate=validate, topic=topic))
                sent += 1
            except RecordError as error:
                refused += 1
                typer.secho(f"line {number}: {error.reason.value}: {error}", fg="red", err=True)
            while len(pending) > IN_FLIGHT:
                await pending.popleft()
        while pending:
            await pending.popleft()
    finally:
        await publisher.stop()
    return sent, refused


async def _send(publisher: Any, settings: Settings, line: bytes, *, validate: bool, topic: str) -> Awaitable[Any]:
    from stream.intake.rows import check, read_line

    now_ms = int(time.time() * 1000)
    record = read_line(line, now_ms, topic)
    if validate:
        check(record, now_ms)
    name = record.topic.named(settings.kafka.topic_prefix)
    acknowledged: Awaitable[Any] = await publisher.send(
        name, key=record.key, value=record.value, headers=record.headers
    )
    return acknowledged
