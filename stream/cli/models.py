"""`shangxin models`: build what the model server serves, fit, evaluate and predict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Build, fit, evaluate and ask the models.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """The model repository, the small weights, and how good they are."""


@app.command()
def build(
    out: Annotated[Path, typer.Option(help="Folder of the model repository.")] = Path("build/models"),
    taxonomy: Annotated[
        Path | None, typer.Option(help="TSV (id, parent, en, zh) or a file in Google's format.")
    ] = None,
    taxonomy_zh: Annotated[Path | None, typer.Option(help="Chinese names in Google's format.")] = None,
    schema: Annotated[Path | None, typer.Option(help="Attribute schema (JSON).")] = None,
    weights: Annotated[Path | None, typer.Option(help="Folder of fitted heads; default: the project's own.")] = None,
    cores: Annotated[int, typer.Option(help="Cores for the encoder on the server; 0: as many as here.", min=0)] = 0,
) -> None:
    """Assemble a repository that Triton serves. Does nothing when it is there already."""
    from inference.errors import Misconfigured
    from inference.serving.build import WEIGHTS, Sources
    from inference.serving.build import build as assemble
    from inference.taxonomy import TaxonomyError
    from stream.cli.progress import progress

    sources = Sources(taxonomy, taxonomy_zh, schema, weights or WEIGHTS, cores)
    try:
        with progress() as report:
            built = assemble(out, sources, report)
    except (TaxonomyError, OSError) as error:
        raise Misconfigured(str(error)) from None
    done = "built" if built.fresh else "nothing to do: there already"
    typer.echo(f"{built.folder}: {built.version} ({done})")
