"""`shangxin models`: build what the model server serves, fit, evaluate and predict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from inference.training.metrics import Measure

DEFAULT_CACHE = Path("build/cache")
TaskName = Annotated[str, typer.Option(help="category, attributes, spans, keywords, safety or tags.")]
LabelsFile = Annotated[Path | None, typer.Option(help="Category only: the labels to choose from, one a line or JSON.")]
WeightsFolder = Annotated[Path | None, typer.Option(help="Folder of fitted heads; default: the project's own.")]
CacheFolder = Annotated[Path, typer.Option(help="Where the assembled encoder and encodings are kept.")]
Threads = Annotated[int, typer.Option(help="Threads of the encoder; 0: as many as there are cores.", min=0)]
ModelsFolder = Annotated[
    Path | None, typer.Option(help="Folder of the model repository; default: the setting stack.models_dir.")
]
VersionName = Annotated[str, typer.Argument(help="Name of a version, as `list` shows it.")]

app = typer.Typer(help="Build, fit, evaluate and ask the models.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """The model repository, the small weights, and how good they are."""


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
) -> None:
    """Assemble a repository that Triton serves. Does nothing when it is there already."""
    from inference.errors import Misconfigured
    from inference.serving.build import WEIGHTS, Sources
    from inference.serving.build import build as assemble
    from inference.taxonomy import TaxonomyError
    from stream.cli.progress import progress
    from stream.settings import load_settings

    sources = Sources(taxonomy, taxonomy_zh, schema, weights or WEIGHTS, cores)
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

    folder = _models_folder(models)
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

    manifest = Versions(_models_folder(models)).show(version)
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

    folder = _models_folder(models)
    typer.echo(card_of(Versions(folder).folder(version) if version else folder), nl=False)


@app.command()
def promote(version: VersionName, models: ModelsFolder = None) -> None:
    """Serve a version that was built before, if every file of it is whole. A running server must be restarted."""
    from inference.serving.versions import Versions

    folder = _models_folder(models)
    Versions(folder).promote(version)
    typer.echo(f"{folder}: {version}; restart the model server to serve it")


@app.command()
def rollback(models: ModelsFolder = None) -> None:
    """Serve what was served before. A running server must be restarted."""
    from inference.serving.versions import Versions

    folder = _models_folder(models)
    typer.echo(f"{folder}: {Versions(folder).rollback()}; restart the model server to serve it")


@app.command()
def fit(
    data: Annotated[Path | None, typer.Option(help="Folder of the data sets; default: SHANGXIN_DATA.")] = None,
    out: Annotated[
        Path, typer.Option(help="Weights folder: that of a training run (RUN/weights), or a new one.")
    ] = Path("build/weights"),
    task: Annotated[list[str] | None, typer.Option(help="Only this head; may be repeated.")] = None,
    cache: CacheFolder = DEFAULT_CACHE,
    threads: Threads = 0,
) -> None:
    """Fit the heads on the tuned encoder and print their development scores. Needs the `train` extra.

    --out holds vocabulary, adapter and tagger of a run; a new folder gets those that are shipped. Keywords are
    fitted on what the attributes and spans heads in --out say. The same data gives the same weights.
    """
    from inference.errors import Misconfigured
    from inference.taxonomy import load_label_map, load_taxonomy
    from inference.training.answers import begin_weights, open_encodings
    from inference.training.evaluate import TASKS
    from stream.cli.progress import progress

    wanted = [_task(each) for each in task or TASKS]
    folder = _data_folder(data)
    try:
        from inference.training.fit import Fitter
    except ModuleNotFoundError as error:
        raise Misconfigured(f"fitting needs the train extra (pip install 'shangxin[train]'): {error}") from None
    taxonomy = load_taxonomy()
    with progress() as report:
        try:
            begin_weights(out)
            fitter = Fitter(
                folder, out, open_encodings(cache, out, threads, True), taxonomy, load_label_map(taxonomy), report
            )
            scores = fitter.fit(wanted)
        except OSError as error:
            raise Misconfigured(str(error)) from None
    for name, measures in scores.items():
        for measure in measures:
            typer.echo(_line(name, measure))


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Run folder: configuration, curves, checkpoints, at the end `weights`.")],
    data: Annotated[Path | None, typer.Option(help="Folder of the data sets; default: SHANGXIN_DATA.")] = None,
    steps: Annotated[int, typer.Option(help="Steps; 0.6 seconds each on two cores.", min=1)] = 3_600,
    rate: Annotated[float, typer.Option(help="Learning rate of the backbone's changes.", min=0.0)] = 5e-4,
    share: Annotated[
        list[str] | None, typer.Option(help="TASK=SHARE of the steps; may be repeated; default: all tasks.")
    ] = None,
    head_rate: Annotated[float, typer.Option(help="Learning rate of the heads.", min=0.0)] = 2e-3,
    fresh: Annotated[bool, typer.Option(help="Start from the backbone, not from the version's adapter.")] = False,
    augment: Annotated[bool, typer.Option(help="Add rows with swapped values and other spellings.")] = True,
    seed: Annotated[int, typer.Option(help="Of order, dropout and new heads.")] = 20261125,
) -> None:
    """Fine-tune the backbone with LoRA on all tasks at once. Needs the `train` extra.

    The same command with the same --out goes on after a kill. Curves: tensorboard --logdir OUT/curves. Then:
    models compress --weights OUT/weights, models fit --out OUT/weights, models build --weights OUT/weights.
    """
    from inference.errors import Misconfigured
    from stream.cli.progress import progress

    folder = _data_folder(data)
    try:
        from inference.tuning.config import TrainConfig, shares_of
        from inference.tuning.start import export, open_trainer
    except ModuleNotFoundError as error:
        raise Misconfigured(f"training needs the train extra (pip install 'shangxin[train]'): {error}") from None
    config = TrainConfig(
        steps=steps, rate=rate, head_rate=head_rate, seed=seed, augment=augment, shares=shares_of(share or [])
    )
    with progress() as report:
        trainer = open_trainer(config, folder, out, report, fresh=fresh)
        scores = trainer.train()
        export(trainer, scores, out / "weights")
    for task, measures in scores.items():
        for name, value in measures.items():
            typer.echo(f"{task:<16} {name:<20} {value:.4f}")
    typer.echo(f"{out / 'weights'}: vocabulary, adapter, tagger")


@app.command()
def adapt(
    taxonomy: Annotated[Path, typer.Option(help="TSV (id, parent, en, zh) or a file in Google's format.")],
    rows: Annotated[Path, typer.Option(help="JSON lines: title, category (an id of the taxonomy), description.")],
    out: Annotated[Path, typer.Option(help="New weights folder.")],
    taxonomy_zh: Annotated[Path | None, typer.Option(help="Chinese names in Google's format.")] = None,
    weights: WeightsFolder = None,
    cache: CacheFolder = DEFAULT_CACHE,
) -> None:
    """Fit the categories to your own taxonomy and labelled rows; needs the `train` extra.

    One row in five is kept for measuring: printed is what is right before and after. Then: models build --taxonomy
    TAXONOMY --weights OUT. Without rows `build --taxonomy` alone is enough: categories are compared by their names.
    """
    from inference.errors import Misconfigured
    from inference.tasks.weights import DEFAULT_WEIGHTS
    from inference.taxonomy import TaxonomyError, load_taxonomy
    from stream.cli.progress import progress

    try:
        from inference.training.adapt import adapt as fit_to
    except ModuleNotFoundError as error:
        raise Misconfigured(f"fitting needs the train extra (pip install 'shangxin[train]'): {error}") from None
    with progress() as report:
        try:
            loaded = load_taxonomy(taxonomy, taxonomy_zh)
            done = fit_to(rows, loaded, weights or DEFAULT_WEIGHTS, out, cache, report)
        except (TaxonomyError, OSError) as error:
            raise Misconfigured(str(error)) from None
    typer.echo(f"{done.train} rows to fit on, {done.dev} to measure on")
    for title, measures in (("before", done.before), ("after", done.after)):
        for measure in measures:
            typer.echo(_line(title, measure))
    typer.echo(f"{out}: written; shangxin models build --taxonomy {taxonomy} --weights {out}")


@app.command()
def compress(
    weights: Annotated[Path, typer.Option(help="Weights folder of a run: RUN/weights.")],
    data: Annotated[Path | None, typer.Option(help="Folder of the data sets; default: SHANGXIN_DATA.")] = None,
) -> None:
    """Measure how the encoder's states are rounded to 8 bits, so that `build` and `fit` make an int8 encoder.

    Run it after `train` and before `fit`: the heads are then fitted on what is served.
    """
    from inference.errors import Misconfigured
    from inference.training.compress import compress as measure
    from stream.cli.progress import progress

    with progress() as report:
        try:
            written = measure(_data_folder(data), weights, report)
        except OSError as error:
            raise Misconfigured(str(error)) from None
    for file in written:
        typer.echo(f"{file}: written")


@app.command()
def vocabulary(
    out: Annotated[Path, typer.Option(help="Where the list of kept pieces goes.")] = Path("build/vocabulary.npz"),
    data: Annotated[Path | None, typer.Option(help="Folder of the data sets; default: SHANGXIN_DATA.")] = None,
) -> None:
    """Choose the pieces of the backbone's vocabulary that are kept, and say how unseen text fares with them."""
    from inference.tuning.choose_vocabulary import choose_for

    typer.echo(f"{'unseen text':<18} {'unknown before':>15} {'after':>9} {'tokens':>8}")
    for name, before, after in choose_for(_data_folder(data), out):
        growth = after.per_character / before.per_character - 1.0
        typer.echo(f"{name:<18} {before.unknown:>15.5f} {after.unknown:>9.5f} {growth:>+8.2%}")
    typer.echo(f"{out}: written")


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
            found = measure(_task(task), data, labels, predictors, taxonomy, load_label_map(taxonomy), kind)
        except OSError as error:
            raise Misconfigured(str(error)) from None
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
        return
    for each in found.measures:
        typer.echo(_line(found.task, each))


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
                    _task(task),
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
            rows = write_predictions(out, predictions(_task(task), data, labels, predictors))
        except OSError as error:
            raise Misconfigured(str(error)) from None
    typer.echo(f"{out}: {rows} rows")


def _data_folder(given: Path | None) -> Path:
    from inference.errors import Misconfigured
    from stream.settings import load_settings

    folder = given or load_settings().data
    if folder is None or not folder.is_dir():
        raise Misconfigured(f"--data or SHANGXIN_DATA: an existing folder of the data sets; got {folder}")
    return folder


def _models_folder(given: Path | None) -> Path:
    from stream.settings import load_settings

    return given or load_settings().stack.models_dir


def _task(name: str) -> str:
    from inference.training.evaluate import TASKS

    if name not in TASKS:
        raise typer.BadParameter(f"one of {', '.join(TASKS)}; got {name!r}", param_hint="--task")
    return name


def _line(task: str, measure: Measure) -> str:
    interval = f"[{measure.low:.4f}, {measure.high:.4f}]"
    return f"{task:<11} {measure.name:<45} {measure.score:.4f} {interval} n={measure.rows}"
