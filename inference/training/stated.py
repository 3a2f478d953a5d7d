"""Rows whose text states what is asked ("Draw Weight: 40 lb", "【拉力】40磅"), under names that no labelled set has.

The labelled sets ask 139 names; a platform's schema has its own. What such rows teach is to read a name off the text
and to take what stands beside it, whatever the name is; a name that is not stated has no value.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from inference.tasks.words import CHINESE, words_of
from inference.taxonomy import load_attributes, load_taxonomy
from inference.training import corpora
from inference.training.data import AttributeRow
from inference.training.splits import number_of
from inference.training.tagging import attribute_text

WORD = re.compile(r"[A-Za-z]{3,12}")
HELD_BACK = 5
"""One name in so many, by hash, is asked of development rows only."""
STATED, ASKED, ABSENT = (2, 6), 3, 3
"""Statements of a row (least, most), how many of them are asked, and names beside that are not stated."""
MADE_UP = 0.6
"""Of the names, words drawn from texts; the rest are those of the schema and of the labelled sets."""
COUNTED = 0.4
"""Of the values, numbers with a unit; the rest are values of the labelled rows."""
UNITS = {
    "en": ("cm", "mm", "in", "lb", "kg", "g", "oz", "ml", "L", "W", "V", "mAh", "gal", "dpi", "mph", "hours", "%"),
    "zh": ("厘米", "毫米", "公斤", "克", "毫升", "升", "瓦", "伏", "毫安", "小时", "磅", "片", "个", "年", "度"),
}
WORDINGS = {
    "en": ("{name}: {value}", "{name}: {value}", "{name} - {value}", "{name} {value}", "{value} {name}"),
    "zh": ("{name}：{value}", "{name}:{value}", "【{name}】{value}", "{name} {value}", "{name}{value}"),
}
BETWEEN = {"en": ("\n", "; ", " | ", ", ", ". "), "zh": ("\n", "；", " ", "，", " | ")}
MOST_TRIES = 20
"""To draw a value that does not stand in the text already; then the statement is left out."""


@dataclass(frozen=True)
class Pool:
    """What statements are made of, in one language."""

    language: str
    names: Sequence[str]
    texts: Sequence[str]
    values: Sequence[str]


def stated_rows(folder: Path, seed: int) -> tuple[list[AttributeRow], list[AttributeRow]]:
    """To fit on and to measure on, from the sides of the labelled sets; the sides share no name. Raises DataError,
    OSError."""
    listings, sentences = corpora.attribute_split(folder), corpora.span_split(folder)
    schema = load_attributes(load_taxonomy())
    values = {value for row in listings.train for each in row.values.values() for value in each}
    english = Pool(
        "en",
        sorted({*(each.en for each in schema.attributes.values()), *(n for row in listings.train for n in row.ask)}),
        [row.title for row in listings.train],
        sorted(value for value in values if len(value) < 30 and not CHINESE.search(value)),
    )
    chinese = Pool(
        "zh",
        sorted({each.zh for each in schema.attributes.values()}),
        [row.text for row in sentences.train],
        sorted({row.text[start:end] for row in sentences.train for start, end, _ in row.spans}),
    )
    sides = []
    for dev, rows, texts in ((False, listings.train, sentences.train), (True, listings.dev, sentences.dev)):
        rng = random.Random(f"{seed} {dev}")
        bare = [AttributeRow(row.text, "", (), {}, "spans_zh") for row in texts]
        made = [_stated(row, english, rng, dev) for row in rows]
        made += [_stated(row, chinese, rng, dev) for row in bare]
        sides.append([row for row in made if row.ask])
    return sides[0], sides[1]


def _stated(row: AttributeRow, pool: Pool, rng: random.Random, dev: bool) -> AttributeRow:
    """The row's title with statements behind it, and what is asked of them. The row's own names are not among them:
    it may have other values for those."""
    own = {name.casefold() for name in row.ask}
    said: dict[str, str] = {}
    parts: list[str] = []
    for _ in range(rng.randint(*STATED)):
        name = _name(pool, rng, dev)
        value = _value(pool, rng, f"{row.title} {' '.join(parts)} {name}".casefold())
        taken = " ".join([*said, *said.values(), row.title]).casefold()
        if not name or not value or name.casefold() in own or name.casefold() in taken:
            continue
        said[name] = value
        shown = rng.choice((name, name, name.lower(), name.upper()))
        parts.append(rng.choice(WORDINGS[pool.language]).format(name=shown, value=value))
    if not said:
        return replace(row, ask=(), values={})
    between = rng.choice(BETWEEN[pool.language])
    text = attribute_text(AttributeRow(row.title, between.join(parts), (), {})).casefold()
    kept = [name for name, value in said.items() if text.count(value.casefold()) == 1]
    asked = rng.sample(kept, min(ASKED, len(kept)))
    # Not of the pool's: the title may hold values of those without naming them.
    others = {_made_up(pool, rng, dev) for _ in range(ABSENT)}
    values: dict[str, tuple[str, ...]] = {name: (said[name],) for name in asked}
    values |= {name: () for name in sorted(others) if name and name.casefold() not in text}
    return AttributeRow(row.title, between.join(parts), tuple(values) if asked else (), values, row.source)


def _name(pool: Pool, rng: random.Random, dev: bool) -> str:
    """One of this side; empty where the drawn one is of the other."""
    if rng.random() < MADE_UP:
        return _made_up(pool, rng, dev)
    return _of_side(rng.choice(pool.names), dev)


def _made_up(pool: Pool, rng: random.Random, dev: bool) -> str:
    found = _words(rng.choice(pool.texts), pool.language)
    at = rng.randrange(max(1, len(found)))
    words = found[at : at + rng.randint(1, 2)]
    return _of_side("".join(words) if pool.language == "zh" else " ".join(words).title(), dev)


def _of_side(name: str, dev: bool) -> str:
    return name if (number_of(f"name {name.casefold()}") % HELD_BACK == 0) == dev else ""


def _words(text: str, language: str) -> list[str]:
    if language == "en":
        return WORD.findall(text)
    return [text[w.start : w.end] for w in words_of(text) if w.end - w.start > 1 and CHINESE.match(text[w.start])]


def _value(pool: Pool, rng: random.Random, text: str) -> str:
    """One that the text does not hold; empty where none was drawn."""
    for _ in range(MOST_TRIES):
        value = rng.choice(pool.values)
        if rng.random() < COUNTED:
            number = rng.choice((f"{rng.randint(1, 999)}", f"{rng.randint(1, 99)}.{rng.randint(1, 9)}"))
            if rng.random() < 0.2:
                number = f"{rng.randint(1, 50)}-{rng.randint(51, 99)}"
            space = rng.choice(("", " ")) if pool.language == "en" else ""
            value = f"{number}{space}{rng.choice(UNITS[pool.language])}"
        if value.casefold() not in text:
            return value
    return ""
