"""Small data folders for training runs."""

from __future__ import annotations

import gzip
import json
from pathlib import Path


def rows_of(folder: Path) -> Path:
    """A data folder with spans only: 24 sentences with one brand and one product each."""
    (folder / "spans_zh").mkdir(parents=True)
    brands, products = ("海尔", "美的", "格力", "小米"), ("冰箱", "空调", "水壶")
    for part, count in (("train", 24), ("dev", 6)):
        lines = []
        for number in range(count):
            brand, product = brands[number % 4], products[number % 3]
            for word, label in ((brand, "HP"), (f"{number}号", ""), (product, "HC")):
                tags = [f"B-{label}", f"E-{label}"] if label else ["O"] * len(word)
                lines += [f"{character}\t{tag}" for character, tag in zip(word, tags, strict=True)]
            lines.append("")
        with gzip.open(folder / "spans_zh" / f"{part}.bieos.gz", "wt", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
    return folder


def listings_of(data: Path) -> None:
    """One listing a side and some store titles, beside the sentences."""
    for folder, name, record in (
        ("attributes", "train", {"title": "red kayak", "attributes": {"Color": ["red"]}, "source": "x"}),
        ("attributes", "dev", {"title": "blue kayak", "attributes": {"Color": ["blue"]}, "source": "x"}),
        ("category", "zh_store_titles.train", {"title": "不锈钢水壶 家用", "category": "家居", "lang": "zh"}),
    ):
        (data / folder).mkdir(exist_ok=True)
        with gzip.open(data / folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as file:
            for number in range(1 if folder == "attributes" else 12):  # a category set is split by the title's hash
                title = f"{record['title']} {number}" if number else record["title"]
                file.write(json.dumps({**record, "title": title}) + "\n")
