"""`shangxin`: puts the commands together and turns expected errors into one helpful line."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import typer
from pydantic import ValidationError

import stream.cli
from inference.errors import InferenceError
from schemas.errors import RecordError
from stream.errors import StreamError

app = typer.Typer(
    name="shangxin",
    help="上新 · turns product and behaviour events into enriched listings, profiles and features.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
)


def _register() -> None:
    """A file of this package is a command: `app` in it is a group, `command` a single one.

    Imports of numpy, faust and the like belong inside their functions, so that --help stays fast.
    """
    for module in pkgutil.iter_modules(stream.cli.__path__):
        found = importlib.import_module(f"stream.cli.{module.name}") if module.name != "main" else None
        if group := getattr(found, "app", None):
            app.add_typer(group, name=module.name)
        elif command := getattr(found, "command", None):
            app.command(module.name)(command)


_register()


def run() -> None:
    """Entry point. Exit status: 0 done, 1 refused or failed with a line that says why, 2 wrong usage."""
    try:
        app()
    except ValidationError as error:
        for problem in error.errors():
            where = ".".join(str(part) for part in problem["loc"])
            typer.secho(f"settings: {where}: {problem['msg']}; got {problem['input']!r}", fg="red", err=True)
        sys.exit(1)
    except (StreamError, RecordError, InferenceError) as error:
        typer.secho(f"{type(error).__name__}: {error}", fg="red", err=True)
        sys.exit(1)


if __name__ == "__main__":
    run()
