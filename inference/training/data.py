"""Loaders of the public sets: plain or gzipped JSON lines and BIOES columns, checked row by row."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from inference.errors import Rejected
from inference.tasks.tags import LABELS as TAG_LABELS

BAD_SHOWN = 80
"""Characters of an offending value that are quoted."""
TAG_POSITIONS = "BIES"
LABEL_FIELDS = ("articleType", "category")
"""Where a category file keeps its label: the finest column that it has."""
HARMFUL_CLASSES = (0, 1)
"""`class` of hate_en: 0 hate, 1 offensive, 2 neither."""

T = TypeVar("T")


class DataError(Rejected):
    """A file of a data set is wrong. The message names file, row (from 1), field, value and rule."""

    def __init__(self, file: Path, row: int, name: str, value: object, rule: str) -> None:
        self.file, self.row, self.field, self.rule = file, row, name, rule
        super().__init__(f"{file}: row {row}: {name}: {rule}; got {repr(value)[:BAD_SHOWN]}")


@dataclass(frozen=True)
class TextRow:
    """A text with a label (empty: none). group: rows of one group stay on one side of a split. line: of the file, from
    1; 0 where it is not of one."""

    text: str
    label: str = ""
    group: str = ""
    source: str = ""
    language: str = ""
    description: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    line: int = 0

    @property
    def shop(self) -> str:
        """Who sells it, where the file has a column `shop`; in the store titles some end in a written-out `\\n`."""
        return self.columns.get("shop", "").replace("\\n", " ").strip()


@dataclass(frozen=True)
class AttributeRow:
    """A listing and what is asked of it. values: gold values by name, empty for an absent one."""

    title: str
    description: str
    ask: tuple[str, ...]
    values: dict[str, tuple[str, ...]]
    source: str = ""
    category: str = ""


@dataclass(frozen=True)
class SpanRow:
    """A sentence and its gold spans (start, end, label): code points, half open."""

    text: str
    spans: tuple[tuple[int, int, str], ...] = ()


@dataclass(frozen=True)
class TagRow:
    """A listing and a seller's value of one attribute. label: contradicted, unknown, entailed; empty: not known."""

    title: str
    description: str
    name: str
    value: str
    label: str = ""


def read_text_rows(file: Path, title: str = "title") -> list[TextRow]:
    """Titles with their category. title: the field that holds it. Raises DataError, OSError."""
    return _each(file, lambda record: _text_row(record, title))


def read_safety_rows(file: Path) -> list[TextRow]:
    """Texts; label `1` is harmful, `0` harmless, empty where the row has no label. Raises DataError, OSError."""
    return _each(file, _safety_row)


def read_attribute_rows(file: Path) -> list[AttributeRow]:
    """Listings with attributes. Raises DataError, OSError."""
    return _each(file, _attribute_row)


def read_span_rows(file: Path) -> list[SpanRow]:
    """Sentences of a BIOES file (`character TAB tag`, blank line between), or JSON lines with `text` or `title`
    and, where known, `spans`. Raises DataError, OSError."""
    if ".json" in file.name:
        return _each(file, _span_row)
    rows: list[SpanRow] = []
    characters: list[tuple[str, str]] = []
    for number, line in enumerate(_lines(file), start=1):
        if line.strip():
            characters.append(_column(file, number, line))
        elif characters:
            rows.append(_sentence(characters))
            characters = []
    return [*rows, _sentence(characters)] if characters else rows


def read_tag_rows(file: Path) -> list[TagRow]:
    """Listings with what a seller says of them; `label` where it is known. Raises DataError, OSError."""
    return _each(file, _tag_row)


def read_labels(file: Path) -> list[str]:
    """Labels, one a line or a JSON list of strings, in order, repeats dropped. Raises DataError, OSError."""
    text = "\n".join(_lines(file))
    if text.lstrip().startswith("["):
        try:
            found = json.loads(text)
        except ValueError as error:
            raise DataError(file, 1, "labels", text, f"a JSON list ({error})") from None
    else:
        found = [line.strip() for line in text.splitlines()]
    labels: list[str] = []
    for row, label in enumerate(found, start=1):
        if not isinstance(label, str):
            raise DataError(file, row, "label", label, "a string")
        labels.append(label)
    labels = [label for label in dict.fromkeys(labels) if label.strip()]
    if not labels:
        raise DataError(file, 1, "labels", "", "at least one label")
    return labels


def _lines(file: Path) -> Iterator[str]:
    with gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                raise DataError(file, number, "line", line, "UTF-8 text") from None


