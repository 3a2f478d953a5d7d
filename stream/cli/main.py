"""`shangxin`: puts the commands together and turns expected errors into one helpful line."""

from __future__ import annotations

import sys

import typer
from pydantic import ValidationError

from schemas.errors import RecordError
from stream.cli import config, stack, topics
from stream.errors import StreamError

app = typer.Typer(
    name="shangxin",
    help="上新 · turns product and behaviour events into enriched listings, profiles and features.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
)
# A file a command: stream/cli/NAME.py has `app` (a group) or `command` (one command). Imports of
# torch, numpy, faust and the like belong inside the functions, so that --help stays fast.
app.add_typer(config.app, name="config")
app.add_typer(stack.app, name="stack")
app.add_typer(topics.app, name="topics")


def run() -> None:
    """Entry point. Exit status: 0 done, 1 refused or failed with a line that says why, 2 wrong usage."""
    try:
        app()
    except ValidationError as error:
        for problem in error.errors():
            where = ".".join(str(part) for part in problem["loc"])
            typer.secho(f"settings: {where}: {problem['msg']}; got {problem['input']!r}", fg="red", err=True)
        sys.exit(1)
    except (StreamError, RecordError) as error:
        typer.secho(f"{type(error).__name__}: {error}", fg="red", err=True)
        sys.exit(1)


if __name__ == "__main__":
    run()
