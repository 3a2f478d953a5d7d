"""Commands that answer and score files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stream.cli.models.options import (
    DEFAULT_CACHE,
    CacheFolder,
    LabelsFile,
    TaskName,
    Threads,
    WeightsFolder,
    line,
    task_of,
)

app = typer.Typer()


@app.command()
def predict(
    task: TaskName,
    data: Annotated[Path, typer.Option(help="Rows: JSON lines or BIOES, plain or .gz.")],
    out: Annotated[Path, typer.Option(help="JSON lines: row (from 0) and prediction.")],
    labels: LabelsFile = None,
    weights: WeightsFolder = None,
    cache: CacheFolder = DEFAULT_CACHE,
    threads: Threads = 0,
) -> None:
    r"""Answer each row of a file, one JSON line a row: {"row": i, "prediction": ...}.

    category: one of --labels, or a node id of the taxonomy without it. attributes: {name: \[values]} for the
    row's `ask`, or the names in `attributes` and `absent`. spans: \[\[start, end, label]], half open, code points,
    labels HP (brand) and HC (product). keywords: \[words], best first. safety: the probability that the text is
    HARMFUL, 0 to 1 (`safe` of a listing is 1 minus it). tags: rows with title, description, name and value; whether
    the listing bears the value out: {label (entailed, contradicted, unknown), score, evidence}.
    """
    from inference.errors import Misconfigured
    from inference.tasks.weights import DEFAULT_WEIGHTS
    from inference.taxonomy import load_taxonomy
    from inference.training.answers import open_predictors, predictions, write_predictions
    from stream.cli.progress import progress

    with progress() as report:
        try:
            predictors = open_predictors(weights or DEFAULT_WEIGHTS, cache, load_taxonomy(), threads, report)
            rows = write_predictions(out, predictions(task_of(task), data, labels, predictors))
        except OSError as error:
            raise Misconfigured(str(error)) from None
    typer.echo(f"{out}: {rows} rows")


@app.command()
def evaluate(
    task: TaskName,
    data: Annotated[Path, typer.Option(help="Labelled rows: JSON lines or BIOES, plain or .gz.")],
    labels: LabelsFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    perturb: Annotated[
        str, typer.Option(help="Change the rows first: typos, full-width, traditional, emoji or order.")
    ] = "",
    weights: WeightsFolder = None,
    cache: CacheFolder = DEFAULT_CACHE,
    threads: Threads = 0,
) -> None:
    """Score a head on a file: the measure with its 95% bootstrap interval, by source or language, and calibration.

    Category without --labels is measured on the taxonomy, at each depth, through the label map.
    """
    import msgspec

    from inference.errors import Misconfigured
    from inference.tasks.weights import DEFAULT_WEIGHTS
    from inference.taxonomy import load_label_map, load_taxonomy
    from inference.training.answers import open_predictors
    from inference.training.evaluate import evaluate as measure
    from inference.training.perturb import Kind
    from stream.cli.progress import progress

    if perturb and perturb not in list(Kind):
        raise typer.BadParameter(f"one of {', '.join(Kind)}; got {perturb!r}", param_hint="--perturb")
    kind = Kind(perturb) if perturb else None
    taxonomy = load_taxonomy()
    with progress() as report:
        try:
            predictors = open_predictors(weights or DEFAULT_WEIGHTS, cache, taxonomy, threads, report)
            found = measure(task_of(task), data, labels, predictors, taxonomy, load_label_map(taxonomy), kind)
        except OSError as error:
            raise Misconfigured(str(error)) from None
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
        return
    for each in found.measures:
        typer.echo(line(found.task, each))


@app.command()
def compare(
    one: Annotated[Path, typer.Argument(help="Weights folder.")],
    other: Annotated[Path, typer.Argument(help="Weights folder that may be better.")],
    task: TaskName,
    data: Annotated[Path, typer.Option(help="Labelled rows: JSON lines or BIOES, plain or .gz.")],
    labels: LabelsFile = None,
    cache: CacheFolder = DEFAULT_CACHE,
    threads: Threads = 0,
) -> None:
    """What OTHER is better by on a file, all rows and by slice, with the 95% interval of a paired bootstrap.

    An interval that does not hold 0 is a difference; that of the int8 encoder against fp32 is got by a copy of the
    folder without *.ranges.npz.
    """
    from inference.errors import Misconfigured
    from inference.taxonomy import load_label_map, load_taxonomy
    from inference.training.answers import open_predictors
    from inference.training.compare import compare as differences
    from inference.training.compare import outcome
    from stream.cli.progress import progress

    taxonomy = load_taxonomy()
    with progress() as report:
        try:
            found = [
                outcome(
                    task_of(task),
                    data,
                    labels,
                    open_predictors(folder, cache, taxonomy, threads, report),
                    load_label_map(taxonomy),
                )
                for folder in (one, other)
            ]
        except OSError as error:
            raise Misconfigured(str(error)) from None
    for each in differences(*found):
        typer.echo(f"{each.name:<30} {each.score:+.4f} [{each.low:+.4f}, {each.high:+.4f}] n={each.rows}")
