"""Runs that differ in one thing each, from the backbone, on the same rows and for the same steps; and their table.

Each is a run folder of its own, so that a table that was cut off goes on, and a run that is there is not done again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from inference.errors import Misconfigured
from inference.tasks.weights import DEFAULT_WEIGHTS
from inference.taxonomy import load_taxonomy
from inference.training.answers import open_predictors
from inference.training.perturb import Kind
from inference.training.pseudo import PSEUDO, label, write_rows
from inference.tuning.config import Method, TrainConfig, Tuning
from inference.tuning.extraction import HEAD
from inference.tuning.loop import Report, Trainer
from inference.tuning.run import check_kept
from inference.tuning.start import export, open_trainer
from inference.tuning.tasks.attributes import items_in

SHARES = {"attributes": 0.55, "spans": 0.35, "worded": 0.10}
SPELT = "spelt"
RESULT_FILE, WEIGHTS = "result.json", "weights"
BASE = "lora"
FULL_RATE = 5e-5
"""Of full tuning: a tenth of LoRA's, as is usual; at LoRA's rate it forgets what was pretrained."""


class Start(StrEnum):
    """What a run begins from: the backbone, weights of `models pretrain`, or the shipped weights."""

    BACKBONE = "backbone"
    PRETRAINED = "pretrained"
    SHIPPED = "shipped"


@dataclass(frozen=True)
class Variant:
    """One run: what differs from the base. spelt: whether other spellings are scored as well."""

    says: str
    tuning: Tuning = field(default_factory=Tuning)
    rate: float = 5e-4
    augment: bool = True
    shares: dict[str, float] = field(default_factory=lambda: dict(SHARES))
    adversarial: float = 0.0
    taught: float = 0.0
    start: Start = Start.BACKBONE
    spelt: bool = False


def _less(*names: str) -> dict[str, float]:
    return {name: share for name, share in SHARES.items() if name not in names}


VARIANTS = {
    BASE: Variant("LoRA of rank 32 on all six matrices", spelt=True),
    "rank8": Variant("LoRA of rank 8", Tuning(rank=8, alpha=16.0)),
    "adalora": Variant("AdaLoRA, mean rank 32", Tuning(method=Method.ADALORA), rate=1e-3),
    "full": Variant("all matrices of the blocks", Tuning(method=Method.FULL), rate=FULL_RATE),
    "adapters": Variant("adapter layers of width 128", Tuning(method=Method.ADAPTERS)),
    "frozen": Variant("heads alone", Tuning(method=Method.FROZEN)),
    "plain": Variant("without swapped values and other spellings", augment=False, spelt=True),
    "unworded": Variant("without labels by wording", shares=_less("worded")),
    "weak": Variant("with weak labels of copy, offers, catalogue and fashion", shares={**SHARES, "weak": 0.10}),
    "pseudo": Variant("with labels that the base's run is sure of", shares={**SHARES, "pseudo": 0.20}),
    "adversarial": Variant("adversarial steps on the embeddings (FGM)", adversarial=0.5, spelt=True),
    "pretrained": Variant("begun from `models pretrain`", start=Start.PRETRAINED),
    "shipped": Variant("shipped weights, trained on", start=Start.SHIPPED),
    "nine": Variant("nine of the shipped twelve blocks", Tuning(layers=9), start=Start.SHIPPED),
    "six": Variant("six of the shipped twelve blocks", Tuning(layers=6), start=Start.SHIPPED),
    "taught": Variant("six blocks, taught the states of the twelve", Tuning(layers=6), taught=2.0, start=Start.SHIPPED),
}


@dataclass(frozen=True)
class Result:
    """parameters: that move in the backbone. step_s: of a step, scorings and all. scores: on the development rows,
    threshold one half."""

    name: str
    parameters: int
    step_s: float
    scores: dict[str, float]


def ablate(
    data: Path,
    out: Path,
    steps: int,
    names: Sequence[str],
    seeds: Sequence[int],
    pretrained: Path | None,
    report: Report,
    threads: int = TrainConfig().threads,
) -> list[Result]:
    """Every variant with every seed, one after another. threads: of each run. Raises Misconfigured for a name that is
    none, for lack of `pretrained`, for `pseudo` before the base, and for a kept run of other steps or data."""
    if unknown := sorted(set(names) - set(VARIANTS)):
        raise Misconfigured(f"variant: one of {', '.join(VARIANTS)}; got {', '.join(unknown)}")
    if pretrained is None and any(VARIANTS[name].start is Start.PRETRAINED for name in names):
        raise Misconfigured("pretrained: for the variant of that name the weights of `models pretrain`; got none")
    runs = [(name, seed) for seed in seeds for name in names]
    return [_one(name, data, out / f"{name}-{seed}", steps, seed, pretrained, report, threads) for name, seed in runs]


def _one(
    name: str,
    data: Path,
    folder: Path,
    steps: int,
    seed: int,
    pretrained: Path | None,
    report: Report,
    threads: int,
) -> Result:
    variant = VARIANTS[name]
    config = replace(
        TrainConfig(),
        tuning=variant.tuning,
        rate=variant.rate,
        steps=steps,
        scorings=1,
        seed=seed,
        augment=variant.augment,
        shares=variant.shares,
        adversarial=variant.adversarial,
        taught=variant.taught,
        threads=threads,
    )

    kept = folder / RESULT_FILE
    if kept.is_file() and (name != BASE or (folder / WEIGHTS / f"{HEAD}.json").is_file()):
        check_kept(folder, config, data)
        return Result(**json.loads(kept.read_text(encoding="utf-8")))

    def told(step: str, done: int, total: int) -> None:
        report(f"{name}: {step}", done, total)

    rows = _pseudo_rows(data, folder.with_name(f"{BASE}-{seed}"), told) if PSEUDO in variant.shares else None
    start = pretrained if variant.start is Start.PRETRAINED and pretrained else DEFAULT_WEIGHTS
    fresh = variant.start is Start.BACKBONE
    trainer = open_trainer(config, data, folder, told, start, fresh, rows)
    scores = trainer.train()
    if variant.spelt:
        scores[SPELT] = _spelt(trainer)
    if name == BASE:
        export(trainer, scores, folder / WEIGHTS)
    moved = sum(value.numel() for value in trainer.encoder.tuned_state().values())
    last = json.loads((folder / "scores.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    result = Result(
        f"{name} {seed}",
        moved,
        last["scores"]["time"]["seconds a step"],
        {f"{task} {key}": value for task, each in scores.items() for key, value in each.items()},
    )
    kept.write_text(json.dumps(asdict(result)), encoding="utf-8")
    return result


def _spelt(trainer: Trainer) -> dict[str, float]:
    """Micro F1 of attributes by spelling."""
    task = trainer.tasks["attributes"]
    head = trainer.heads[task.head_name]
    return {kind.value: task.score(head, items_in(trainer.loading, kind), trainer.encode)["f1"] for kind in Kind}


def _pseudo_rows(data: Path, base: Path, report: Report) -> Path:
    """What the base's run says of unlabelled text, labelled once."""
    if not (base / WEIGHTS / f"{HEAD}.json").is_file():
        raise Misconfigured(f"variant: pseudo is labelled by {BASE} with the same seed; {base / WEIGHTS} is not there")
    file = base / "pseudo.jsonl.gz"
    if not file.is_file():
        predictors = open_predictors(base / WEIGHTS, base / "cache", load_taxonomy(), 0, report)
        write_rows(file, label(data, predictors, report).rows)
    return file


def table(results: Sequence[Result]) -> str:
    """Markdown."""
    lines = [
        "| Run | What | Parameters | fp16 MB | s a step | Attributes | Spans |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in results:
        says = VARIANTS[each.name.split()[0]].says
        numbers = f"{each.parameters:,} | {each.parameters * 2 / 1e6:.1f} | {each.step_s:.2f}"
        scores = f"{each.scores['attributes f1']:.3f} | {each.scores['spans f1']:.3f}"
        lines.append(f"| {each.name} | {says} | {numbers} | {scores} |")
    spelt = [each for each in results if f"{SPELT} {Kind.TYPOS}" in each.scores]
    if spelt:
        kinds = [kind.value for kind in Kind]
        lines += ["", f"| Attributes | as it is | {' | '.join(kinds)} |", "|---" * (len(kinds) + 2) + "|"]
        for each in spelt:
            found = [each.scores["attributes f1"], *(each.scores[f"{SPELT} {kind}"] for kind in kinds)]
            lines.append(f"| {each.name} | {' | '.join(f'{score:.3f}' for score in found)} |")
    return "\n".join(lines) + "\n"
