"""`shangxin models`: build what the model server serves, fit, evaluate and predict."""

from __future__ import annotations

import typer

from stream.cli.models import scoring, training, versions

app = typer.Typer(help="Build, fit, evaluate and ask the models.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """The model repository, the small weights, and how good they are."""


for part in (versions, scoring, training):
    app.add_typer(part.app)
