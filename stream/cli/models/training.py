"""Commands that fit weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inference.training.policy import Licences
from stream.cli.models.options import (
    DEFAULT_CACHE,
    CacheFolder,
    LicencesOption,
    Threads,
    WeightsFolder,
    data_folder,
    line,
    task_of,
)

if TYPE_CHECKING:
    from inference.training.metrics import Measure
    from inference.tuning.config import TrainConfig

app = typer.Typer()

Wandb = Annotated[bool, typer.Option(help="Curves as offline Weights & Biases files too (extra `wandb`).")]
TorchThreads = Annotated[
    int,
    typer.Option(
        help="Threads of the run. On two cores two runs of one thread each do more than one of two; never start "
        "two of two.",
        min=1,
    ),
]


def _train(
    config: TrainConfig,
    data: Path,
    out: Path,
    start: Path | None,
    fresh: bool,
    pseudo: Path | None = None,
    wandb: bool = False,
) -> None:
    """Run, write the weights, print the scores."""
    from inference.errors import Misconfigured
    from inference.tasks.weights import DEFAULT_WEIGHTS
    from stream.cli.progress import progress

    try:
        from inference.tuning.start import export, open_trainer
    except ModuleNotFoundError as error:
        raise Misconfigured(
            f"training needs the train extra (in the project's folder: pip install -e '.[train]'): {error}"
        ) from None
    with progress() as report:
        trainer = open_trainer(config, data, out, report, start or DEFAULT_WEIGHTS, fresh, pseudo, wandb)
        scores = trainer.train()
        export(trainer, scores, out / "weights", start or DEFAULT_WEIGHTS)
    for task, measures in scores.items():
        for name, value in measures.items():
            typer.echo(f"{task:<16} {name:<20} {value:.4f}")


@app.command()
def vocabulary(
    out: Annotated[Path, typer.Option(help="Where the list of kept pieces goes.")] = Path("build/vocabulary.npz"),
    data: Annotated[Path | None, typer.Option(help="Folder of the data sets; default: SHANGXIN_DATA.")] = None,
) -> None:
    """Choose the pieces of the backbone's vocabulary that are kept, and say how unseen text fares with them."""
    from inference.tuning.choose_vocabulary import choose_for

    typer.echo(f"{'unseen text':<18} {'unknown before':>15} {'after':>9} {'tokens':>8}")
    for name, before, after in choose_for(data_folder(data), out):
        growth = after.per_character / before.per_character - 1.0
        typer.echo(f"{name:<18} {before.unknown:>15.5f} {after.unknown:>9.5f} {growth:>+8.2%}")
    typer.echo(f"{out}: written")


