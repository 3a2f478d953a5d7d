"""Which rows each head is fitted and measured on: files of the data folder, splits, and how many rows at most."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from inference.training import data
from inference.training.splits import Split, sample, split_by_group, without_duplicates


@dataclass(frozen=True)
class CategorySet:
    """A category file. most: rows to fit on, and a third of it to measure on: what two cores
    encode in some minutes."""

    name: str
    file: str
    most: int


CATEGORY_SETS = (
    CategorySet("zh_store_titles", "category/zh_store_titles.train.jsonl.gz", 10_000),
    CategorySet("fashion", "category/fashion.train.jsonl.gz", 12_000),
    CategorySet("pricerunner", "category/pricerunner.train.jsonl.gz", 6_000),
)
SPANS = "spans_zh"
"""The set of Chinese sentences with brand and product words."""
COLD_MOST = 16_000
HATE_MOST = 8_000


@dataclass(frozen=True)
class LabelledSet:
    """A named set with its split."""

    name: str
    split: Split[data.TextRow]


def category_split(folder: Path, wanted: CategorySet) -> Split[data.TextRow]:
    """Rows that have a label; groups (title, or product cluster) stay whole; titles that repeat count once."""
    rows = [row for row in data.read_text_rows(folder / wanted.file) if row.label.strip()]
    split = split_by_group(_distinct(rows), lambda row: row.group, lambda row: row.text)
    return _cut(split, wanted.most)


def safety_sets(folder: Path) -> list[LabelledSet]:
    """COLD with its own development file, hate_en split by text."""
    cold = without_duplicates(
        _distinct(data.read_safety_rows(folder / "safety/cold_zh.train.jsonl.gz")),
        data.read_safety_rows(folder / "safety/cold_zh.dev.jsonl.gz"),
        lambda row: row.text,
    )
    cold = Split(sample(cold.train, COLD_MOST, lambda row: row.text), cold.dev, cold.dropped)
    hate = _distinct(data.read_safety_rows(folder / "safety/hate_en.train.jsonl.gz"))
    english = split_by_group(hate, lambda row: row.text, lambda row: row.text)
    return [LabelledSet("cold_zh", cold), LabelledSet("hate_en", _cut(english, HATE_MOST))]


def attribute_split(folder: Path) -> Split[data.AttributeRow]:
    """The given files, duplicates removed from train."""
    train, dev = (data.read_attribute_rows(folder / f"attributes/{part}.jsonl.gz") for part in ("train", "dev"))
    return without_duplicates(train, dev, lambda row: f"{row.title}\n{row.description}")


def span_split(folder: Path) -> Split[data.SpanRow]:
    """The given files, duplicates removed from train."""
    train, dev = (data.read_span_rows(folder / f"spans_zh/{part}.bieos.gz") for part in ("train", "dev"))
    return without_duplicates(train, dev, lambda row: row.text)


def _distinct(rows: list[data.TextRow]) -> list[data.TextRow]:
    return list({row.text: row for row in rows}.values())


def _cut(split: Split[data.TextRow], most: int) -> Split[data.TextRow]:
    train, dev = sample(split.train, most, lambda row: row.text), sample(split.dev, most // 3, lambda row: row.text)
    return Split(train, dev, split.dropped)


def catalogue_rows(folder: Path) -> list[tuple[str, str]]:
    """(name, `category|style`) of the retail demo's catalogue."""
    rows = data.read_text_rows(folder / "catalogue/retail_demo.jsonl.gz", title="name")
    return [(row.text, f"{row.columns.get('category', '')}|{row.columns.get('style', '')}") for row in rows]
