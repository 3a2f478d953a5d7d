"""Labels of a version on text that has none: what is asked, what is kept, and what is left alone."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from typer.testing import CliRunner

from inference.tasks.weights import DEFAULT_WEIGHTS, load_head, save_head
from inference.taxonomy import load_taxonomy
from inference.training.answers import open_predictors
from inference.training.data import read_attribute_rows
from inference.training.pseudo import label, unlabelled
from stream.cli.models import app
from tests.unit.encoder_fixture import CACHE

STORE = "耐克运动鞋男"
HELD = "Puma Men Red Shorts"
OFFER = "Samsung 16GB USB Flash Drive, black"


def data_of(folder: Path) -> Path:
    """One text a source; HELD stands among the labelled development rows as well."""
    listing = {"title": "Adidas Men Blue Shorts", "attributes": {"Color": ["Blue"]}, "absent": ["Gender"]}
    rows: dict[str, list[dict[str, Any]]] = {
        "attributes/train": [listing],
        "attributes/dev": [{"title": HELD, "attributes": {"Color": ["Red"]}}],
        "category/zh_store_titles.train": [{"title": f"{STORE}{n}", "category": "b"} for n in range(8)],
        "category/fashion.train": [{"title": t, "articleType": "x"} for t in (HELD, "Nike Red Shorts")],
        "category/pricerunner.train": [{"title": "apple iphone 7 32gb", "category": "Phones", "product_cluster": "2"}],
        "copy/advertisegen.train": [{"summary": "这条连衣裙", "content": "类型#裙"}],
        "copy/offers_en": [{"title": OFFER, "description": "A drive."}],
    }
    for name, records in rows.items():
        file = folder / f"{name}.jsonl.gz"
        file.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(file, "wt", encoding="utf-8") as stream:
            stream.writelines(json.dumps(record) + "\n" for record in records)
    (folder / "spans_zh").mkdir()
    for part in ("train", "dev"):
        with gzip.open(folder / "spans_zh" / f"{part}.bieos.gz", "wt", encoding="utf-8") as stream:
            stream.write("海\tB-HP\n尔\tE-HP\n\n")
    return folder


def test_texts_of_the_development_rows_are_not_labelled(tmp_path: Path) -> None:
    rows = unlabelled(data_of(tmp_path / "data"))
    titles = [row.title for row in rows]
    assert OFFER in titles
    assert HELD not in titles
    assert all((row.ask == ("产品", "品牌")) == ("\u4e00" <= row.title[0] <= "\u9fff") for row in rows)


def test_a_version_labels_what_it_is_sure_of(tmp_path: Path) -> None:
    data, out = data_of(tmp_path / "data"), tmp_path / "pseudo.jsonl.gz"
    done = CliRunner().invoke(app, ["label", "--data", str(data), "--out", str(out), "--cache", str(CACHE)])
    assert done.exit_code == 0, (done.output, done.exception)
    rows = {row.title: row for row in read_attribute_rows(out)}
    assert f"{len(rows)} rows" in done.output
    assert any(row.values.get("品牌") == ("耐克",) for title, row in rows.items() if title.startswith(STORE))
    assert {row.source for row in rows.values()} == {"pseudo"}
    english = [row for row in rows.values() if row.title.isascii()]
    assert english
    assert all(set(row.ask) <= {"Color", "Gender"} for row in english), "names of the labelled row most like it"


def test_chinese_text_is_labelled_by_the_spans_head(tmp_path: Path) -> None:
    """Of a version whose spans head is sure of nothing no Chinese value is kept, however sure the shared tagger is."""
    data, doubting = data_of(tmp_path / "data"), tmp_path / "weights"
    shutil.copytree(DEFAULT_WEIGHTS, doubting)
    spans = load_head(doubting, "spans")
    save_head(doubting, "spans", {**spans.arrays, "platt": np.array([1.0, -40.0], np.float32)}, dict(spans.meta))
    kept = {}
    for weights in (DEFAULT_WEIGHTS, doubting):
        predictors = open_predictors(weights, CACHE, load_taxonomy(), 1, lambda *_: None)
        rows = label(data, predictors, lambda *_: None).rows
        kept[weights] = [row.values for row in rows if not row.title.isascii()]
    assert any(any(values.values()) for values in kept[DEFAULT_WEIGHTS])
    assert kept[doubting]
    assert not any(any(values.values()) for values in kept[doubting])