@app.command()
def pretrain(
    out: Annotated[Path, typer.Option(help="Run folder: configuration, curves, checkpoints, at the end `weights`.")],
    data: Annotated[Path | None, typer.Option(help="Folder of the data sets; default: SHANGXIN_DATA.")] = None,
    steps: Annotated[int, typer.Option(help="Steps; 0.7 seconds each on two cores.", min=1)] = 4_000,
    rate: Annotated[float, typer.Option(help="Learning rate of the backbone's changes.", min=0.0)] = 5e-4,
    seed: Annotated[int, typer.Option(help="Of order, dropout and what is masked.")] = 20261125,
    threads: TorchThreads = 2,
    wandb: Wandb = False,
    licences: LicencesOption = Licences.ANY,
) -> None:
    """Masked-language modelling on all product text of the data folder. Needs the `train` extra.

    No labels are read. The same command with the same --out goes on after a kill. Then: models train --start
    OUT/weights.
    """
    from inference.tuning.config import TrainConfig

    config = TrainConfig(
        steps=steps, rate=rate, head_rate=1e-3, seed=seed, augment=False, shares={"masked": 1.0}, threads=threads
    )
    _train(config, data_folder(data, licences), out, None, True, wandb=wandb)
    typer.echo(f"{out / 'weights'}: vocabulary, adapter")


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
    start: Annotated[
        Path | None,
        typer.Option(help="Weights folder whose adapter is started from, such as that of pretrain; default: shipped."),
    ] = None,
    fresh: Annotated[bool, typer.Option(help="Start from the backbone, not from an adapter.")] = False,
    pseudo: Annotated[Path | None, typer.Option(help="Rows of `models label`, for --share pseudo=.")] = None,
    wandb: Wandb = False,
    augment: Annotated[bool, typer.Option(help="Add rows with swapped values and other spellings.")] = True,
    scorings: Annotated[int, typer.Option(help="Of the development rows, evenly spread; the best is kept.", min=1)] = 4,
    patience: Annotated[
        int, typer.Option(help="Scorings without a better mean after which the run ends; 0: never.", min=0)
    ] = 0,
    seed: Annotated[int, typer.Option(help="Of order, dropout and new heads.")] = 20261125,
    threads: TorchThreads = 2,
    licences: LicencesOption = Licences.ANY,
) -> None:
    """Fine-tune the backbone with LoRA on all tasks at once. Needs the `train` extra.

    The same command with the same --out goes on after a kill. Curves: tensorboard --logdir OUT/curves. Then:
    models compress --weights OUT/weights, models fit --out OUT/weights, models build --weights OUT/weights.
    With --licences permissive say so to all four; a run then starts from the backbone unless --start is given.
    """
    from inference.contract import READER_MODEL
    from inference.training.licences import check_rows
    from inference.tuning.config import TrainConfig, shares_of

    if licences is Licences.PERMISSIVE and pseudo is not None:
        raise typer.BadParameter("not with --licences permissive: labels come from a version", param_hint="--pseudo")
    if (pseudo is None) == ("pseudo" in shares_of(share or [])):
        raise typer.BadParameter("a file of `models label`, with --share pseudo=SHARE", param_hint="--pseudo")
    if fresh and start is not None:
        raise typer.BadParameter("not with --fresh, which starts from the backbone", param_hint="--start")
    shares = shares_of(share or [])
    config = TrainConfig(
        steps=steps,
        rate=rate,
        head_rate=head_rate,
        seed=seed,
        augment=augment,
        shares=shares,
        scorings=scorings,
        patience=patience,
        threads=threads,
    )
    fresh = fresh or (licences is Licences.PERMISSIVE and start is None)  # what is shipped has learned from all sets
    if licences is Licences.PERMISSIVE and start is not None:
        check_rows(start / f"{READER_MODEL}.json")
    _train(config, data_folder(data, licences), out, start, fresh, pseudo, wandb)
    typer.echo(f"{out / 'weights'}: vocabulary, adapter, tagger")


@app.command()
def mix(
    first: Annotated[Path, typer.Argument(help="Weights folder that the second run began from.")],
    second: Annotated[Path, typer.Argument(help="Weights folder of that run.")],
    out: Annotated[Path, typer.Option(help="New weights folder.")],
    share: Annotated[float, typer.Option(help="Of the second; the rest is the first's.", min=0.0, max=1.0)] = 0.75,
) -> None:
    """The mean of two runs' adapters and taggers, weight for weight: often better than either.

    Then: models compress --weights OUT, models fit --out OUT, models compare FIRST OUT.
    """
    from inference.errors import Misconfigured
    from inference.training.mix import mix as mean_of

    try:
        mean_of(first, second, share, out)
    except OSError as error:
        raise Misconfigured(str(error)) from None
    typer.echo(f"{out}: vocabulary, adapter, tagger; {share:g} of {second}")


