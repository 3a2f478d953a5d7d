"""All text of the data folder without labels: what the vocabulary is chosen from and the backbone pretrained on, and
what both are measured on."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from inference.training import corpora
from inference.training.splits import Split, normal_form, split_by_group
from inference.training.tagging import attribute_text

Row = TypeVar("Row")

FIELDS = {
    "copy/advertisegen.train.jsonl.gz": ("summary", "content"),
    "copy/offers_en.jsonl.gz": ("title", "description", "brand"),
    "catalogue/retail_demo.jsonl.gz": ("name", "description"),
    "reviews/zh.train.jsonl.gz": ("text",),
}
"""Files that have no task here, and their text fields."""
TAXONOMIES = ("taxonomy/google.en-US.txt.gz", "taxonomy/google.zh-CN.txt.gz")


@dataclass(frozen=True)
class Texts:
    """By set. train: the training sides. unseen: the development sides. names: of the taxonomies."""

    train: dict[str, list[str]]
    unseen: dict[str, list[str]]
    names: list[str]

    @property
    def chosen(self) -> list[str]:
        """What the vocabulary is chosen from."""
        return [*(text for each in self.train.values() for text in each), *self.names]


def all_texts(folder: Path) -> Texts:
    """Every set split as its task splits it; sets without a task by the hash of the text. Raises DataError, OSError."""
    sides: dict[str, Split[str]] = {}
    for each in corpora.CATEGORY_SETS:
        sides[each.name] = _texts(corpora.category_split(folder, each), lambda row: row.text)
    for safety in corpora.safety_sets(folder):
        sides[safety.name] = _texts(safety.split, lambda row: row.text)
    listings = corpora.attribute_split(folder)
    for source in sorted({row.source for row in (*listings.train, *listings.dev)}):
        own = [[row for row in side if row.source == source] for side in (listings.train, listings.dev)]
        sides[source] = _texts(Split(own[0], own[1]), attribute_text)
    sides["spans_zh"] = _texts(corpora.span_split(folder), lambda row: row.text)
    for file, fields in FIELDS.items():
        texts = list(dict.fromkeys(_field_texts(folder / file, fields)))
        sides[file.split("/")[1].split(".")[0]] = split_by_group(texts, normal_form, normal_form)
    names: list[str] = []
    for file in TAXONOMIES:
        with gzip.open(folder / file, "rt", encoding="utf-8") as lines:
            names += [line.strip() for line in lines if not line.startswith("#")]
    train, unseen = ({name: list(getattr(each, side)) for name, each in sides.items()} for side in ("train", "dev"))
    return Texts(train, unseen, names)


def _texts(split: Split[Row], text_of: Callable[[Row], str]) -> Split[str]:
    return Split([text_of(row) for row in split.train], [text_of(row) for row in split.dev], split.dropped)


def _field_texts(file: Path, fields: tuple[str, ...]) -> Iterator[str]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            for field in fields:
                value = record.get(field)
                if isinstance(value, str) and value.strip():
                    yield value
