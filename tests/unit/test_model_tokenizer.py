"""Offsets point into the text as it was given, whatever normalisation did to it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.model.encoder import TEXT_LIMIT
from inference.model.tokenizer import Tokens
from tests.unit.encoder_fixture import real_encoder


def encode(text: str) -> Tokens:
    return real_encoder().words.encode([text])[0]


def pieces(text: str) -> list[str]:
    return [text[a:b] for a, b in encode(text).offsets.tolist() if b > a]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Ｎｉｋｅ　ａｉｒ 42", "Ｎｉｋｅ"),
        ("👟🔥 Nike air", "Nike"),
        ("夏季连衣裙 红色", "红色"),
        ("two  spaces   Nike", "Nike"),
        ("tab\tand\nline Nike", "Nike"),
        ("zero\u200bwidth Nike", "Nike"),
        ("ﬁne ligature Nike", "Nike"),
        ("𠮷野家 bowl Nike", "Nike"),
    ],
)
def test_words_are_found_where_they_stand(text: str, word: str) -> None:
    start = text.index(word)
    inside = [(a, b) for a, b in encode(text).offsets.tolist() if b > start and a < start + len(word) and b > a]
    assert min(a for a, _ in inside) == start
    assert max(b for _, b in inside) == start + len(word)


def test_composition_keeps_both_code_points() -> None:
    text = "cafe\u0301 Nike"
    joined = pieces(text)
    assert joined[-1] == "Nike"
    assert "".join(joined[:-1]).startswith("cafe")


def test_specials_carry_no_text() -> None:
    tokens = encode("Nike")
    carrying = (tokens.offsets[:, 1] > tokens.offsets[:, 0]).tolist()
    assert carrying == [False, True, False]


def test_long_text_is_cut_to_the_limit_and_says_so() -> None:
    tokens = encode("红色 dress " * 200_000)
    assert tokens.truncated
    assert len(tokens.ids) == TEXT_LIMIT
    assert tokens.ids[-1] == encode("x").ids[-1]
    assert not encode("short").truncated


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60))
def test_offsets_are_ordered_and_inside_any_text(text: str) -> None:
    tokens = encode(text)
    assert tokens.offsets.shape == (len(tokens.ids), 2)
    last = 0
    for start, end in tokens.offsets.tolist():
        assert 0 <= start <= end <= len(text)
        if end > start:
            assert not text[start].isspace()
            assert start >= last
            last = start
