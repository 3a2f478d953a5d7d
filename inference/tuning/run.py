"""A run's folder: configuration, environment, data hashes, curves, and a checkpoint that a killed run goes on from."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch.utils.tensorboard import SummaryWriter

from inference.errors import Misconfigured
from inference.tuning.config import TrainConfig

CONFIG_FILE, DATA_FILE, ENVIRONMENT_FILE = "config.json", "data.json", "environment.json"
CHECKPOINT_FILE, BEST_FILE, SCORES_FILE = "checkpoint.pt", "best.pt", "scores.jsonl"
PACKAGES = ("torch", "transformers", "peft", "numpy", "tokenizers")


class Run:
    """One folder. begun: other files that decide the run: weights it starts from, labels of a version. wandb: curves
    go to Weights & Biases files in it too, offline. Raises Misconfigured where it holds a run of another configuration
    or other files, or where wandb is not installed."""

    def __init__(
        self, folder: Path, config: TrainConfig, data: Path, begun: Sequence[Path] = (), wandb: bool = False
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._same(CONFIG_FILE, msgspec.to_builtins(config))
        files = {file.name: _sha256(file) for file in begun if file.is_file()}
        self._same(DATA_FILE, {**data_hashes(data), **files})
        self._write(ENVIRONMENT_FILE, environment())
        self._writer = SummaryWriter(str(folder / "curves"))
        self._also = _wandb_run(folder, config) if wandb else None

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Onto the curves."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        if self._also is not None:
            self._also.log(dict(values), step=step)

    def scored(self, step: int, scores: Mapping[str, Mapping[str, float]]) -> None:
        """One line of scores, and onto the curves."""
        with (self.folder / SCORES_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "scores": scores}) + "\n")
        self.log(step, {f"dev {task}/{name}": value for task, each in scores.items() for name, value in each.items()})
        self._writer.flush()

    def close(self) -> None:
        """Curves to disk."""
        self._writer.close()
        if self._also is not None:
            self._also.finish()

    def save(self, name: str, state: Mapping[str, Any]) -> None:
        """Whole or not at all."""
        work = self.folder / f"{name}.{os.getpid()}"
        torch.save(dict(state), work)
        work.replace(self.folder / name)

    def load(self, name: str) -> dict[str, Any] | None:
        """What `save` wrote, None where nothing is."""
        path = self.folder / name
        if not path.is_file():
            return None
        found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return found

    def _same(self, name: str, value: Any) -> None:
        if (self.folder / name).is_file():
            _check_same(self.folder / name, value)
        self._write(name, value)

    def _write(self, name: str, value: Any) -> None:
        (self.folder / name).write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def check_kept(folder: Path, config: TrainConfig, data: Path) -> None:
    """Raise Misconfigured unless the folder's run is one of this configuration, threads aside, and of these data. What
    else decided it (weights, labels) is not looked at."""
    path = folder / CONFIG_FILE
    kept = json.loads(path.read_text(encoding="utf-8"))
    _check_same(path, {**msgspec.to_builtins(config), "threads": kept["threads"]})
    path = folder / DATA_FILE
    kept = json.loads(path.read_text(encoding="utf-8"))
    hashes = data_hashes(data)
    _check_same(path, {**{name: value for name, value in kept.items() if "/" not in name}, **hashes})


def _check_same(path: Path, value: Any) -> None:
    before, now = json.loads(path.read_text(encoding="utf-8")), json.loads(json.dumps(value))
    for key in sorted({*before, *now}):
        if before.get(key) != now.get(key):
            said = f"{key}: {before.get(key)!r} as the run began; got {now.get(key)!r}"
            raise Misconfigured(f"{path}: {said}; start a new one with another --out")


def _wandb_run(folder: Path, config: TrainConfig) -> Any:
    try:
        import wandb
    except ModuleNotFoundError as error:
        raise Misconfigured(
            f"--wandb needs the wandb extra (in the project's folder: pip install -e '.[train,wandb]'): {error}"
        ) from None
    decided = (folder / CONFIG_FILE).read_bytes() + (folder / DATA_FILE).read_bytes()
    return wandb.init(
        mode="offline",
        project="shangxin",
        id=hashlib.sha256(folder.name.encode() + decided).hexdigest()[:8],  # a run that goes on is one run when synced
        name=folder.name,
        dir=str(folder),
        config=msgspec.to_builtins(config),
    )


def data_hashes(data: Path) -> dict[str, str]:
    """SHA-256 of each file that tasks may read: all that are gzipped, as the loaders want them."""
    return {file.relative_to(data).as_posix(): _sha256(file) for file in sorted(data.rglob("*.gz"))}


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def environment() -> dict[str, Any]:
    """What scores and times may depend on."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        **{name: version(name) for name in PACKAGES},
    }
