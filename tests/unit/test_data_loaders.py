"""Loaders of the data files: every format, and errors that name file, row, field and rule."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.tasks.tagger import BEGIN, END, INSIDE, OUTSIDE, SINGLE
from inference.training import data
from inference.training.tagging import bioes


def written(path: Path, *rows: Any) -> Path:
    text = "\n".join(row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def test_category_rows_plain_and_gzipped(tmp_path: Path) -> None:
    row = {"title": "连衣裙", "category": "服装鞋包", "lang": "zh"}
    for name in ("zh_store_titles.jsonl", "zh_store_titles.jsonl.gz"):
        (found,) = data.read_text_rows(written(tmp_path / name, row, ""))
        assert (found.text, found.label, found.group, found.language) == ("连衣裙", "服装鞋包", "连衣裙", "zh")
        assert found.source == "zh_store_titles"


def test_the_finest_column_is_the_label_and_the_cluster_is_the_group(tmp_path: Path) -> None:
    fashion = {"title": "Red Kurta", "articleType": "Kurtas", "masterCategory": "Apparel", "category": "x"}
    offer = {"title": "iphone 7", "category": "Mobile Phones", "product_cluster": "2"}
    one, two = data.read_text_rows(written(tmp_path / "a.jsonl", fashion, offer))
    assert (one.label, one.columns["masterCategory"], two.group) == ("Kurtas", "Apparel", "2")


def test_both_safety_formats(tmp_path: Path) -> None:
    rows = [{"text": "a", "class": 0}, {"text": "b", "class": 2}, {"text": "c", "offensive": 1, "topic": "race"}]
    found = data.read_safety_rows(written(tmp_path / "s.jsonl", *rows, {"text": "d"}))
    assert [row.label for row in found] == ["1", "0", "1", ""]
    assert [row.source for row in found] == ["hate_en", "hate_en", "cold_zh", "cold_zh"]


def test_ask_names_exactly_what_is_asked_else_attributes_and_absent(tmp_path: Path) -> None:
    gold = {"Brand": ["Nike"], "Color": ["red", "blue"]}
    asking = {"title": "t", "ask": ["Color", "Size"], "attributes": gold, "absent": ["Fit"]}
    silent = {"title": "t", "attributes": gold, "absent": ["Fit"]}
    one, two = data.read_attribute_rows(written(tmp_path / "a.jsonl", asking, silent))
    assert one.ask == ("Color", "Size")
    assert one.values == {"Color": ("red", "blue"), "Size": ()}
    assert two.ask == ("Brand", "Color", "Fit")


def test_bioes_sentences(tmp_path: Path) -> None:
    file = written(tmp_path / "s.bieos.gz", "耐\tB-HP", "克\tE-HP", "红\tO", "鞋\tS-HC", "", "\tO", "茶\tS-HC")
    assert data.read_span_rows(file) == [
        data.SpanRow("耐克红鞋", ((0, 2, "HP"), (3, 4, "HC"))),
        data.SpanRow(" 茶", ((1, 2, "HC"),)),
    ]


@pytest.mark.parametrize(
    ("line", "row", "field", "rule"),
    [
        ("{", 2, "line", "a JSON object"),
        ("[1]", 2, "line", "a JSON object"),
        ('{"category": "x"}', 2, "title", "required"),
        ('{"title": 3}', 2, "title", "a string"),
        ('{"title": "\\ud800"}', 2, "title", "no lone surrogate"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, line: str, row: int, field: str, rule: str) -> None:
    file = written(tmp_path / "bad.jsonl", {"title": "good"}, line)
    with pytest.raises(data.DataError, match=rule) as caught:
        data.read_text_rows(file)
    assert (caught.value.row, caught.value.field) == (row, field)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"title": "t", "attributes": []}, "attributes"),
        ({"title": "t", "attributes": {"Brand": "Nike"}}, "attributes.Brand"),
        ({"title": "t", "absent": [1]}, "absent"),
        ({"title": "t", "ask": "Brand"}, "ask"),
    ],
)
def test_a_bad_attribute_row_is_named(tmp_path: Path, row: dict[str, Any], field: str) -> None:
    with pytest.raises(data.DataError) as caught:
        data.read_attribute_rows(written(tmp_path / "a.jsonl", row))
    assert caught.value.field == field


@pytest.mark.parametrize("line", ["ab\tO", "a", "a\tX-HP", "a\tB-", "a\tB-HP\tO"])
def test_a_bad_column_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(data.DataError) as caught:
        data.read_span_rows(written(tmp_path / "s.bieos", "好\tO", line))
    assert caught.value.row == 2


def test_offensive_is_zero_or_one(tmp_path: Path) -> None:
    with pytest.raises(data.DataError, match=r"offensive: one of \[0, 1\]; got 7"):
        data.read_safety_rows(written(tmp_path / "s.jsonl", {"text": "a", "offensive": 7}))


def test_not_utf8_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"title": "a"}\n\xff\n')
    with pytest.raises(data.DataError, match="row 2: line: UTF-8"):
        data.read_text_rows(file)


def test_labels_of_both_kinds(tmp_path: Path) -> None:
    assert data.read_labels(written(tmp_path / "a.txt", "Shoes", "", "鞋", "Shoes")) == ["Shoes", "鞋"]
    assert data.read_labels(written(tmp_path / "a.json", ["Shoes", "鞋"])) == ["Shoes", "鞋"]
    with pytest.raises(data.DataError, match="at least one label"):
        data.read_labels(written(tmp_path / "none.txt", ""))
    with pytest.raises(data.DataError, match="a string"):
        data.read_labels(written(tmp_path / "bad.json", [1]))


@given(st.lists(st.integers(1, 4), max_size=6), st.lists(st.integers(0, 3), min_size=7, max_size=7))
def test_tags_and_spans_are_each_others_inverse(lengths: list[int], gaps: list[int]) -> None:
    spans, at = [], 0
    for length, gap in zip(lengths, gaps, strict=False):
        spans.append((at + gap, at + gap + length - 1))
        at += gap + length
    names = {OUTSIDE: "O", BEGIN: "B-X", INSIDE: "I-X", END: "E-X", SINGLE: "S-X"}
    tags = [names[tag] for tag in bioes(spans, at + gaps[-1]).tolist()]
    assert data.spans_of_tags(tags) == [(first, last + 1, "X") for first, last in spans]


def test_broken_tags_are_no_span() -> None:
    assert data.spans_of_tags(["B-HC", "I-HC", "O", "E-HC", "B-HC", "E-HP", "I-HC"]) == []
