"""The 200 pairs of listing and seller's value, labelled by hand, that tag matching will be measured on."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

PAIRS = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "data" / "tag_pairs.jsonl").read_text(encoding="utf-8").splitlines()
]


def test_there_are_two_hundred_of_all_three_kinds_in_both_languages() -> None:
    kinds = Counter(pair["label"] for pair in PAIRS)
    assert sum(kinds.values()) == 200
    assert min(kinds[kind] for kind in ("entailed", "contradicted", "unknown")) >= 50
    chinese = sum(not pair["title"].isascii() for pair in PAIRS)
    assert 80 <= chinese <= 120


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair['title'][:12]} {pair['name']}={pair['value']}")
def test_the_evidence_stands_in_the_listing(pair: dict[str, str]) -> None:
    assert bool(pair["evidence"]) == (pair["label"] != "unknown")
    assert pair["evidence"] in pair["title"] or pair["evidence"] in pair["description"]
    assert not [key for key in ("title", "name", "value") if not pair[key].strip()]