@app.command()
def label(
    out: Annotated[Path, typer.Option(help="File of the rows: JSON lines, gzipped.")] = Path("build/pseudo.jsonl.gz"),
    data: Annotated[Path | None, typer.Option(help="Folder of the data sets; default: SHANGXIN_DATA.")] = None,
    each: Annotated[int, typer.Option(help="Texts of each source.", min=1)] = 2_000,
    weights: WeightsFolder = None,
    cache: CacheFolder = DEFAULT_CACHE,
    threads: Threads = 0,
) -> None:
    """Label product text that has no labels: brands, product words and attribute values that the model is sure of.

    Then: models train --pseudo OUT --share pseudo=0.2 and the other shares.
    """
    from inference.errors import Misconfigured
    from inference.tasks.weights import DEFAULT_WEIGHTS
    from inference.taxonomy import load_taxonomy
    from inference.training.answers import open_predictors
    from inference.training.pseudo import label as labelled
    from inference.training.pseudo import write_rows
    from stream.cli.progress import progress

    folder = data_folder(data)
    with progress() as report:
        try:
            predictors = open_predictors(weights or DEFAULT_WEIGHTS, cache, load_taxonomy(), threads, report)
            found = labelled(folder, predictors, report, each)
            write_rows(out, found.rows)
        except OSError as error:
            raise Misconfigured(str(error)) from None
    typer.echo(f"{out}: {len(found.rows)} rows, {found.kept} of {found.asked} names kept")


