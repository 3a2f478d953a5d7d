"""Pairs of listing and seller's value, labelled by hand: 200 that tag matching is measured on, 120 it is fitted on."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest


def read(file: Path) -> list[dict[str, str]]:
    """Its lines."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


ROOT = Path(__file__).parents[2]
PAIRS = read(ROOT / "tests" / "data" / "tag_pairs.jsonl")
FITTED_ON = read(ROOT / "inference" / "training" / "tag_pairs.jsonl")


def test_there_are_two_hundred_of_all_three_kinds_in_both_languages() -> None:
    kinds = Counter(pair["label"] for pair in PAIRS)
    assert sum(kinds.values()) == 200
    assert min(kinds[kind] for kind in ("entailed", "contradicted", "unknown")) >= 50
    chinese = sum(not pair["title"].isascii() for pair in PAIRS)
    assert 80 <= chinese <= 120


def test_no_listing_is_both_fitted_on_and_measured_on() -> None:
    assert len(FITTED_ON) == 120
    assert not {pair["title"] for pair in PAIRS} & {pair["title"] for pair in FITTED_ON}


@pytest.mark.parametrize(
    "pair", [*PAIRS, *FITTED_ON], ids=lambda pair: f"{pair['title'][:12]} {pair['name']}={pair['value']}"
)
def test_the_evidence_stands_in_the_listing(pair: dict[str, str]) -> None:
    assert bool(pair["evidence"]) == (pair["label"] != "unknown")
    assert pair["evidence"] in pair["title"] or pair["evidence"] in pair["description"]
    assert not [key for key in ("title", "name", "value") if not pair[key].strip()]
