"""`shangxin schemas`: generate what is checked in, check drift and compatibility, freeze a release, show a topic."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pathlib import Path

app = typer.Typer(help="JSON Schemas, AsyncAPI document and their compatibility.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Types live in schemas/*.py; everything else about them is generated."""


@app.command()
def generate() -> None:
    """Write schemas/generated/ and docs/topics.md from the types."""
    from schemas.generate import ROOT, generate

    _need_checkout(ROOT)
    touched = generate()
    for path in touched:
        typer.echo(f"{'wrote' if path.exists() else 'removed'} {path.relative_to(ROOT)}")
    if not touched:
        typer.echo("nothing changed")


@app.command()
def check() -> None:
    """Fail when generated files have drifted, or when a type breaks compatibility with a released version."""
    from schemas.compat import check_all
    from schemas.generate import RELEASED, ROOT, drift, released_files

    _need_checkout(ROOT)
    drifted = drift()
    for path in drifted:
        typer.secho(f"{path.relative_to(ROOT)} is out of date: run `shangxin schemas generate`", fg="red", err=True)
    broken = check_all(released_files(), RELEASED)
    for breach in broken:
        typer.secho(str(breach), fg="red", err=True)
    if drifted or broken:
        raise typer.Exit(1)
    versions = ", ".join(sorted(path.name for path in RELEASED.glob("*"))) or "none"
    typer.echo(f"up to date; compatible both ways with released versions: {versions}")


@app.command()
def release(
    version: Annotated[str, typer.Argument(help="Version to freeze, e.g. 0.1")],
    again: Annotated[bool, typer.Option(help="Replace it; only while nobody has this version.")] = False,
) -> None:
    """Freeze the current schemas under schemas/released/VERSION."""
    from schemas.generate import ROOT, generate
    from schemas.generate import release as freeze

    _need_checkout(ROOT)
    generate()
    try:
        folder = freeze(version, again=again)
    except FileExistsError as error:
        typer.secho(f"{error}; --again replaces it while it is not tagged", fg="red", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"froze {folder.relative_to(ROOT)}")


@app.command()
def show(topic: Annotated[str, typer.Argument(help="Topic name without prefix, e.g. product-created")]) -> None:
    """Print a topic's JSON Schemas."""
    from schemas.jsonschema import document, schema_names
    from schemas.topics import TOPICS

    found = {known.name: known for known in TOPICS}.get(topic)
    if found is None:
        names = ", ".join(known.name for known in TOPICS)
        typer.secho(f"no topic {topic!r}; there are {names}", fg="red", err=True)
        raise typer.Exit(1)
    if not found.types:
        typer.echo(f"{topic} carries records as they came; see the headers in schemas/generated/asyncapi.json")
    for name, type_ in schema_names(found):
        typer.echo(json.dumps(document(type_, name), indent=2, ensure_ascii=False))


def _need_checkout(root: Path) -> None:
    if not (root / "pyproject.toml").exists():
        typer.secho(f"{root} is no checkout of the project; an installed package can only `show`", fg="red", err=True)
        raise typer.Exit(1)
