"""What a text states outright, and what only looks so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from inference.tasks.attributes import AttributeHead
from inference.tasks.reading import Reading
from inference.tasks.statements import (
    LONGEST,
    MOST,
    not_of_others,
    stated_units,
    statements,
    statements_of,
    with_stated,
)
from inference.tasks.tagger import Found
from inference.tasks.units import Frame, make_frame
from inference.tasks.weights import DEFAULT_WEIGHTS, HeadFile, load_head
from inference.taxonomy import load_attributes, load_taxonomy
from inference.training.data import AttributeRow
from inference.training.fit_thresholds import stated_right, stated_score

PARTS = ("Color", "颜色", "red", "Blue 9", "红色", "16:9", *" ：:=-/【】[]()；;,.。、|\n\t")


def no_others(_: str) -> tuple[str, ...]:
    """As of a name that no schema has."""
    return ()


def frame_of(text: str) -> Frame:
    """One token a character."""
    at = np.arange(len(text), dtype=np.int32)
    return make_frame(text, np.stack([at, at + 1], 1))


@pytest.mark.parametrize(
    ("text", "name", "values"),
    [
        ("Recurve bow\nDraw Weight: 40 lb\nHand: Right", "draw weight", ["40 lb"]),
        (
            "Chair\nSeat Height: 45-55 cm | Weight Capacity: 1,300.5 lbs | Warranty: 5 years",
            "Weight Capacity",
            ["1,300.5 lbs"],
        ),
        ("Screen, ratio = 16:9, thin", "Ratio", ["16:9"]),
        ("Bow\nWeight (lb): 4.5. Length: 60 in.", "Weight", ["4.5"]),
        ("Hive\nFrames per Box - 10", "Frames per Box", ["10"]),
        ("反曲弓\n拉力：40磅；惯用手：右手", "惯用手", ["右手"]),
        ("鱼缸加热棒 【缸体容量】60升", "缸体容量", ["60升"]),
        ("面料：纯棉 厚度：常规 适用季节：夏季", "面料", ["纯棉"]),
        ("颜色：红色、蓝色、黑色 包邮", "颜色", ["红色", "蓝色", "黑色"]),
        ("尺寸：40 x 60 厘米", "尺寸", ["40 x 60 厘米"]),
        ("Ｃｏｌｏｒ：Ｒｅｄ", "Color", ["Ｒｅｄ"]),
        ("Color: red\nColor: blue", "Color", ["red", "blue"]),
    ],
)
def test_a_statement_gives_its_value(text: str, name: str, values: list[str]) -> None:
    assert [text[start:end] for start, end in statements(text, name)] == values
    frame = frame_of(text)
    found = [
        text[frame.starts[first] : frame.ends[last]]
        for first, last in stated_units(text, (name,), frame, no_others)[name]
    ]
    assert found == values


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Red cotton dress", "Color"),
        ("Colored: pencils", "Color"),
        ("Watercolor: pencils", "Color"),
        ("Page Color/Theme: white", "Theme"),
        ("Cleaner\nApplicable Material: metal", "Material"),  # the name is a longer one
        ("最大拉力：40磅", "拉力"),
        ("Seat Height: 45 cm Weight Capacity: 300 lbs", "Seat Height"),  # where the value ends is not told
        ("Power drill - Color - matters", "Color"),
        ("Color:", "Color"),
        ("Color: (see picture)", "Color"),
        ("any", ""),
    ],
)
def test_what_is_not_one_gives_nothing(text: str, name: str) -> None:
    assert statements(text, name) == []


def test_prose_and_what_was_cut_off_are_no_values() -> None:
    assert statements("Care: " + "wash it by hand " * 9, "Care") == []
    text = "Care: " + "wash it by hand in " * 3
    assert statements(text, "Care")
    assert stated_units(text, ("Care",), frame_of(text), no_others) == {}
    text = "Draw Weight: 40 lb"
    assert stated_units(text, ("Draw Weight", "Hand"), frame_of(text), no_others) == {"Draw Weight": ((3, 4),)}
    assert stated_units(text, ("Draw Weight",), frame_of(text[:-1]), no_others) == {}
    assert len(frame_of("a " * (LONGEST + 1))) == LONGEST + 1


@given(st.lists(st.sampled_from(PARTS), max_size=20).map("".join), st.sampled_from(("Color", "颜色", "red")))
@example("Color: red、Blue 9; 颜色：红色", "Color")
def test_any_text_gives_stretches_of_itself(text: str, name: str) -> None:
    found = statements(text, name)
    assert bool(found) <= (name.casefold() in text.casefold())
    assert len(found) <= MOST
    for start, end in found:
        assert 0 <= start < end <= len(text)
        assert text[start].isalnum()
        assert not text[end - 1].isspace()


def test_long_texts_take_no_longer_than_their_length() -> None:
    many = 100_000
    for text, found in (
        ("a" * many + " Color: red", ["red"]),
        ("A" * many + " Color: red", []),  # a capital word before: a longer name
        ("Color:" + " " * many + "红", ["红"]),
        ("Color: 红" + " " * many + "红:", []),
    ):
        assert [text[start:end] for start, end in statements(text, "Color")] == found


def test_other_names_of_an_attribute_state_its_values() -> None:
    """Those of the schema: aliases, and the name in the other language; seller's or schema's name alike."""
    others = load_attributes(load_taxonomy()).other_names
    text = "Dress. Colour: red; 颜色：蓝色; Color: green. Watercolour: no. Draw Weight: 40 lb"

    def said(*names: str) -> dict[str, list[str]]:
        found = statements_of(text, names, others)
        return {name: sorted(text[start:end] for start, end in places) for name, places in found.items()}

    assert said("Color", "Size") == {"Color": ["green", "red", "蓝色"]}
    assert said("colour") == {"colour": ["green", "red", "蓝色"]}
    assert said("Draw Weight") == {"Draw Weight": ["40 lb"]}  # of no schema: its own name alone
    assert statements_of(text, ("Color",), no_others) == {"Color": statements(text, "Color")}
    twice = "Color: red\n" * MOST + "Colour: blue"
    assert len(statements_of(twice, ("Color",), others)["Color"]) == MOST
    assert len(statements_of("【Material】【Fabric】cotton", ("Material",), others)["Material"]) == 1


def test_a_statement_is_a_second_opinion() -> None:
    sure, doubtful = Found(0, 1, 0.95), Found(4, 5, 0.3)
    assert with_stated([sure, doubtful], [], 0.9) == [sure, doubtful]
    assert with_stated([sure, doubtful], [(4, 5)], 0.9) == [sure, Found(4, 5, 0.9)]
    assert with_stated([doubtful], [(5, 7)], 0.9) == [Found(5, 7, 0.9)]  # it stands in place of what it overlaps
    assert with_stated([sure], [(1, 3)], 0.9) == [sure]  # but not of what is likelier
    assert with_stated([sure], [(0, 1)], 0.9) == [sure]
    assert with_stated([], [(2, 2), (4, 4)], 0.9) == [Found(2, 2, 0.9), Found(4, 4, 0.9)]


def test_what_is_stated_of_one_name_is_no_value_of_another() -> None:
    stated = {"Material": ((3, 4),), "颜色": ((6, 6),)}
    elsewhere, over = Found(0, 0, 0.6), Found(4, 5, 0.9)
    assert not_of_others([over, elsewhere], stated, "Color") == [elsewhere]
    assert not_of_others([over, elsewhere], stated, "Sole Material") == [over, elsewhere]
    assert not_of_others([Found(6, 6, 0.4)], stated, "主颜色") == [Found(6, 6, 0.4)]
    assert not_of_others([Found(6, 6, 0.4)], stated, "尺寸") == []
    both = {**stated, "Color": ((3, 4),)}
    assert not_of_others([Found(3, 4, 0.2)], both, "Color") == [Found(3, 4, 0.2)]


def test_a_head_without_their_score_reads_no_statements() -> None:
    """Weights that were fitted before: `models compare` still answers for them, as they did."""
    fitted, tagger = load_head(DEFAULT_WEIGHTS, "attributes"), load_head(DEFAULT_WEIGHTS, "tagger")
    text, names = "Bow, Draw Weight: 40 lb", ("Draw Weight",)
    frame = frame_of(text)
    units = frame.units(np.zeros((len(text), 384), np.float32))
    reading = Reading(units, names, np.zeros((1, 384), np.float32), stated_units(text, names, frame, no_others))
    before = HeadFile(fitted.arrays, {name: value for name, value in fitted.meta.items() if name != "stated"})
    stated = Found(*reading.stated["Draw Weight"][0], fitted.meta["stated"])
    assert stated in AttributeHead(fitted, tagger).find(reading, names)[0]
    plain = AttributeHead(before, tagger)
    assert plain.find(reading, names) == plain.find(replace(reading, stated={}), names)
    assert stated not in plain.find(reading, names)[0]


def test_its_score_is_how_often_labelled_rows_agree() -> None:
    rows = [
        AttributeRow(
            "Bow", "Hand: right; Color: red", ("Hand", "Color", "Size"), {"Hand": ("Right",), "Color": ("blue",)}
        ),
        AttributeRow("Bow, red", "", ("Color",), {"Color": ("red",)}),
    ]
    assert stated_right(rows, no_others) == (1, 2)
    again = [replace(rows[0], description="Hand: right; Colour: blue")]
    assert stated_right(again, no_others) == (1, 1)
    assert stated_right(again, load_attributes(load_taxonomy()).other_names) == (2, 2)
    assert stated_right(again, no_others, before=(3, 5)) == (4, 6)
    assert stated_score(0, 0) == 0.8
    assert stated_score(0, 1) == pytest.approx(4 / 6, abs=1e-4)
    assert stated_score(34, 37) == pytest.approx(38 / 42, abs=1e-4)
    assert stated_score(34, 37) < 34 / 37