@app.command()
def ablate(
    out: Annotated[
        Path, typer.Option(help="Folder of the runs; one that is there, of the same steps and data, is not done again.")
    ],
    data: Annotated[Path | None, typer.Option(help="Folder of the data sets; default: SHANGXIN_DATA.")] = None,
    steps: Annotated[int, typer.Option(help="Steps of each run; 0.6 seconds each on two cores.", min=1)] = 800,
    variant: Annotated[list[str] | None, typer.Option(help="Only this one; may be repeated; default: all.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="May be repeated.")] = None,
    pretrained: Annotated[Path | None, typer.Option(help="Weights of `models pretrain`, for the variant.")] = None,
    threads: TorchThreads = 2,
) -> None:
    """Runs that differ in one thing each (method, rank, data, adversarial steps), and their table. Needs `train`."""
    from inference.errors import Misconfigured
    from stream.cli.progress import progress

    try:
        from inference.tuning.ablate import VARIANTS, Start, table
        from inference.tuning.ablate import ablate as measure
    except ModuleNotFoundError as error:
        raise Misconfigured(
            f"training needs the train extra (in the project's folder: pip install -e '.[train]'): {error}"
        ) from None
    folder = data_folder(data)
    names = variant or [n for n, each in VARIANTS.items() if pretrained or each.start is not Start.PRETRAINED]
    with progress() as report:
        results = measure(folder, out, steps, names, seed or [20261125], pretrained, report, threads)
    typer.echo(table(results), nl=False)


@app.command()
def compress(
    weights: Annotated[Path, typer.Option(help="Weights folder of a run: RUN/weights.")],
    data: Annotated[Path | None, typer.Option(help="Folder of the data sets; default: SHANGXIN_DATA.")] = None,
    licences: LicencesOption = Licences.ANY,
) -> None:
    """Measure how the encoder's states are rounded to 8 bits, so that `build` and `fit` make an int8 encoder.

    Run it after `train` and before `fit`: the heads are then fitted on what is served.
    """
    from inference.errors import Misconfigured
    from inference.training.compress import compress as measure
    from stream.cli.progress import progress

    with progress() as report:
        try:
            written = measure(data_folder(data, licences), weights, report)
        except OSError as error:
            raise Misconfigured(str(error)) from None
    for file in written:
        typer.echo(f"{file}: written")


@app.command()
def fit(
    data: Annotated[Path | None, typer.Option(help="Folder of the data sets; default: SHANGXIN_DATA.")] = None,
    out: Annotated[
        Path, typer.Option(help="Weights folder: that of a training run (RUN/weights), or a new one.")
    ] = Path("build/weights"),
    task: Annotated[list[str] | None, typer.Option(help="Only this head; may be repeated.")] = None,
    cache: CacheFolder = DEFAULT_CACHE,
    threads: Threads = 0,
    licences: LicencesOption = Licences.ANY,
) -> None:
    """Fit the heads on the tuned encoder and print their development scores. Needs the `train` extra.

    --out holds vocabulary, adapter and tagger of a run; a new folder gets those that are shipped, but not with
    --licences permissive. Run `compress` before: without its ranges a run is fitted and served in full precision, at
    0.4 of the rate on a CPU. Keywords are fitted on what the attributes and spans heads in --out say. The same data
    gives the same weights.
    """
    from inference.errors import Misconfigured
    from inference.tasks.bundle import TASKS
    from inference.taxonomy import load_label_map, load_taxonomy
    from inference.training.answers import begin_weights, open_encodings
    from inference.training.licences import check_encoders, check_others
    from stream.cli.progress import progress

    wanted = [task_of(each) for each in task or TASKS]
    folder = data_folder(data, licences)
    try:
        from inference.training.fit import Fitter
    except ModuleNotFoundError as error:
        raise Misconfigured(
            f"fitting needs the train extra (in the project's folder: pip install -e '.[train]'): {error}"
        ) from None
    taxonomy = load_taxonomy()
    with progress() as report:
        try:
            if licences is Licences.PERMISSIVE:
                check_encoders(out)
                check_others(out, wanted)
            else:
                begin_weights(out)
            fitter = Fitter(
                folder, out, open_encodings(cache, out, threads, True), taxonomy, load_label_map(taxonomy), report
            )
            scores = fitter.fit(wanted)
        except OSError as error:
            raise Misconfigured(str(error)) from None
    for name, measures in scores.items():
        for measure in measures:
            typer.echo(line(name, measure))


@app.command()
def adapt(
    out: Annotated[Path, typer.Option(help="New weights folder.")],
    taxonomy: Annotated[
        Path | None, typer.Option(help="TSV (id, parent, en, zh) or a file in Google's format.")
    ] = None,
    rows: Annotated[
        Path | None, typer.Option(help="JSON lines: title, category (an id of the taxonomy), description.")
    ] = None,
    attributes: Annotated[
        Path | None, typer.Option(help="JSON lines: title, attributes {name: [values]}, absent [names], description.")
    ] = None,
    taxonomy_zh: Annotated[Path | None, typer.Option(help="Chinese names in Google's format.")] = None,
    weights: WeightsFolder = None,
    cache: CacheFolder = DEFAULT_CACHE,
) -> None:
    """Fit categories, attributes or both to your own labelled rows; needs the `train` extra.

    Categories: --taxonomy and --rows. Attributes: --attributes. One row in five is kept for measuring: printed is what
    is right before and after. Then: models build --taxonomy TAXONOMY --schema SCHEMA --weights OUT. Without rows that
    alone is enough: categories and attributes never seen are known by their names.
    """
    from inference.errors import Misconfigured
    from inference.tasks.weights import DEFAULT_WEIGHTS
    from inference.taxonomy import TaxonomyError, load_taxonomy
    from stream.cli.progress import progress

    if (taxonomy is None) != (rows is None) or (rows is None and attributes is None):
        raise typer.BadParameter("--taxonomy with --rows, or --attributes, or all three", param_hint="--rows")
    try:
        from inference.training.adapt import adapt as fit_to
        from inference.training.adapt_attributes import adapt_attributes
    except ModuleNotFoundError as error:
        raise Misconfigured(
            f"fitting needs the train extra (in the project's folder: pip install -e '.[train]'): {error}"
        ) from None
    source = weights or DEFAULT_WEIGHTS
    with progress() as report:
        try:
            if taxonomy is not None and rows is not None:
                done = fit_to(rows, load_taxonomy(taxonomy, taxonomy_zh), source, out, cache, report)
                _say_adapted(done.train, done.dev, done.before, done.after)
                source = out
            if attributes is not None:
                found = adapt_attributes(attributes, source, out, cache, report)
                _say_adapted(found.train, found.dev, [found.before], [found.after])
        except (TaxonomyError, OSError) as error:
            raise Misconfigured(str(error)) from None
    own = f"--taxonomy {taxonomy} " if taxonomy else ""
    typer.echo(f"{out}: written; shangxin models build {own}--weights {out}")


def _say_adapted(train: int, dev: int, before: Sequence[Measure], after: Sequence[Measure]) -> None:
    typer.echo(f"{train} rows to fit on, {dev} to measure on")
    for title, measures in (("before", before), ("after", after)):
        for measure in measures:
            typer.echo(line(title, measure))
