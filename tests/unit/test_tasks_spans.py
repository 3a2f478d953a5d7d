"""Brand and product words: two opinions of one sentence, averaged."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.model.encoder import Encoded
from inference.tasks.reading import Reading
from inference.tasks.spans import LABEL_VECTORS, OWN, PROMPTS, SpanHead
from inference.tasks.tagger import TAGS, Tagger
from inference.tasks.units import HASH_ROWS, HASH_SLOTS, SHAPES, make_units, reread
from inference.tasks.weights import HeadFile
from inference.training.data import SpanRow
from inference.training.tagging import span_set

RNG = np.random.default_rng(3)
TEXT = "新款海尔洗衣机 大容量"
BY_CHARACTER = [(at, at + 1) for at in range(len(TEXT)) if TEXT[at] != " "]
BY_WORD = [(0, 2), (2, 4), (4, 7), (8, 9), (9, 11)]
IDENTITY = np.array([1.0, 0.0], np.float32)


def encoded(pieces: list[tuple[int, int]]) -> Encoded:
    offsets = np.array([(0, 0), *pieces, (0, 0)], np.int32)
    states = RNG.normal(size=(len(offsets), 384)).astype(np.float32)
    return Encoded(np.arange(len(offsets)), offsets, states, states.mean(0), np.ones(384, np.float32), False)


def tagger(names: int) -> dict[str, NDArray[np.float32]]:
    hidden, joint, wording = 16, 8, 4
    shapes = {
        "table": (HASH_ROWS, wording),
        "enter": (384 + SHAPES + HASH_SLOTS * wording, hidden),
        "enter_bias": (hidden,),
        "near": (3 * hidden, hidden),
        "near_bias": (hidden,),
        "join": (hidden, joint),
        "name_join": (names, joint),
        "name_gate": (names, hidden),
        "tag_join": (joint, TAGS),
        "tag_gate": (hidden, TAGS),
        "tag_bias": (TAGS,),
        "steps": (TAGS, TAGS),
    }
    arrays = {name: RNG.normal(0.0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    return {**arrays, "platt": IDENTITY}


def head(own: dict[str, NDArray[np.float32]], shared: dict[str, NDArray[np.float32]]) -> SpanHead:
    arrays = {OWN + name: each for name, each in own.items()}
    return SpanHead(HeadFile({**arrays, "platt": IDENTITY}, {"least": 0.05}), HeadFile(shared, {}))


def reading() -> Reading:
    names = RNG.normal(size=(len(PROMPTS), 384)).astype(np.float32)
    return Reading(make_units(TEXT, encoded(BY_CHARACTER)), PROMPTS, names)


def test_units_are_read_again_by_other_tokens() -> None:
    first, again = make_units(TEXT, encoded(BY_CHARACTER)), encoded(BY_WORD)
    expected = make_units(TEXT, again)
    found = reread(first, again)
    for field in ("starts", "ends", "states", "shapes", "hashed"):
        np.testing.assert_array_equal(getattr(found, field), getattr(expected, field))
    assert (first.shapes != expected.shapes).any()  # what a token starts and ends differs, and only that


def test_units_that_the_other_reading_did_not_see_are_left_out() -> None:
    first = make_units(TEXT, encoded(BY_CHARACTER))
    assert len(reread(first, encoded(BY_WORD[:2]))) == 4
    assert len(reread(first, encoded([]))) == 0


def test_two_opinions_are_averaged() -> None:
    own, shared, read, text = tagger(2), tagger(384), reading(), encoded(BY_WORD)
    one, steps = Tagger(shared).scores(read.units, read.vectors)
    two, further = Tagger(own).scores(reread(read.units, text), LABEL_VECTORS)
    expected = Tagger(shared).decode((one + two) / 2, (steps + further) / 2, 0.05)
    found = head(own, shared).by_label(read, text)
    assert found == expected
    assert any(found)
    assert found != head({}, shared).by_label(read, text)


def test_where_one_reading_saw_less_the_other_speaks_alone() -> None:
    own, shared, read, text = tagger(2), tagger(384), reading(), encoded(BY_WORD[:2])
    one, steps = Tagger(shared).scores(read.units, read.vectors)
    two, further = Tagger(own).scores(reread(read.units, text), LABEL_VECTORS)
    one[:, :4] = (one[:, :4] + two) / 2
    assert head(own, shared).by_label(read, text) == Tagger(shared).decode(one, (steps + further) / 2, 0.05)


def test_without_a_tagger_of_its_own_the_shared_one_decides() -> None:
    shared, read = tagger(384), reading()
    found = head({}, shared)
    assert found.by_label(read, encoded(BY_WORD)) == Tagger(shared).find(read.units, read.vectors, 0.05)
    assert head({}, shared).by_label(Reading(make_units("", encoded([])), PROMPTS, read.vectors), encoded([])) == [
        [],
        [],
    ]


@pytest.mark.train
def test_the_own_tagger_learns_from_sentences() -> None:
    from inference.training.fit_spans import fit_span_tagger

    rows = []
    for brand in ("海尔", "美的", "格力", "小米"):
        for product in ("洗衣机", "空调", "电视", "冰箱", "风扇"):
            for ending in ("大容量", "包邮", "新款"):
                text = brand + product + ending
                at = len(brand), len(brand) + len(product)
                row = SpanRow(text, ((0, at[0], "HP"), (*at, "HC")))
                offsets = [(place, place + 1) for place in range(len(text))]
                rows.append((row, make_units(text, encoded(offsets))))
    told: list[tuple[int, int]] = []
    arrays = fit_span_tagger(rows * 24, lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1]
    own = Tagger({name.removeprefix(OWN): each for name, each in arrays.items()})
    for row, units in rows:
        best = [each[:1] for each in own.find(units, LABEL_VECTORS, 0.3)]
        found = [(label, span) for label, spans in zip(("HC", "HP"), best, strict=True) for span in spans]
        assert span_set(units, found) == set(row.spans)
