"""Runs that differ in one thing each, from the backbone, on the same rows and for the same steps; and their table.

Each is a run folder of its own, so that a table that was cut off goes on, and a run that is there is not done again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from inference.errors import Misconfigured
from inference.tasks.weights import DEFAULT_WEIGHTS
from inference.tuning.config import Method, TrainConfig, Tuning
from inference.tuning.loop import Report
from inference.tuning.start import open_trainer

SHARES = {"attributes": 0.55, "spans": 0.35, "worded": 0.10}
RESULT_FILE = "result.json"
BASE = "lora"
FULL_RATE = 5e-5
"""Of full tuning: a tenth of LoRA's, as is usual; at LoRA's rate it forgets what was pretrained."""


@dataclass(frozen=True)
class Variant:
    """One run. tuning, changes: of the base's TrainConfig. start: a weights folder to begin from, by name of option."""

    says: str
    tuning: Tuning = field(default_factory=Tuning)
    rate: float = 5e-4
    augment: bool = True
    shares: dict[str, float] = field(default_factory=lambda: dict(SHARES))
    adversarial: float = 0.0
    pretrained: bool = False


def _less(*names: str) -> dict[str, float]:
    return {name: share for name, share in SHARES.items() if name not in names}


VARIANTS = {
    BASE: Variant("LoRA of rank 32 on all six matrices"),
    "rank8": Variant("LoRA of rank 8", Tuning(rank=8, alpha=16.0)),
    "adalora": Variant("AdaLoRA, mean rank 32", Tuning(method=Method.ADALORA), rate=1e-3),
    "full": Variant("all matrices of the blocks", Tuning(method=Method.FULL), rate=FULL_RATE),
    "frozen": Variant("heads alone", Tuning(method=Method.FROZEN)),
    "plain": Variant("without swapped values and other spellings", augment=False),
    "unworded": Variant("without labels by wording", shares=_less("worded")),
    "weak": Variant("with weak labels of copy and offers", shares={**SHARES, "weak": 0.10}),
    "adversarial": Variant("adversarial steps on the embeddings (FGM)", adversarial=0.5),
    "pretrained": Variant("begun from `models pretrain`", pretrained=True),
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
) -> list[Result]:
    """Every variant with every seed. Raises Misconfigured for a name that is none, or for lack of `pretrained`."""
    if unknown := sorted(set(names) - set(VARIANTS)):
        raise Misconfigured(f"variant: one of {', '.join(VARIANTS)}; got {', '.join(unknown)}")
    if pretrained is None and any(VARIANTS[name].pretrained for name in names):
        raise Misconfigured("variant pretrained: --pretrained says where `models pretrain` left its weights")
    runs = [(name, seed) for seed in seeds for name in names]
    return [_one(name, data, out / f"{name}-{seed}", steps, seed, pretrained, report) for name, seed in runs]


def _one(name: str, data: Path, folder: Path, steps: int, seed: int, pretrained: Path | None, report: Report) -> Result:
    kept = folder / RESULT_FILE
    if kept.is_file():
        return Result(**json.loads(kept.read_text(encoding="utf-8")))
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
    )
    start = (pretrained if variant.pretrained else None) or DEFAULT_WEIGHTS
    trainer = open_trainer(
        config, data, folder, lambda *told: report(f"{name}: {told[0]}", *told[1:]), start, fresh=not variant.pretrained
    )
    scores = trainer.train()
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
    return "\n".join(lines) + "\n"
