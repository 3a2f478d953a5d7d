"""The span tagger: exact probabilities, decoding, and equality with the network that was fitted."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.model.encoder import Encoded
from inference.tasks.spans import resolve
from inference.tasks.tagger import (
    ALLOWED,
    BEGIN,
    END,
    FIRST,
    INSIDE,
    LAST,
    NEVER,
    OUTSIDE,
    SINGLE,
    TAGS,
    Found,
    Tagger,
    candidates,
    chain,
)
from inference.tasks.units import HASH_SLOTS, SHAPES, UNIT, Units, make_frame, make_units
from inference.tasks.words import words_of
from inference.training.data import spans_of_tags

RNG = np.random.default_rng(7)
NAMES = {OUTSIDE: "O", BEGIN: "B-X", INSIDE: "I-X", END: "E-X", SINGLE: "S-X"}


def encoded(text: str, pieces: list[tuple[int, int]]) -> Encoded:
    offsets = np.array([(0, 0), *pieces, (0, 0)], np.int32)
    states = RNG.normal(size=(len(offsets), 384)).astype(np.float32)
    pooled = np.ones(384, np.float32)
    return Encoded(np.arange(len(offsets)), offsets, states, states.mean(0), pooled, False)


def some_units(count: int) -> Units:
    states = RNG.normal(size=(count, 384)).astype(np.float32)
    shapes = RNG.integers(0, 2, (count, SHAPES)).astype(np.float32)
    places = np.arange(count, dtype=np.int64)
    return Units(places * 2, places * 2 + 1, states, shapes, RNG.integers(0, 8192, (count, HASH_SLOTS)))


def test_units_split_scripts_digits_and_signs() -> None:
    text = "Nike耐克 4.4g 10pcs/lot T恤 café"
    words = [text[a:b] for a, b in (m.span() for m in UNIT.finditer(text))]
    expected = ["Nike", "耐", "克", "4", ".", "4", "g", "10", "pcs", "/", "lot", "T", "恤", "café"]
    assert words == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hard drivePart", ["hard", "drive", "Part"]),
        ("iPhone cases", ["i", "Phone", "case", "s"]),
        ("Mens JERSEYS", ["Men", "s", "JERSEY", "S"]),
        ("glass bus tennis gas", ["glass", "bus", "tennis", "gas"]),
    ],
)
def test_words_are_cut_where_values_begin_and_end(text: str, words: list[str]) -> None:
    units = make_units(text, encoded(text, [(0, len(text))]))
    assert [text[a:b] for a, b in zip(units.starts, units.ends, strict=True)] == words


def test_full_width_letters_and_digits_make_the_units_that_half_width_ones_do() -> None:
    half = "Acme Mens T-shirt 不锈钢 500ml"
    full = half.translate({code: code + 0xFEE0 for code in range(0x21, 0x7F) if chr(code).isalnum()})
    assert full != half
    offsets = np.array([[at, at + 1] for at in range(len(half))], np.int32)
    one, other = make_frame(half, offsets), make_frame(full, offsets)
    for name in ("starts", "ends", "shapes", "hashed"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_a_unit_takes_the_mean_of_the_tokens_it_touches() -> None:
    text = "运动鞋 red"
    one = encoded(text, [(0, 3), (4, 5), (5, 7)])
    units = make_units(text, one)
    assert [text[a:b] for a, b in zip(units.starts, units.ends, strict=True)] == ["运", "动", "鞋", "red"]
    for at in range(3):
        np.testing.assert_allclose(units.states[at], one.states[1], atol=1e-6)
    np.testing.assert_allclose(units.states[3], (one.states[2] + one.states[3]) / 2, atol=1e-6)


def test_units_of_chinese_know_the_word_that_they_are_part_of() -> None:
    text = "雾化器 red"
    units = make_units(text, encoded(text, [(0, 1), (1, 2), (2, 3), (4, 7)]))
    assert units.shapes[:, 8:10].tolist() == [[1, 0], [0, 0], [0, 1], [1, 1]], "begins, ends"
    word = units.hashed[:, 7]
    assert word[0] == word[1] == word[2]
    assert word[3] != word[0]
    cut = make_units(text, encoded(text, [(0, 1), (1, 2)]))
    assert len(cut) == 2, "the word is cut where the encoder's text ends"


def test_words_cover_the_text_and_english_has_none() -> None:
    text = "健身房 iPhone7/plus\n繁體中文 😀𠮷野家"
    words = list(words_of(text))
    assert "".join(text[word.start : word.end] for word in words) == text
    assert [word.start for word in words[1:]] == [word.end for word in words[:-1]]
    assert list(words_of("red shoes 42")) == []


def test_text_that_the_encoder_did_not_see_has_no_units() -> None:
    assert len(make_units("red shoes blue", encoded("red shoes blue", [(0, 3)]))) == 1
    assert len(make_units("", encoded("", []))) == 0


@pytest.mark.parametrize("count", [1, 2, 5])
def test_probabilities_are_those_of_enumeration(count: int) -> None:
    emissions = RNG.normal(size=(1, count, TAGS)) * 2
    steps = np.where(ALLOWED, RNG.normal(size=(TAGS, TAGS)), NEVER)
    ahead, behind, total = chain(emissions, steps)
    weights: dict[tuple[int, int], float] = {}
    everything = 0.0
    for path in itertools.product(range(TAGS), repeat=count):
        score = FIRST[path[0]] + LAST[path[-1]] + sum(emissions[0, at, tag] for at, tag in enumerate(path))
        odds = float(np.exp(score + sum(steps[a, b] for a, b in itertools.pairwise(path))))
        everything += odds
        for start, end, _ in spans_of_tags([NAMES[tag] for tag in path]) if odds > 0 else []:
            weights[start, end - 1] = weights.get((start, end - 1), 0.0) + odds
    assert total[0] == pytest.approx(np.log(everything))
    found = {(a, b): np.exp(p) for p, a, b in candidates(emissions[0], steps, ahead[0], behind[0], float(total[0]))}
    likely = {span: odds / everything for span, odds in weights.items() if odds / everything > 0.011}
    assert likely
    assert set(likely) <= set(found)
    for span, probability in found.items():
        assert probability == pytest.approx(weights[span] / everything)


def weights_of(names: int) -> tuple[dict[str, NDArray[np.float32]], object]:
    torch = pytest.importorskip("torch")
    from inference.tuning.tagger import TaggerConfig, TaggerNet, export_tagger

    torch.manual_seed(3)
    net = TaggerNet(TaggerConfig(hidden=16, joint=8), names)
    return {**export_tagger(net), "platt": np.array([1.0, 0.0], np.float32)}, net


@pytest.mark.train
def test_numpy_equals_the_network_that_was_fitted() -> None:
    torch = pytest.importorskip("torch")
    weights, net = weights_of(3)
    units, names = some_units(9), RNG.normal(size=(2, 3)).astype(np.float32)
    net.eval()  # type: ignore[attr-defined]
    with torch.no_grad():
        inputs = (torch.from_numpy(x)[None] for x in (units.states, units.shapes, units.hashed, names))
        expected = net(*inputs)[0].numpy()  # type: ignore[operator]
    tagger = Tagger(weights)
    np.testing.assert_allclose(tagger.emissions(tagger.contexts(units), names), expected, atol=1e-4)


@pytest.mark.train
def test_found_spans_do_not_overlap_and_keep_the_threshold() -> None:
    weights, _ = weights_of(3)
    found = Tagger(weights).find(some_units(30), RNG.normal(size=(4, 3)).astype(np.float32), 0.05)
    assert any(found)
    for spans in found:
        taken = [at for each in spans for at in range(each.first, each.last + 1)]
        assert len(taken) == len(set(taken))
        assert all(each.score >= 0.05 for each in spans)
        assert [each.score for each in spans] == sorted((each.score for each in spans), reverse=True)
    assert Tagger(weights).find(some_units(0), np.zeros((2, 3), np.float32), 0.1) == [[], []]


def test_the_likelier_label_has_the_words() -> None:
    product, brand = [Found(0, 2, 0.6), Found(4, 4, 0.9)], [Found(2, 3, 0.7), Found(6, 6, 0.2)]
    assert resolve([product, brand], 0.5) == [("HP", brand[0]), ("HC", product[1])]
