"""Options that commands of `shangxin models` share, and how their values are checked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inference.training.policy import Licences

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


LicencesOption = Annotated[
    Licences, typer.Option(help="permissive: only data sets whose licence is stated and allows commercial use.")
]


def data_folder(given: Path | None, licences: Licences = Licences.ANY) -> Path:
    """The folder given or set, or a copy of what its licences permit; Misconfigured where there is none."""
    from inference.errors import Misconfigured
    from inference.training.licences import permitted
    from stream.settings import load_settings

    folder = given or load_settings().data
    if folder is None or not folder.is_dir():
        raise Misconfigured(f"--data or SHANGXIN_DATA: an existing folder of the data sets; got {folder}")
    return permitted(folder, licences, DEFAULT_CACHE)


def models_folder(given: Path | None) -> Path:
    """The folder given, or the setting's."""
    from stream.settings import load_settings

    return given or load_settings().stack.models_dir


def task_of(name: str) -> str:
    """A task's name, checked."""
    from inference.tasks.bundle import TASKS

    if name not in TASKS:
        raise typer.BadParameter(f"one of {', '.join(TASKS)}; got {name!r}", param_hint="--task")
    return name


def line(task: str, measure: Measure) -> str:
    """One measure as a line of print."""
    interval = f"[{measure.low:.4f}, {measure.high:.4f}]"
    return f"{task:<11} {measure.name:<45} {measure.score:.4f} {interval} n={measure.rows}"