@dataclass(frozen=True)
class _Record:
    file: Path
    row: int
    values: dict[str, Any]

    def text(self, name: str, default: str | None = None) -> str:
        value = self.values.get(name, default)
        if not isinstance(value, str):
            raise DataError(self.file, self.row, name, value, "a string" if value is not None else "a required field")
        if any("\ud800" <= each <= "\udfff" for each in value):
            raise DataError(self.file, self.row, name, value, "no lone surrogate")
        return value

    def names(self, name: str, value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise DataError(self.file, self.row, name, value, "a list of strings")
        return tuple(value)

    def whole(self, name: str, allowed: tuple[int, ...]) -> int | None:
        value = self.values.get(name)
        if value is not None and (isinstance(value, bool) or value not in allowed):
            raise DataError(self.file, self.row, name, value, f"one of {list(allowed)}")
        return value


def _each(file: Path, make: Callable[[_Record], T]) -> list[T]:
    rows: list[T] = []
    for number, line in enumerate(_lines(file), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(file, number, "line", line, f"a JSON object ({error})") from None
        if not isinstance(values, dict):
            raise DataError(file, number, "line", line, "a JSON object")
        rows.append(make(_Record(file, number, values)))
    return rows


def _text_row(record: _Record, title_field: str) -> TextRow:
    title = record.text(title_field)
    name = next((each for each in LABEL_FIELDS if each in record.values), "")
    group = record.text("product_cluster", "") if "product_cluster" in record.values else title
    columns = {key: value for key, value in record.values.items() if isinstance(value, str)}
    label = record.text(name) if name else ""
    language, description = record.text("lang", ""), record.text("description", "")
    return TextRow(title, label, group, record.file.name.split(".")[0], language, description, columns, record.row)


def _safety_row(record: _Record) -> TextRow:
    text = record.text("text")
    offensive, class_ = record.whole("offensive", (0, 1)), record.whole("class", (0, 1, 2))
    if class_ is not None:
        offensive = int(class_ in HARMFUL_CLASSES)
    source = "hate_en" if class_ is not None else "cold_zh"
    language = "en" if class_ is not None else "zh"
    columns = {"topic": record.text("topic", "")}
    return TextRow(text, "" if offensive is None else str(offensive), text, source, language, "", columns)


def _tag_row(record: _Record) -> TagRow:
    label = record.text("label", "")
    if label not in ("", *TAG_LABELS):
        raise DataError(record.file, record.row, "label", label, f"one of {', '.join(TAG_LABELS)}")
    name, value = record.text("name"), record.text("value")
    for key, text in (("name", name), ("value", value)):
        if not text.strip():
            raise DataError(record.file, record.row, key, text, "not empty")
    return TagRow(record.text("title"), record.text("description", ""), name, value, label)


def _attribute_row(record: _Record) -> AttributeRow:
    title, description = record.text("title"), record.text("description", "")
    gold = record.values.get("attributes", {})
    if not isinstance(gold, dict):
        raise DataError(record.file, record.row, "attributes", gold, "an object of lists")
    values = {name: record.names(f"attributes.{name}", value) for name, value in gold.items()}
    absent = record.names("absent", record.values.get("absent", []))
    asked = record.values.get("ask")
    ask = tuple(dict.fromkeys((*values, *absent) if asked is None else record.names("ask", asked)))
    known = {name: values.get(name, ()) for name in ask}
    return AttributeRow(title, description, ask, known, record.text("source", ""), record.text("category", ""))


def _span_row(record: _Record) -> SpanRow:
    text = record.text("text", record.values.get("title"))
    spans: list[tuple[int, int, str]] = []
    for span in record.values.get("spans", []):
        match span:
            case [int(start), int(end), str(label)] if 0 <= start < end <= len(text):
                spans.append((start, end, label))
            case _:
                raise DataError(record.file, record.row, "spans", span, "[start, end, label] within the text")
    return SpanRow(text, tuple(spans))


def _column(file: Path, number: int, line: str) -> tuple[str, str]:
    cells = line.split("\t") if "\t" in line else line.rsplit(" ", 1)
    if cells[0] == "" and len(cells) == 2:
        cells[0] = " "  # an empty cell is a blank that was stripped; each line stays one code point
    if len(cells) != 2 or len(cells[0]) != 1:
        raise DataError(file, number, "line", line, "one character, a tab, its tag")
    position, _, label = cells[1].partition("-")
    if not (cells[1] == "O" or (position in TAG_POSITIONS and len(position) == 1 and label)):
        raise DataError(file, number, "tag", cells[1], "O, or B, I, E or S with a label")
    return cells[0], cells[1]


def _sentence(characters: list[tuple[str, str]]) -> SpanRow:
    text = "".join(character for character, _ in characters)
    return SpanRow(text, tuple(spans_of_tags([tag for _, tag in characters])))


def spans_of_tags(tags: list[str]) -> list[tuple[int, int, str]]:
    """Spans of BIOES tags; a span that never ends, or that changes its label midway, is none."""
    spans: list[tuple[int, int, str]] = []
    start, open_label = 0, ""
    for at, tag in enumerate(tags):
        position, _, label = tag.partition("-")
        if position in ("B", "S"):
            start, open_label = at, label
        elif position == "O" or label != open_label:
            open_label = ""
        if position in ("E", "S") and open_label:
            spans.append((start, at + 1, label))
            open_label = ""
    return spans
