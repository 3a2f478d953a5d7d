"""`shangxin config`: what is set, and where it comes from."""

from __future__ import annotations

import json

import typer

from stream.settings import load_settings

app = typer.Typer(help="Show the settings in force.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Settings come from the environment (SHANGXIN_SECTION__FIELD) and from shangxin.toml."""


@app.command()
def show() -> None:
    """Print every setting as JSON, secrets hidden."""
    typer.echo(json.dumps(load_settings().model_dump(mode="json"), indent=2, ensure_ascii=False))
