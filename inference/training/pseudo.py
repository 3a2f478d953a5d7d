"""Labels that a version is sure of, on product text that has none: rows for a later run to learn from (self-training,
Yarowsky 1995).

Chinese text is asked for brand and product words, which both chains of the spans head decide where the version has that
head; English text for the names of the labelled listing most like it. A name stays in a row only where the version is
sure of every stretch: it is a value, or it is none.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inference.model.prompt import NAMES_A_PROMPT
from inference.tasks.attributes import distinct_values
from inference.tasks.reading import Reading
from inference.tasks.spans import PROMPTS
from inference.tasks.tagger import Found
from inference.training import corpora, weak
from inference.training.data import AttributeRow
from inference.training.predictors import Predictors, Report
from inference.training.splits import normal_form, sample
from inference.training.tagging import attribute_text

SURE, NONE = 0.9, 0.1
"""A stretch from SURE on is a value, up to NONE it is none; a name with one in between is left out of the row."""
EACH = 2_000
"""Texts of each source."""
BLOCK = 512
PSEUDO = "pseudo"


@dataclass(frozen=True)
class Labelled:
    """rows: those with a name left. asked, kept: names before and after."""

    rows: list[AttributeRow]
    asked: int
    kept: int


def label(data: Path, predictors: Predictors, report: Report, each: int = EACH) -> Labelled:
    """Rows of the training sides' texts. Raises DataError, Misconfigured, OSError."""
    rows = unlabelled(data, each)
    english = [row for row in rows if not row.ask]
    like = _names_like(english, corpora.attribute_split(data).train, predictors)
    asked = [row.ask or next(like) for row in rows]
    texts = [attribute_text(row) for row in rows]
    labelled, names_asked, kept = [], 0, 0
    for row, text, (reading, found) in zip(rows, texts, _found(predictors, texts, asked, report), strict=True):
        values = {
            name: tuple(distinct_values(text, reading.units, spans))
            for name, spans in zip(reading.names, found, strict=True)
            if is_sure(spans)
        }
        names_asked, kept = names_asked + len(reading.names), kept + len(values)
        if values:
            labelled.append(AttributeRow(row.title, row.description, tuple(values), values, PSEUDO))
    return Labelled(labelled, names_asked, kept)


def _found(
    predictors: Predictors, texts: Sequence[str], asked: Sequence[tuple[str, ...]], report: Report
) -> Iterator[tuple[Reading, list[list[Found]]]]:
    """Of each text, by name; in blocks, for token states of all of them would take gigabytes."""
    spans = predictors.span_head if predictors.has("spans") else None
    for at in range(0, len(texts), BLOCK):
        block, names = texts[at : at + BLOCK], asked[at : at + BLOCK]
        twice = [text for text, each in zip(block, names, strict=True) if spans and each == PROMPTS]
        encoded = iter(predictors.encode("block", twice, True))
        for each, (reading, *_) in zip(names, predictors.read("block", block, names), strict=True):
            if spans and each == PROMPTS:
                yield reading, spans.by_label(reading, next(encoded), NONE)
            else:
                yield reading, predictors.any_tagger.find(reading.units, reading.vectors, NONE)
        report("label", min(at + BLOCK, len(texts)), len(texts))


def is_sure(found: Sequence[Found]) -> bool:
    """Whether each stretch from NONE on is a value."""
    return all(each.score >= SURE for each in found)


def unlabelled(data: Path, each: int = EACH) -> list[AttributeRow]:
    """Texts of the training sides without those of the labelled development rows; Chinese ones ask PROMPTS. Raises
    DataError, OSError."""
    stores, fashion, pricerunner = (corpora.category_split(data, wanted).train for wanted in corpora.CATEGORY_SETS)
    sources: list[list[AttributeRow]] = [
        [AttributeRow(row.text, "", PROMPTS, {}) for row in stores],
        [AttributeRow(row.title, "", PROMPTS, {}) for row in weak.copy_rows(data)],
        [AttributeRow(row.text, "", (), {}) for row in fashion],
        [AttributeRow(row.text, "", (), {}) for row in {row.group: row for row in pricerunner}.values()],
        [AttributeRow(title, description, (), {}) for title, description in weak.offer_texts(data)],
    ]
    held = {normal_form(row.title) for row in corpora.attribute_split(data).dev}
    held |= {normal_form(row.text) for row in corpora.span_split(data).dev}
    found = []
    for rows in sources:
        found += sample([row for row in rows if normal_form(row.title) not in held], each, attribute_text)
    return found


def _names_like(
    rows: Sequence[AttributeRow], labelled: Sequence[AttributeRow], predictors: Predictors
) -> Iterator[tuple[str, ...]]:
    """Names of the labelled row whose embedding is nearest."""
    known = [row for row in labelled if row.ask]
    vectors = np.stack([each.pooled for each in predictors.encode("labelled", [attribute_text(r) for r in known])])
    for each in predictors.encode("unlabelled", [attribute_text(row) for row in rows]):
        yield known[int((vectors @ each.pooled).argmax())].ask[:NAMES_A_PROMPT]


def write_rows(file: Path, rows: Iterable[AttributeRow]) -> None:
    """In the format of the attribute sets, gzipped; whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    work = file.with_name(f".{file.name}.{os.getpid()}")
    with gzip.open(work, "wt", encoding="utf-8") as stream:
        for row in rows:
            record = {
                "title": row.title,
                "description": row.description,
                "attributes": {name: list(values) for name, values in row.values.items() if values},
                "absent": [name for name, values in row.values.items() if not values],
                "source": row.source,
            }
            stream.write(json.dumps(record, ensure_ascii=False) + "\n")
    work.replace(file)
