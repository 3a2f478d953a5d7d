"""Versions from data that allows commercial use: what is read, what is left out, and what is refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from inference.errors import Misconfigured
from inference.tasks.bundle import HEADS
from inference.tasks.weights import DEFAULT_WEIGHTS
from inference.training import corpora
from inference.training.licences import check_permitted, check_tuned, permitted, rows_by_set
from inference.training.policy import Licences
from stream.cli.models import app


def write(file: Path, *lines: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(file, "wt", encoding="utf-8") as stream:
        stream.writelines(f"{line}\n" for line in lines)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    rows = [json.dumps({"title": f"red kayak {s}", "attributes": {"Color": ["red"]}, "source": s}) for s in SOURCES]
    write(folder / "attributes" / "train.jsonl.gz", *rows)
    write(folder / "attributes" / "dev.jsonl.gz", rows[1], rows[2])
    for name in ("train", "dev"):
        write(folder / "spans_zh" / f"{name}.bieos.gz", "海\tB-HP", "尔\tE-HP", "")
    write(folder / "catalogue" / "retail_demo.jsonl.gz", json.dumps({"name": "Lamp", "description": "A lamp."}))
    return folder


SOURCES = ("ae-110k", "oa-mine", "pave", "who knows")


def test_a_permitted_folder_has_every_file_and_only_rows_that_may_be_used(data: Path, tmp_path: Path) -> None:
    folder = permitted(data, Licences.PERMISSIVE, tmp_path / "cache")
    split = corpora.attribute_split(folder)
    assert [row.source for row in split.train] == ["ae-110k"], "oa-mine stands among the development rows too"
    assert [row.source for row in split.dev] == ["oa-mine"]
    assert corpora.span_split(folder).train == []
    assert len(corpora.catalogue_rows(folder)) == 1
    assert permitted(data, Licences.PERMISSIVE, tmp_path / "cache") == folder, "made once"
    assert permitted(data, Licences.ANY, tmp_path / "cache") == data
    write(data / "catalogue" / "retail_demo.jsonl.gz", *[json.dumps({"name": "Lamp", "description": "A lamp."})] * 2)
    again = permitted(data, Licences.PERMISSIVE, tmp_path / "cache")
    assert again != folder
    assert len(corpora.catalogue_rows(again)) == 2


def test_heads_of_other_data_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"category\.json: rows\.\w+: .*commercial"):
        check_permitted(DEFAULT_WEIGHTS)
    result = CliRunner().invoke(app, ["build", "--licences", "permissive", "--out", str(tmp_path / "models")])
    assert isinstance(result.exception, Misconfigured)
    assert not (tmp_path / "models").exists()
    for head in HEADS:
        rows = {"ae-110k": [3, 1, 0], "pave": [0, 1, 0]}
        (tmp_path / f"{head}.json").write_text(json.dumps({"rows": rows, "own": {"rows": [4, 1, 0]}}))
    check_permitted(tmp_path)
    (tmp_path / "tagger.json").write_text(json.dumps({}))
    with pytest.raises(Misconfigured, match="on record"):
        check_tuned(tmp_path)
    (tmp_path / "tagger.json").write_text(json.dumps({"rows": {"pave": [1, 0, 0]}}))
    with pytest.raises(Misconfigured, match=r"tagger\.json: rows\.pave: .* none stated"):
        check_tuned(tmp_path)


def test_rows_are_counted_by_set_and_side() -> None:
    assert rows_by_set([(["a", "b", "a"], 0), (["b"], 1)]) == {"a": [2, 0, 0], "b": [1, 1, 0]}


def test_a_run_leaves_out_tasks_whose_set_may_not_be_used_and_keeps_a_record(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the train extra (torch)")
    from inference.tuning.config import TrainConfig, Tuning
    from inference.tuning.start import export, open_trainer

    folder = permitted(data, Licences.PERMISSIVE, tmp_path / "cache")
    shares = {"attributes": 0.5, "spans": 0.5}
    config = TrainConfig(steps=1, scorings=1, tokens=128, shares=shares, tuning=Tuning(rank=4, alpha=8.0))
    trainer = open_trainer(config, folder, tmp_path / "run", lambda *_: None, fresh=True)
    assert list(trainer.tasks) == ["attributes"]
    export(trainer, trainer.train(), tmp_path / "weights")
    record = json.loads((tmp_path / "weights" / "tagger.json").read_text())
    assert set(record["rows"]) == {"ae-110k", "oa-mine"}
    assert record["rows"]["oa-mine"][0] == 0
    check_tuned(tmp_path / "weights")
    nothing = TrainConfig(steps=1, shares={"spans": 1.0})
    with pytest.raises(Misconfigured, match="share: none of spans has rows"):
        open_trainer(nothing, folder, tmp_path / "other", lambda *_: None, fresh=True)
