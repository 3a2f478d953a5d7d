"""All text of the data folder without labels: what the vocabulary is chosen from, and what it is measured on."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from inference.training import corpora
from inference.training.splits import normal_form, split_by_group
from inference.training.tagging import attribute_text

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
    """chosen: to choose from, the training sides and all taxonomy names. unseen: by set, the development sides."""

    chosen: list[str]
    unseen: dict[str, list[str]]


def all_texts(folder: Path) -> Texts:
    """Every set split as its task splits it; sets without a task by the hash of the text. Raises DataError, OSError."""
    chosen: list[str] = []
    unseen: dict[str, list[str]] = {}
    for each in corpora.CATEGORY_SETS:
        titles = corpora.category_split(folder, each)
        chosen += [row.text for row in titles.train]
        unseen[each.name] = [row.text for row in titles.dev]
    for safety in corpora.safety_sets(folder):
        chosen += [row.text for row in safety.split.train]
        unseen[safety.name] = [row.text for row in safety.split.dev]
    attributes, spans = corpora.attribute_split(folder), corpora.span_split(folder)
    chosen += [attribute_text(row) for row in attributes.train] + [row.text for row in spans.train]
    unseen["attributes"] = [attribute_text(row) for row in attributes.dev]
    unseen["spans_zh"] = [row.text for row in spans.dev]
    for file, fields in FIELDS.items():
        texts = list(dict.fromkeys(_field_texts(folder / file, fields)))
        split = split_by_group(texts, normal_form, normal_form)
        chosen += split.train
        unseen[file.split("/")[1].split(".")[0]] = split.dev
    for file in TAXONOMIES:
        with gzip.open(folder / file, "rt", encoding="utf-8") as lines:
            chosen += [line.strip() for line in lines if not line.startswith("#")]
    return Texts(chosen, unseen)


def _field_texts(file: Path, fields: tuple[str, ...]) -> Iterator[str]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            for field in fields:
                value = record.get(field)
                if isinstance(value, str) and value.strip():
                    yield value
