"""Versions from data that allows commercial use: what is read, what is left out, and what is refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from inference.contract import ListingInput, ListingResult
from inference.errors import Misconfigured
from inference.serving.engine import LocalEngine
from inference.tasks.bundle import HEADS
from inference.tasks.weights import DEFAULT_WEIGHTS
from inference.training import corpora
from inference.training.licences import (
    UNKNOWN,
    check_encoders,
    check_others,
    check_permitted,
    permitted,
    rows_by_set,
    save_record,
)
from inference.training.policy import Licences
from stream.cli.models import app
from tests.unit.encoder_fixture import CACHE
from tests.unit.models_fixture import SCHEMA, TAXONOMY


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
    with pytest.raises(Misconfigured, match=r"reader\.json: rows\..*commercial"):
        check_permitted(DEFAULT_WEIGHTS)
    result = CliRunner().invoke(app, ["build", "--licences", "permissive", "--out", str(tmp_path / "models")])
    assert isinstance(result.exception, Misconfigured)
    assert not (tmp_path / "models").exists()
    for part in (*HEADS, "reader"):
        rows = {"ae-110k": [3, 1, 0], "pave": [0, 0, 0]}
        (tmp_path / f"{part}.json").write_text(json.dumps({"rows": rows, "own": {"rows": [4, 1, 0]}}))
    check_permitted(tmp_path)
    (tmp_path / "reader.ranges.npz").write_bytes(b"")
    with pytest.raises(Misconfigured, match=r"ranges\.json"):
        check_permitted(tmp_path)
    save_record(tmp_path, "ranges", {"retail_demo": [1, 0, 0]})
    check_permitted(tmp_path)
    save_record(tmp_path, "category", {"pave": [0, 1, 0]})
    with pytest.raises(Misconfigured, match=r"category\.json: rows\.pave: .* none stated"):
        check_permitted(tmp_path)
    check_others(tmp_path, ["category"])
    with pytest.raises(Misconfigured, match=r"category\.json"):
        check_others(tmp_path, ["keywords"])
    (tmp_path / "tagger.json").write_text(json.dumps({}))
    with pytest.raises(Misconfigured, match=r"tagger\.json: rows"):
        check_encoders(tmp_path)


def test_what_a_run_was_started_from_stays_on_record(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the train extra (torch)")
    from inference.tuning.config import TrainConfig
    from inference.tuning.start import open_trainer

    folder = permitted(data, Licences.PERMISSIVE, tmp_path / "cache")
    config = TrainConfig(steps=1, shares={"attributes": 1.0})
    trainer = open_trainer(config, folder, tmp_path / "run", lambda *_: None)
    assert UNKNOWN in trainer.sets, "of the first runs of the shipped weights there is no record"
    assert "pave" in trainer.sets
    asked = ["--data", str(data), "--out", str(tmp_path / "other"), "--licences", "permissive"]
    begun = CliRunner().invoke(app, ["train", *asked, "--start", str(DEFAULT_WEIGHTS)])
    assert "reader.json" in str(begun.exception)
    said = CliRunner().invoke(app, ["train", *asked, "--pseudo", "rows.jsonl.gz"])
    assert said.exit_code == 2
    assert "labels come from a version" in " ".join(said.output.replace("│", " ").split())


def test_rows_are_counted_by_set_and_side() -> None:
    assert rows_by_set([(["a", "b", "a"], 0), (["b"], 1)]) == {"a": [2, 0, 0], "b": [1, 1, 0]}


def test_a_run_leaves_out_tasks_whose_set_may_not_be_used_and_keeps_a_record(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the train extra (torch)")
    from inference.tuning.config import TrainConfig, Tuning
    from inference.tuning.start import export, open_trainer

    folder = permitted(data, Licences.PERMISSIVE, tmp_path / "cache")
    shares = {"attributes": 0.5, "spans": 0.5}
    config = TrainConfig(steps=3, scorings=1, tokens=128, shares=shares, tuning=Tuning(rank=4, alpha=8.0))
    trainer = open_trainer(config, folder, tmp_path / "run", lambda *_: None, fresh=True)
    assert list(trainer.tasks) == ["attributes"]
    export(trainer, trainer.train(), tmp_path / "weights")
    record = json.loads((tmp_path / "weights" / "tagger.json").read_text())
    assert set(record["rows"]) == {"ae-110k", "oa-mine"}
    assert record["rows"]["oa-mine"][0] == 0
    assert json.loads((tmp_path / "weights" / "reader.json").read_text())["rows"] == record["rows"]
    check_encoders(tmp_path / "weights")
    nothing = TrainConfig(steps=1, shares={"spans": 1.0})
    with pytest.raises(Misconfigured, match="share: none of spans has rows"):
        open_trainer(nothing, folder, tmp_path / "other", lambda *_: None, fresh=True)


def test_a_permissive_version_is_trained_fitted_and_built_by_the_documented_commands(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the train extra (torch)")
    data, weights = tmp_path / "data", tmp_path / "run" / "weights"
    rows = [
        {
            "title": f"{colour} {kind} by Acme {n}",
            "attributes": {"Color": [colour], "Brand": ["Acme"]},
            "absent": ["Size"],
        }
        for n in range(3)
        for colour in ("red", "blue", "green")
        for kind in ("kayak", "tent")
    ]
    own = [json.dumps({**row, "category": "Shorts", "source": "ae-110k"}) for row in rows]
    other = [json.dumps({**row, "title": f"{row['title']} Pro", "source": "pave"}) for row in rows]
    write(data / "attributes" / "train.jsonl.gz", *own[:12], *other)
    write(data / "attributes" / "dev.jsonl.gz", *own[12:], *other)
    for name in ("train", "dev"):
        write(data / "spans_zh" / f"{name}.bieos.gz", "海\tB-HP", "尔\tE-HP", "")
        write(data / "safety" / f"cold_zh.{name}.jsonl.gz", json.dumps({"text": f"好 {name}", "offensive": 0}))
    posts = [json.dumps({"text": f"{word} {n}", "class": kind}) for n in range(8) for word, kind in WORDS]
    write(data / "safety" / "hate_en.train.jsonl.gz", *posts)
    write(data / "catalogue" / "retail_demo.jsonl.gz", *[json.dumps({**LAMP, "name": f"Lamp {n}"}) for n in range(12)])
    for file in ("category/zh_store_titles.train", "category/fashion.train", "category/pricerunner.train"):
        write(data / f"{file}.jsonl.gz", json.dumps({"title": "a title", "category": "b"}))
    for file in ("copy/advertisegen.train", "copy/offers_en"):
        write(data / f"{file}.jsonl.gz", json.dumps({"summary": "裙", "content": "类型#裙", "title": "x"}))
    taxonomy, schema = tmp_path / "taxonomy.tsv", tmp_path / "attributes.json"
    taxonomy.write_text(TAXONOMY, encoding="utf-8")
    schema.write_text(json.dumps(SCHEMA), encoding="utf-8")
    permissive = ["--licences", "permissive"]
    own_taxonomy = ["--taxonomy", str(taxonomy), "--schema", str(schema)]
    for command in (
        ["train", "--data", str(data), "--out", str(tmp_path / "run"), "--steps", "2", *permissive],
        ["compress", "--data", str(data), "--weights", str(weights), *permissive],
        ["fit", "--data", str(data), "--out", str(weights), "--cache", str(CACHE), *permissive],
        ["build", "--weights", str(weights), "--out", str(tmp_path / "models"), *permissive, *own_taxonomy],
    ):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, (command[0], done.output, done.exception)
    check_permitted(weights)
    for head in HEADS:
        sets = set(json.loads((weights / f"{head}.json").read_text(encoding="utf-8"))["rows"])
        assert sets <= {"ae-110k", "retail_demo", "hate_en", "pairs by hand", "cold_zh", "zh_store_titles"}, head
    answers = LocalEngine.open(tmp_path / "models", 1).answer(
        [ListingInput(title="海尔冰箱"), ListingInput(title="Tent")]
    )
    assert all(isinstance(answer, ListingResult) for answer, _ in answers)


WORDS = (("you fool", 1), ("a nice day", 2), ("hateful thing", 0), ("good morning", 2))
LAMP = {"description": "A bright lamp for the desk.", "category": "furniture", "style": "lamps"}
