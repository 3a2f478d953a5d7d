"""Attribute labels that sets without attributes imply: a value that stands in the text, a name whose value does not."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

from inference.training import corpora
from inference.training.data import AttributeRow, TextRow
from inference.training.splits import sample

NO_COLOURS = {"NA", "Melange", "Metallic", "Multi", "Off", "Steel", "Skin"}
"""Words of the fashion set's colours that are none by themselves."""
COLOURED = {"Multicolour", "Multicolor", "Coloured", "Colored", "Fuchsia", "Violet", "Golden", "Turquoise"}
GENDERS = re.compile(r"\b(?:wo)?m[ae]n|\b(?:boy|girl|kid|unisex|ladies|lady|baby)", re.IGNORECASE)
FASHION_MOST = 4_000
"""Of rows with weak labels: fewer than of advertising copy, which is worded freely."""
COLUMNS = {"Color": "baseColour", "Gender": "gender", "Product Type": "articleType"}
"""Of the fashion set, by the attribute's name."""


def copy_rows(folder: Path) -> list[AttributeRow]:
    """Chinese advertising copy with the attribute pairs that it was written from: values that stand in it, names whose
    values do not. Raises OSError."""
    rows = []
    for record in _records(folder / "copy/advertisegen.train.jsonl.gz"):
        text = record["summary"]
        values: dict[str, list[str]] = {}
        for pair in record["content"].split("*"):
            name, _, value = pair.partition("#")
            if name and value:
                values.setdefault(name, []).append(value)
        found = {name: tuple(v for v in each if v in text) for name, each in values.items()}
        rows.append(AttributeRow(text, "", tuple(values), found, "advertisegen"))
    return rows


def offer_rows(folder: Path) -> list[AttributeRow]:
    """English offers whose title names their brand. Raises OSError."""
    rows = []
    for record in _records(folder / "copy/offers_en.jsonl.gz"):
        title, brand = str(record.get("title") or ""), str(record.get("brand") or "").strip()
        if brand and brand.casefold() in title.casefold():
            rows.append(AttributeRow(title, "", ("Brand",), {"Brand": (brand,)}, "offers_en"))
    return rows


def offer_texts(folder: Path) -> list[tuple[str, str]]:
    """Title and description of English offers, whatever their brand. Raises OSError."""
    records = _records(folder / "copy/offers_en.jsonl.gz")
    return [(str(each.get("title") or ""), str(each.get("description") or "")) for each in records]


def unbranded_rows(folder: Path) -> list[AttributeRow]:
    """The retail demo's catalogue, made up for a shop without brands: no title begins with one; its style is the kind
    of product where it stands in the text. Without such rows the first words of any title are taken for a brand.
    Raises OSError."""
    rows = []
    for record in _records(folder / "catalogue/retail_demo.jsonl.gz"):
        title, description, style = (str(record.get(key) or "") for key in ("name", "description", "style"))
        stands = bool(style) and style.casefold() in f"{title} {description}".casefold()
        values: dict[str, tuple[str, ...]] = {"Brand": (), "Product Type": (style,) if stands else ()}
        rows.append(AttributeRow(title, description, ("Brand", "Product Type"), values, "retail_demo"))
    return rows


def fashion_rows(folder: Path) -> list[AttributeRow]:
    """English titles of the fashion set's training side with the names of which its columns say something. Raises
    DataError, OSError."""
    rows = corpora.category_split(folder, corpora.CATEGORY_SETS[1]).train
    names = {row.columns["baseColour"] for row in rows}
    words = {word for name in names for word in name.split()}
    colours = _pattern((names | words) - NO_COLOURS | COLOURED)
    told = [(row.text, _told_by_columns(row, colours)) for row in rows]
    found = [AttributeRow(text, "", tuple(values), values, "fashion") for text, values in told if values]
    return sample(found, FASHION_MOST, lambda row: row.title)


def _told_by_columns(row: TextRow, colours: re.Pattern[str]) -> dict[str, tuple[str, ...]]:
    """Colour, gender and kind of product as the columns have them where they stand in the title; without a value where
    the title has no word of that sort. What is neither is not asked, nor a colour beside another one."""
    values: dict[str, tuple[str, ...]] = {}
    sorts = {"Color": colours, "Gender": GENDERS}
    for name, column in COLUMNS.items():
        value = row.columns[column]
        found = _pattern({value, value.removesuffix("s")}).search(row.text)
        if found:
            values[name] = (found.group(),)
        elif name in sorts and not sorts[name].search(row.text):
            values[name] = ()
    if len(set(colours.findall(row.text))) > 1:
        values.pop("Color", None)
    return values


def _pattern(words: set[str]) -> re.Pattern[str]:
    """Any of them as whole words, longer ones first; a plural's s behind belongs to none."""
    ranked = sorted(words, key=lambda word: (-len(word), word))
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, ranked))})(?=s?\b)", re.IGNORECASE)


def _records(file: Path) -> list[dict[str, str]]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
