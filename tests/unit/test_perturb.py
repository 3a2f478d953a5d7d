"""Perturbed rows: what is asked of them still has its answer in the text."""

from __future__ import annotations

import pytest

from inference.training.data import AttributeRow, SpanRow, TagRow, TextRow
from inference.training.perturb import Kind, perturb

LISTING = AttributeRow(
    "SEAPESCA Minnow Fishing Wobblers 7cm 9g Hard Baits with Treble Hooks for Freshwater",
    "Realistic swimming action attracts predators everywhere",
    ("Brand Name", "Weight"),
    {"Brand Name": ("SEAPESCA",), "Weight": ("9g",)},
)
SENTENCE = SpanRow("连衣裙女夏季韩版后背拉链", ((0, 3, "HC"),))


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.TRADITIONAL])
def test_listings_change_and_keep_their_values(kind: Kind) -> None:
    (row,) = perturb([LISTING], kind, seed=3)
    assert row.title != LISTING.title
    for values in row.values.values():
        assert all(value in row.title for value in values)
    assert (row.ask, list(row.values)) == (LISTING.ask, list(LISTING.values))
    assert perturb([LISTING], kind, seed=3) == [row]


def test_words_in_another_order_are_the_same_words() -> None:
    (row,) = perturb([LISTING], Kind.ORDER, seed=3)
    assert sorted(row.title.split()) == sorted(LISTING.title.split())


def test_typos_spare_short_words_numbers_and_chinese() -> None:
    rows = [TextRow("4K TV 55in 智能电视 by LG"), TextRow("a to in of")]
    assert perturb(rows, Kind.TYPOS, seed=1) == rows


@pytest.mark.train
def test_traditional_characters_keep_their_places() -> None:
    pytest.importorskip("opencc")
    (row,) = perturb([SENTENCE], Kind.TRADITIONAL)
    assert row.text == "連衣裙女夏季韓版後背拉鏈"
    assert row.spans == SENTENCE.spans
    (title,) = perturb([TextRow("手机壳")], Kind.TRADITIONAL)
    assert title.text == "手機殼"


@pytest.mark.parametrize("kind", [Kind.FULL_WIDTH, Kind.EMOJI, Kind.ORDER])
def test_a_claim_stays_as_the_seller_wrote_it(kind: Kind) -> None:
    pair = TagRow(LISTING.title, LISTING.description, "Brand Name", "SEAPESCA", "entailed")
    (row,) = perturb([pair], kind, seed=3)
    assert row.title != pair.title
    assert row.description != pair.description
    assert (row.name, row.value, row.label) == (pair.name, pair.value, pair.label)


def test_nothing_asked_nothing_changed() -> None:
    assert perturb([SENTENCE], None) == [SENTENCE]
    assert perturb([SENTENCE], Kind.EMOJI) == [SENTENCE]
    assert perturb([TextRow("")], Kind.EMOJI)[0].text == ""
