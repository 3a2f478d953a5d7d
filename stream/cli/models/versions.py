"""Commands that build, choose and measure what the model server serves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from inference.training.policy import Licences
from stream.cli.models.options import LicencesOption, ModelsFolder, VersionName, models_folder

app = typer.Typer()


@app.command()
def build(
    out: Annotated[
        Path | None, typer.Option(help="Folder of the model repository; default: the setting stack.models_dir.")
    ] = None,
    taxonomy: Annotated[
        Path | None, typer.Option(help="TSV (id, parent, en, zh) or a file in Google's format.")
    ] = None,
    taxonomy_zh: Annotated[Path | None, typer.Option(help="Chinese names in Google's format.")] = None,
    schema: Annotated[Path | None, typer.Option(help="Attribute schema (JSON).")] = None,
    weights: Annotated[Path | None, typer.Option(help="Folder of fitted heads; default: the project's own.")] = None,
    cores: Annotated[int, typer.Option(help="Cores for the encoder on the server; 0: as many as here.", min=0)] = 0,
    accelerator: Annotated[
        str, typer.Option(help="What runs the encoders on the server: cpu, cuda or tensorrt (not run on a GPU yet).")
    ] = "cpu",
    preferred: Annotated[
        list[int] | None, typer.Option(help="On a GPU: a batch size that waits for no more; may be repeated.", min=1)
    ] = None,
    licences: LicencesOption = Licences.ANY,
) -> None:
    """Assemble a repository that Triton serves. Does nothing when it is there already.

    With --licences permissive it refuses heads that were fitted on data sets without a stated licence for commercial
    use, and names head and set.
    """
    from inference.errors import Misconfigured
    from inference.serving.build import WEIGHTS, Sources
    from inference.serving.build import build as assemble
    from inference.serving.configs import Accelerator
    from inference.taxonomy import TaxonomyError
    from inference.training.licences import check_permitted
    from stream.cli.progress import progress
    from stream.settings import load_settings

    if licences is Licences.PERMISSIVE:
        check_permitted(weights or WEIGHTS)
    if accelerator not in list(Accelerator):
        raise typer.BadParameter(f"one of {', '.join(Accelerator)}; got {accelerator!r}", param_hint="--accelerator")
    if preferred and accelerator == Accelerator.CPU:
        raise typer.BadParameter("only with --accelerator cuda or tensorrt", param_hint="--preferred")
    sources = Sources(
        taxonomy, taxonomy_zh, schema, weights or WEIGHTS, cores, Accelerator(accelerator), tuple(preferred or ())
    )
    try:
        with progress() as report:
            built = assemble(out or load_settings().stack.models_dir, sources, report)
    except (TaxonomyError, OSError) as error:
        raise Misconfigured(str(error)) from None
    done = "built" if built.fresh else "nothing to do: there already"
    typer.echo(f"{built.folder}: {built.version} ({done})")


@app.command("list")
def list_versions(models: ModelsFolder = None) -> None:
    """The versions that were built, and which of them is served."""
    from inference.serving.versions import Versions

    folder = models_folder(models)
    found = Versions(folder).all()
    for kept in found:
        typer.echo(f"{'*' if kept.served else ' '} {kept.version}")
    if not found:
        typer.echo(f"none in {folder}: shangxin models build")


@app.command()
def show(version: VersionName, models: ModelsFolder = None) -> None:
    """What a version is made of: the hash of every part, as JSON."""
    import msgspec

    from inference.serving.versions import Versions

    manifest = Versions(models_folder(models)).show(version)
    typer.echo(msgspec.json.format(manifest.encode()).decode())


@app.command()
def card(
    version: Annotated[
        str, typer.Argument(help="Name of a version, as `list` shows it; default: the served one.")
    ] = "",
    models: ModelsFolder = None,
) -> None:
    """The model card of a version as Markdown: parts, data and licences, thresholds, scores by slice."""
    from inference.serving.versions import Versions
    from inference.training.card import card as card_of

    folder = models_folder(models)
    typer.echo(card_of(Versions(folder).folder(version) if version else folder), nl=False)


@app.command()
def promote(version: VersionName, models: ModelsFolder = None) -> None:
    """Serve a version that was built before, if every file of it is whole. A running server must be restarted."""
    from inference.serving.versions import Versions

    folder = models_folder(models)
    Versions(folder).promote(version)
    typer.echo(f"{folder}: {version}; restart the model server to serve it")


@app.command()
def rollback(models: ModelsFolder = None) -> None:
    """Serve what was served before. A running server must be restarted."""
    from inference.serving.versions import Versions

    folder = models_folder(models)
    typer.echo(f"{folder}: {Versions(folder).rollback()}; restart the model server to serve it")


@app.command()
def sweep(
    url: Annotated[
        str, typer.Option(help="host:port of the model server's gRPC; default: the setting triton.url.")
    ] = "",
    rows: Annotated[list[int] | None, typer.Option(help="Rows a call; may be repeated.")] = None,
    callers: Annotated[list[int] | None, typer.Option(help="Calls at once; may be repeated.")] = None,
    seconds: Annotated[float, typer.Option(help="Of each setting in each round.", min=0.1)] = 2.0,
    rounds: Annotated[int, typer.Option(min=1)] = 2,
) -> None:
    """Measure the model server at each length of text, rows a call and calls at once; print the table.

    Needs a server (`shangxin stack up --only triton`). The texts are the demo's listings: titles alone, with their
    description, and with a description of five times the length.
    """
    import asyncio

    from inference.client.sweep import sweep as measure
    from inference.client.sweep import table
    from inference.client.triton import TritonTransport
    from stream.cli.progress import progress
    from stream.demo.catalogue import sweep_texts
    from stream.settings import load_settings

    async def run() -> str:
        transport = TritonTransport(url or load_settings().triton.url)
        try:
            with progress() as report:
                found = await measure(
                    transport, sweep_texts(), rows or [1, 8, 32, 64], callers or [1, 4, 16], seconds, rounds, report
                )
        finally:
            await transport.close()
        return table(found)

    typer.echo(asyncio.run(run()), nl=False)
