"""How a run is done; written to its folder as it was."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from inference.errors import Misconfigured


class Method(StrEnum):
    """Which parameters of the backbone move."""

    LORA = "lora"
    ADALORA = "adalora"
    FULL = "full"
    ADAPTERS = "adapters"
    FROZEN = "frozen"


@dataclass(frozen=True)
class Tuning:
    """The backbone's side. rank: of each matrix's change. alpha: its scale is alpha / rank. dropout: of the
    backbone's own blocks while training. moved: kinds of matrices that change, as the backbone names them.
    layers: blocks that are kept of the backbone's, evenly; fewer can be measured but not served."""

    method: Method = Method.LORA
    rank: int = 32
    alpha: float = 64.0
    dropout: float = 0.1
    moved: tuple[str, ...] = ("query", "key", "value", "dense")
    layers: int = 12


SHARES = {
    "attributes": 0.36,
    "spans": 0.17,
    "weak": 0.05,
    "worded": 0.08,
    "stated": 0.05,
    "zh_store_titles": 0.10,
    "cold_zh": 0.10,
    "hate_en": 0.02,
    "fashion": 0.04,
    "pricerunner": 0.03,
}
"""Of the steps. At 3,600 steps that is 5 passes over attributes and spans, 5 over store titles and a half over COLD;
the sets whose targets are met already are there so that they stay met."""


@dataclass(frozen=True)
class TrainConfig:
    """A run. rate: of the backbone's parameters; head_rate: of the heads'. tokens: of a batch, padding included.
    warmup: share of the steps in which the rates rise; they fall to 0 after. keep_embedding: weight of
    1 - cosine between the pooled vector now and before tuning, so that the embedding stays one of meaning.
    apart: of prompts, weight of the mean cosine between a row's token states where it is above `alike`; a guard beside
    what held the runs together (docs/adr/0008), not measured alone.
    adversarial: length of the step that each prompt's word embeddings are moved against the loss for a second pass, in
    mean lengths of an embedding (FGM: Miyato, Dai, Goodfellow 2017); 0: no second pass.
    taught: weight of the mean squared distance, in their squared lengths, between a prompt's token states and those
    that the weights give which the run starts from; 0: none.
    betas: of AdamW; the second forgets faster than usual, as tasks with gradients of other sizes take turns.
    patience: scorings without a better mean after which a run ends; 0: never. augment: whether rows with swapped values
    and other spellings are added (augment.py)."""

    tuning: Tuning = field(default_factory=Tuning)
    steps: int = 3_600
    rate: float = 5e-4
    head_rate: float = 2e-3
    decay: float = 0.01
    tokens: int = 1_024
    warmup: float = 0.06
    clip: float = 1.0
    keep_embedding: float = 1.0
    apart: float = 2.0
    alike: float = 0.4
    adversarial: float = 0.0
    taught: float = 0.0
    betas: tuple[float, float] = (0.9, 0.98)
    scorings: int = 4
    patience: int = 0
    dev_rows: int = 500
    seed: int = 20261125
    threads: int = 2
    bf16: bool = True
    augment: bool = True
    shares: dict[str, float] = field(default_factory=lambda: dict(SHARES))


def shares_of(given: list[str]) -> dict[str, float]:
    """From TASK=SHARE; nothing given: SHARES. Which tasks there are, the trainer knows. Raises Misconfigured."""
    found: dict[str, float] = {}
    for each in given:
        name, _, value = each.partition("=")
        try:
            found[name] = float(value)
        except ValueError:
            found[name] = -1.0
        if found[name] <= 0.0:
            raise Misconfigured(
                f"share: TASK=SHARE, a task (such as {', '.join(SHARES)}) and a number above 0; got {each!r}"
            )
    return found or dict(SHARES)
