"""Listings as sellers type them: rows with typos, other widths, the other script, emoji, or words in another order.

Gold values and spans keep their places: what changes them one to one (width, script) changes them as well, what does
not (typos, emoji, order) leaves them alone. What a seller says of a listing (tags) stays as it is, its text alone
changes. Rows that a kind cannot change stay as they are.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any, TypeVar

from inference.training.data import AttributeRow, SpanRow, TagRow, TextRow

SHARE = 0.15
"""Of the words that get a typo: about two in a title of twelve."""
EMOJI = ("🔥", "✨", "❤️", "👍", "🎁", "💯")
WORD = re.compile(r"[^\W\d_\u3400-\u9fff]{4,}")
FULL_WIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}


class Kind(StrEnum):
    """What is done to a text."""

    TYPOS = "typos"
    FULL_WIDTH = "full-width"
    TRADITIONAL = "traditional"
    EMOJI = "emoji"
    ORDER = "order"


ONE_TO_ONE = (Kind.FULL_WIDTH, Kind.TRADITIONAL)
"""Kinds that keep each character's place."""
Change = Callable[[str, Sequence[str]], str]
Row = TypeVar("Row", TextRow, AttributeRow, SpanRow, TagRow)


def perturb(rows: Sequence[Row], kind: Kind | None, seed: int = 1) -> list[Row]:
    """Rows of any one type; None leaves them as they are."""
    if kind is None:
        return list(rows)
    rng = random.Random(seed)
    change = _changer(kind, rng)
    return [_changed(row, change, kind) for row in rows]


def _changed(row: object, change: Change, kind: Kind) -> Any:
    if isinstance(row, AttributeRow):
        return _listing(row, change, kind)
    if isinstance(row, SpanRow):
        return _sentence(row, change, kind)
    if isinstance(row, TagRow):
        said = (row.value,)
        return replace(row, title=change(row.title, said), description=change(row.description, said))
    assert isinstance(row, TextRow)
    return replace(row, text=change(row.text, ()))


def _listing(row: AttributeRow, change: Change, kind: Kind) -> AttributeRow:
    """With its gold values in the same wording."""
    kept = tuple(value for values in row.values.values() for value in values)
    values = row.values
    if kind in ONE_TO_ONE:
        values = {name: tuple(change(value, ()) for value in each) for name, each in values.items()}
    return replace(row, title=change(row.title, kept), description=change(row.description, kept), values=values)


def _sentence(row: SpanRow, change: Change, kind: Kind) -> SpanRow:
    """Only kinds that keep every character's place change it."""
    text = change(row.text, ()) if kind in ONE_TO_ONE else row.text
    return replace(row, text=text) if len(text) == len(row.text) else row


def _changer(kind: Kind, rng: random.Random) -> Change:
    if kind is Kind.FULL_WIDTH:
        return lambda text, _: text.translate(FULL_WIDTH)
    if kind is Kind.TRADITIONAL:
        import opencc

        convert = opencc.OpenCC("s2t").convert
        return lambda text, _: str(convert(text))
    return {
        Kind.TYPOS: lambda text, kept: _typos(text, kept, rng),
        Kind.EMOJI: lambda text, kept: _emoji(text, kept, rng),
        Kind.ORDER: lambda text, kept: _order(text, kept, rng),
    }[kind]


def _typos(text: str, kept: Sequence[str], rng: random.Random) -> str:
    """Two neighbouring letters swapped or one left out, inside words of four letters or more."""
    guarded = _places(text, kept)

    def wrong(match: re.Match[str]) -> str:
        word = match.group()
        if rng.random() >= SHARE or any(guarded[match.start() : match.end()]):
            return word
        at = rng.randrange(1, len(word) - 2)
        if rng.random() < 0.5:
            return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        return word[:at] + word[at + 1 :]

    return WORD.sub(wrong, text)


def _emoji(text: str, kept: Sequence[str], rng: random.Random) -> str:
    """One before, one behind, and one at a space where no value is."""
    if not text.strip():
        return text
    guarded = _places(text, kept)
    spaces = [at for at, character in enumerate(text) if character == " " and not guarded[at]]
    if spaces:
        at = rng.choice(spaces)
        text = f"{text[:at]} {rng.choice(EMOJI)}{text[at:]}"
    return f"{rng.choice(EMOJI)}{text}{rng.choice(EMOJI)}"


def _order(text: str, kept: Sequence[str], rng: random.Random) -> str:
    """Neighbouring words swapped, words of one value left together."""
    guarded = _places(text, kept)
    parts: list[str] = [""]
    for at, character in enumerate(text):
        if character == " " and not guarded[at]:
            parts.append("")
        else:
            parts[-1] += character
    for at in range(0, len(parts) - 1, 2):
        if rng.random() < 0.5:
            parts[at], parts[at + 1] = parts[at + 1], parts[at]
    return " ".join(parts)


def _places(text: str, kept: Sequence[str]) -> list[bool]:
    """Which characters belong to one of these stretches."""
    inside = [False] * len(text)
    low = text.casefold() if len(text.casefold()) == len(text) else text
    for value in filter(None, kept):
        for match in re.finditer(re.escape(value.casefold()), low):
            inside[match.start() : match.end()] = [True] * (match.end() - match.start())
    return inside
