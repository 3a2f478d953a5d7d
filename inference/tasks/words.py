"""Chinese words as jieba's dictionary cuts them: where they begin and end, and their part of speech."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import rjieba

from inference.model.tokenizer import IDEOGRAPH

CHINESE = re.compile(f"[{IDEOGRAPH}]")


@dataclass(frozen=True)
class Word:
    """Code points [start, end) of the text, and the part of speech as the dictionary abbreviates it."""

    start: int
    end: int
    speech: str


def words_of(text: str) -> Iterator[Word]:
    """Every word, signs and spaces too, in its order; of a text without Chinese nothing."""
    if not CHINESE.search(text):
        return
    at = 0
    for word, speech in rjieba.tag(text):
        yield Word(at, at + len(word), speech)
        at += len(word)
