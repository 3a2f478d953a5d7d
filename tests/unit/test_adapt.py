"""A taxonomy and rows that the model has not seen: names alone where they speak, rows where they do not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from inference.contract import ListingInput, ListingResult
from inference.errors import Rejected
from inference.serving.build import Sources, build
from inference.serving.engine import LocalEngine
from inference.tasks.weights import DEFAULT_WEIGHTS as WEIGHTS
from inference.tasks.weights import load_head
from inference.taxonomy import load_taxonomy
from inference.training.adapt import adapt, read_own_rows
from inference.training.data import DataError
from stream.cli.models import app
from tests.unit.encoder_fixture import CACHE

pytest.importorskip("torch")

SHELVES = "id\tparent\ten\tzh\nz1\t\tZone One\t一区\nz2\t\tZone Two\t二区\nz3\t\tZone Three\t三区\n"
GOODS = {
    "z1": ("aquarium gravel", "fish tank heater", "coral food", "protein skimmer", "水族过滤器", "鱼缸加热棒"),
    "z2": ("recurve bow", "arrow rest", "archery target face", "bow quiver", "反曲弓", "箭靶"),
    "z3": ("bee smoker", "honey extractor", "hive frame", "beekeeper veil", "蜂箱", "摇蜜机"),
}
KINDS = ("large", "blue", "spare", "starter set", "2-pack", "professional", "新款", "套装")
NAMES_SPEAK = (
    "id\tparent\ten\tzh\naqua\t\tAquarium Supplies\t水族用品\narch\t\tArchery\t射箭\nbee\t\tBeekeeping\t养蜂用品\n"
)


def files(folder: Path, taxonomy: str = SHELVES) -> tuple[Path, Path]:
    """The taxonomy, and a labelled row for each good and kind."""
    (folder / "taxonomy.tsv").write_text(taxonomy, encoding="utf-8")
    rows = [{"title": f"{kind} {good}", "category": node} for node in GOODS for good in GOODS[node] for kind in KINDS]
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return folder / "taxonomy.tsv", folder / "rows.jsonl"


def test_rows_teach_categories_whose_names_say_nothing(tmp_path: Path) -> None:
    taxonomy, rows = files(tmp_path)
    out = tmp_path / "weights"
    asked = ["--taxonomy", str(taxonomy), "--rows", str(rows), "--out", str(out), "--cache", str(CACHE)]
    done = CliRunner().invoke(app, ["adapt", *asked])
    assert done.exit_code == 0, done.output
    scores = {
        line.split()[0]: float(line.split("node")[1].split()[0]) for line in done.output.splitlines() if "node" in line
    }
    assert scores["before"] < 0.6  # a third by chance
    assert scores["after"] > 0.9
    schema = tmp_path / "attributes.json"
    schema.write_text(json.dumps({"attributes": {"color": {"en": "Color", "zh": "颜色", "type": "text"}}, "nodes": {}}))
    build(tmp_path / "models", Sources(taxonomy=taxonomy, schema=schema, weights=out, cores=1), cache=CACHE)
    ((answer, _),) = LocalEngine.open(tmp_path / "models", 1).answer(
        [ListingInput(title="wooden frames for honey bees")]
    )
    assert isinstance(answer, ListingResult)
    assert answer.nodes[0].node == "z3"


def test_names_that_speak_are_enough(tmp_path: Path) -> None:
    taxonomy, rows = files(tmp_path, NAMES_SPEAK)
    renamed = rows.read_text().replace('"z1"', '"aqua"').replace('"z2"', '"arch"').replace('"z3"', '"bee"')
    rows.write_text(renamed)
    found = adapt(rows, load_taxonomy(taxonomy), WEIGHTS, tmp_path / "weights", CACHE, lambda *_: None)
    assert found.before[1].score > 0.7
    assert found.after[1].score >= found.before[1].score


OWN_SCHEMA = {
    "attributes": {
        "hue": {"en": "Color", "zh": "颜色", "type": "text"},
        "maker": {"en": "Brand", "zh": "品牌", "type": "text"},
        "pull": {"en": "Draw Weight", "zh": "拉力", "type": "text", "aliases": ["Peak Pull", "拉重"]},
    },
    "nodes": {"arch": ["hue", "maker", "pull"], "aqua": ["hue"], "bee": []},
}
OWN_LISTINGS = [
    ("Recurve bow for beginners, black", "", "arch", {"Color": "black"}),
    ("Recurve bow for beginners", "Draw Weight: 40 lb; two limbs", "arch", {"Draw Weight": "40 lb"}),
    ("Recurve bow for beginners", "Peak Pull: 35 lb; two limbs", "arch", {"Draw Weight": "35 lb"}),
    ("Submersible aquarium heater for large tanks, red", "", "aqua", {"Color": "red"}),
    ("Hive frames for honey bees, yellow", "", "bee", {}),
    ("反曲弓 新手套装 黑色", "拉力：40磅，送护臂", "arch", {"颜色": "黑色", "拉力": "40磅"}),
    ("射箭 反曲弓 黑色", "拉重：30磅，送护臂", "arch", {"颜色": "黑色", "拉力": "30磅"}),
    ("鱼缸加热棒 红色", "", "aqua", {"颜色": "红色"}),
]


def test_a_taxonomy_never_seen_needs_a_build_alone(tmp_path: Path) -> None:
    """Names of categories that no row had; attributes are asked where its own schema says, and one that no labelled set
    has is read off the text that states it, by its name or an alias."""
    taxonomy, _ = files(tmp_path, NAMES_SPEAK)
    schema = tmp_path / "attributes.json"
    schema.write_text(json.dumps(OWN_SCHEMA), encoding="utf-8")
    (tmp_path / "cache").symlink_to(CACHE)
    out = tmp_path / "models"
    done = CliRunner().invoke(app, ["build", "--taxonomy", str(taxonomy), "--schema", str(schema), "--out", str(out)])
    assert done.exit_code == 0, done.output
    rows = [ListingInput(title=title, description=more) for title, more, *_ in OWN_LISTINGS]
    for (answer, _), (*_, node, values) in zip(LocalEngine.open(out, 1).answer(rows), OWN_LISTINGS, strict=True):
        assert isinstance(answer, ListingResult)
        assert answer.nodes[0].node == node
        assert {each.label: each.text for each in answer.attributes} == values


def test_rows_teach_an_attribute_that_no_name_explains(tmp_path: Path) -> None:
    """`Zorp` is the code after the colon, and the year is not; no model can know that from the names."""
    goods, colors = (
        ("kayak", "paddle", "dry bag", "helmet", "spray skirt", "浮力背心"),
        ("red", "blue", "black", "green"),
    )
    rows = []
    for at in range(80):
        code, color = f"K{at % 9}{at % 7}", colors[at % 4]
        has = at % 3 > 0
        title = f"{goods[at % 6]} {2000 + at % 20} {color}" + (f" : {code} series" if has else f" {code}")
        values = {"Color": [color]} | ({"Zorp": [code]} if has else {})
        stated = f"Color: {color}" if at % 4 == 0 else ""
        rows.append({"title": title, "description": stated, "attributes": values, "absent": [] if has else ["Zorp"]})
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    out = tmp_path / "weights"
    asked = ["--attributes", str(file), "--out", str(out), "--cache", str(CACHE)]
    done = CliRunner().invoke(app, ["adapt", *asked])
    assert done.exit_code == 0, done.output
    scores = {
        line.split()[0]: float(line.split("F1")[1].split()[0]) for line in done.output.splitlines() if "F1" in line
    }
    assert scores["after"] > 0.95
    assert scores["after"] > scores["before"] + 0.1
    assert json.loads((out / "tagger.json").read_text())["own"]["rows"][0] > 50
    right, said = json.loads((out / "attributes.json").read_text())["statements"]
    was_right, was_said = load_head(WEIGHTS, "attributes").meta["statements"]
    assert 10 <= right - was_right == said - was_said <= 20  # a quarter of the 80 rows, less those to measure on
    listing = tmp_path / "listing.jsonl"
    listing.write_text('{"title": "Nike Women Running Shoes Mesh Size 7", "attributes": {}, "absent": ["Brand"]}\n')
    said_of = tmp_path / "answers.jsonl"
    asked = ["--task", "attributes", "--data", str(listing), "--weights", str(out), "--cache", str(CACHE)]
    done = CliRunner().invoke(app, ["predict", *asked, "--out", str(said_of)])
    assert done.exit_code == 0, done.output
    assert json.loads(said_of.read_text())["prediction"] == {"Brand": ["Nike"]}  # it knows other names still


def test_what_adapt_is_given_must_fit_together(tmp_path: Path) -> None:
    taxonomy, _ = files(tmp_path)
    for options in ([], ["--taxonomy", str(taxonomy)], ["--rows", str(taxonomy)]):
        done = CliRunner().invoke(app, ["adapt", "--out", str(tmp_path / "out"), *options])
        assert done.exit_code == 2
        assert "--attributes" in done.output
    few = tmp_path / "few.jsonl"
    few.write_text('{"title": "red kayak", "attributes": {"Color": ["red"]}}\n')
    done = CliRunner().invoke(app, ["adapt", "--out", str(tmp_path / "out"), "--attributes", str(few)])
    assert isinstance(done.exception, Rejected)
    assert "at least 10" in str(done.exception)


def test_a_category_that_the_taxonomy_lacks_is_named(tmp_path: Path) -> None:
    taxonomy, rows = files(tmp_path)
    rows.write_text('{"title": "bow", "category": "z2"}\n\n{"title": "drum", "category": "z9"}\n')
    with pytest.raises(DataError, match="row 3: category: an id of the taxonomy; got 'z9'"):
        read_own_rows(rows, load_taxonomy(taxonomy))


def test_too_few_rows_are_refused(tmp_path: Path) -> None:
    taxonomy, rows = files(tmp_path)
    rows.write_text('{"title": "bow", "category": "z2"}\n')
    with pytest.raises(Rejected, match="at least 5"):
        adapt(rows, load_taxonomy(taxonomy), WEIGHTS, tmp_path / "weights", CACHE, lambda *_: None)
