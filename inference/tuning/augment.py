"""More training rows of the same kind: values swapped for others of the same attribute, and wordings as sellers type.

Swapping what is labelled (Dai and Adel, COLING 2020, call it mention replacement) tells a tagger that the place decides
and not only the word; the spellings of training/perturb.py tell it that case, width and script do not.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from inference.tasks.words import CHINESE
from inference.training.data import AttributeRow, SpanRow
from inference.training.perturb import Kind, Row, perturb
from inference.training.tagging import attribute_text

SWAPPED = 0.3
"""Of the values of a row."""
DROPPED = 0.15
"""Of the rows, that lose one value: titles in which what is asked is missing are rare among labelled ones, so that
the first words of any English title are taken for its brand."""
PERTURBED = 0.06
"""Of the rows, for each kind."""
FEW = 3
"""Values that a category must have of an attribute to be asked for another one; else all categories are."""


def more_listings(rows: Sequence[AttributeRow], seed: int) -> list[AttributeRow]:
    """One further row for each that has a value to swap, and for some that have one to leave out; some perturbed."""
    rng = random.Random(seed)
    pool = _values(rows)
    more = [new for row in rows if (new := swap_values(row, pool, rng)) is not row]
    more += [new for row in rows if rng.random() < DROPPED and (new := drop_value(row, rng)) is not row]
    return perturbed(more, seed)


def more_sentences(rows: Sequence[SpanRow], seed: int) -> list[SpanRow]:
    """One further sentence for each that has a span; some perturbed."""
    rng = random.Random(seed)
    pool: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        for start, end, label in row.spans:
            pool[label].append(row.text[start:end])
    return perturbed([swap_spans(row, pool, rng) for row in rows if row.spans], seed)


def perturbed(rows: Sequence[Row], seed: int) -> list[Row]:
    """PERTURBED of the rows in each kind of other spelling, the rest as it is."""
    order = list(range(len(rows)))
    random.Random(seed).shuffle(order)
    size = int(PERTURBED * len(rows))
    found = list(rows)
    for at, kind in enumerate(Kind):
        chosen = order[at * size : (at + 1) * size]
        for place, row in zip(chosen, perturb([rows[each] for each in chosen], kind, seed), strict=True):
            found[place] = row
    return found


Pool = dict[tuple[str, str], list[str]]


def swap_values(row: AttributeRow, pool: Pool, rng: random.Random) -> AttributeRow:
    """Some of the row's values replaced wherever they stand; the row itself where none can be. A value stays where it
    is part of another one, or the value of two attributes."""
    title, description, values = row.title, row.description, dict(row.values)
    text, swapped = attribute_text(row).casefold(), False
    for name, value in _apart(row):
        others = pool.get((row.category, name), [])
        others = others if len(others) >= FEW else pool.get(("", name), [])
        others = [each for each in others if each.casefold() not in text]
        if not others or rng.random() >= SWAPPED:
            continue
        other = rng.choice(others)
        place = _standing(value)
        title, description = (place.sub(other.replace("\\", r"\\"), text) for text in (title, description))
        values[name] = tuple(other if each == value else each for each in values[name])
        swapped = True
    return replace(row, title=title, description=description, values=values) if swapped else row


def drop_value(row: AttributeRow, rng: random.Random) -> AttributeRow:
    """The row without one of its values, wherever it stands, and its name without an answer; the row itself where no
    value stands apart, where nothing else would be left, or where it is part of another word (`Men` in `Mens`)."""
    apart = [(name, value) for name, value in _apart(row) if len(row.values[name]) == 1]
    if not apart:
        return row
    name, value = rng.choice(apart)
    place = re.compile(f" ?{_standing(value).pattern}", re.IGNORECASE)
    title, description = (place.sub("", text) for text in (row.title, row.description))
    if not title.strip() or value.casefold() in f"{title} {description}".casefold():
        return row
    return replace(row, title=title.strip(), description=description, values={**row.values, name: ()})


def swap_spans(row: SpanRow, pool: dict[str, list[str]], rng: random.Random) -> SpanRow:
    """Some of the sentence's spans replaced by others of their label."""
    text, at = "", 0
    spans = []
    for start, end, label in sorted(row.spans):
        word = rng.choice(pool[label]) if rng.random() < SWAPPED else row.text[start:end]
        text += row.text[at:start]
        spans.append((len(text), len(text) + len(word), label))
        text, at = text + word, end
    return SpanRow(text + row.text[at:], tuple(spans))


def _apart(row: AttributeRow) -> Iterator[tuple[str, str]]:
    """(name, value) of the values that no other value of the row overlaps in wording."""
    every = [(name, value) for name, values in row.values.items() for value in values]
    for name, value in every:
        low = value.casefold()
        others = [other.casefold() for pair in every if pair != (name, value) for other in pair[1:]]
        if not any(low in other or other in low for other in others):
            yield name, value


def _standing(value: str) -> re.Pattern[str]:
    """Where a value stands: as whole words, but anywhere in Chinese."""
    plain = re.escape(value)
    edged = plain if CHINESE.search(value) else rf"(?<![^\W_]){plain}(?![^\W_])"
    return re.compile(edged, re.IGNORECASE)


def _values(rows: Sequence[AttributeRow]) -> Pool:
    """Distinct values of each attribute, within its category and in all."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows:
        for name, values in row.values.items():
            found[row.category, name].update(values)
            found["", name].update(values)
    return {key: sorted(values) for key, values in found.items()}
