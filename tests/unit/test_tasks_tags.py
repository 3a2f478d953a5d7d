"""Tag matching: signs that agree with what a person sees, pairs made of attribute rows, the head on real listings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from inference.tasks.tag_wording import measured, occurrence, place_of, polarity, rival
from inference.tasks.tags import SIGNS, Said, dice, normal, signs
from inference.tasks.units import HASH_SLOTS, SHAPES, Units
from inference.training.data import AttributeRow, DataError, read_tag_rows
from tests.unit.test_tasks_predict import command, predicted

PAIRS = Path(__file__).parents[1] / "data" / "tag_pairs.jsonl"


def test_width_case_and_spaces_are_folded() -> None:
    assert normal("Ｌ  Size") == "lsize"
    assert dice("stainlesssteel", "steel") > dice("plastic", "steel")
    assert dice("a", "a") == 1.0


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("不含酒精和香精", "含酒精", (1.0, 1.0)),
        ("含酒精", "含酒精", (1.0, 0.0)),
        ("Not insulated. Lace-up", "insulated", (1.0, 1.0)),
        ("latex free mat", "latex", (1.0, 1.0)),
        ("latex mat, latex free strap", "Latex", (1.0, 0.0)),
        ("fragrance free", "Fragrance Free", (1.0, 0.0)),
        ("red dress", "blue", (0.0, 0.0)),
        ("Unscented wipes", "Scented", (0.0, 0.0)),
        ("Tablet 128 GB", "8 GB", (0.0, 0.0)),
        ("Version 2.5", "2", (0.0, 0.0)),
        ("Hooded coat", "hood", (1.0, 0.0)),
    ],
)
def test_a_value_that_is_denied_does_not_count_as_standing(
    text: str, value: str, expected: tuple[float, float]
) -> None:
    assert occurrence(text, value) == expected


def test_the_evidence_is_the_word_and_not_a_part_of_another() -> None:
    assert place_of("Unscented, scented", "Scented") == (11, 18)
    assert place_of("Tablet 128 GB", "8 GB") is None
    assert place_of("ＲＥＤ dress", "red") == (0, 3)


def test_without_anything_found_the_signs_say_only_what_the_text_says() -> None:
    places = np.zeros(0, np.int64)
    shapes, hashed = np.zeros((0, SHAPES), np.float32), np.zeros((0, HASH_SLOTS), np.int64)
    nothing = Units(places, places, np.zeros((0, 384), np.float32), shapes, hashed)
    found = signs(Said("red dress", "Color", "red"), nothing, [])
    assert found.shape == (SIGNS,)
    assert found[:5].tolist() == [0.0] * 5
    assert found[5] == 1.0


@pytest.mark.parametrize(
    ("text", "value", "same", "other"),
    [
        ("Nimbus 27-inch Monitor", "27 inch", "27-inch", None),
        ("Drill 18V", "18 V", "18V", None),
        ("4-Pack Tumblers 20 oz", "30 oz", None, "20 oz"),
        ("Sunscreen SPF 50, 100 ml", "SPF 30", None, "SPF 50"),
        ("纯棉四件套 1.8米床", "1.5米", None, "1.8米"),
        ("纯棉四件套 １.８米床", "1.80米", "１.８米", None),
        ("Pack of 8", "12", None, None),
        ("red dress", "30 oz", None, None),
    ],
)
def test_numbers_are_compared_by_their_unit(text: str, value: str, same: str | None, other: str | None) -> None:
    found = [text[slice(*place)] if place else None for place in measured(text, value)]
    assert found == [same, other]


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("Sugar Free Dark Chocolate", "Milk chocolate", "Dark Chocolate"),
        ("Wireless Headphones", "Wired", "Wireless"),
        ("Brushless motor", "brushed", "Brushless"),
        ("Unscented wipes", "Scented", "Unscented"),
        ("Wired mouse", "Wireless", "Wired"),
        ("夏季短袖T恤", "长袖", "短袖"),
        ("夏季短袖T恤", "短袖", None),
        ("夏季T恤", "长袖", None),
        ("red dress", "Blue", "red"),
        ("Lace-up boots", "Zipper", "Lace-up"),
        ("Slippers for women", "Men's", "women"),
        ("Slippers for men", "Men's", None),
        ("linen dress", "blue", None),
    ],
)
def test_another_of_the_same_kind_is_seen(text: str, value: str, expected: str | None) -> None:
    place = rival(text, value)
    assert (text[slice(*place)] if place else None) == expected


@pytest.mark.parametrize(
    ("text", "name", "value", "expected"),
    [
        ("Nickel free earrings", "Nickel free", "Yes", (True, False)),
        ("Kids Hooded Raincoat", "Hood", "No", (False, True)),
        ("宝宝棉柔巾 不含荧光剂", "荧光剂", "不含", (True, False)),
        ("布艺沙发 可拆洗", "是否可拆洗", "是", (True, False)),
        ("运动文胸 无钢圈", "钢圈", "有钢圈", (False, True)),
        ("防晒霜 不含酒精", "酒精", "含酒精", (False, True)),
        ("red dress", "Waterproof", "Yes", (False, False)),
        ("red dress", "Color", "red", (False, False)),
    ],
)
def test_yes_and_no_are_held_against_what_is_said_of_the_thing(
    text: str, name: str, value: str, expected: tuple[bool, bool]
) -> None:
    agrees, opposite = polarity(text, name, value)
    assert (agrees is not None, opposite is not None) == expected


def row(title: str, values: dict[str, tuple[str, ...]]) -> AttributeRow:
    return AttributeRow(title, "", tuple(values), values, "", "lures")


@pytest.mark.train
def test_pairs_are_true_values_swaps_that_the_text_lacks_and_silence() -> None:
    pytest.importorskip("scipy")
    from inference.training.fit_tags import make_pairs

    rows = [
        row("Red minnow 7cm", {"Color": ("Red",), "Length": ("7cm",), "Weight": ()}),
        row("Blue minnow 9g", {"Color": ("Blue",), "Weight": ("9g",), "Length": ()}),
    ]
    pairs = make_pairs(rows)
    assert {pair.label for pair in pairs} == {"entailed", "contradicted", "unknown"}
    for pair in pairs:
        stands, denied = occurrence(pair.said.text, pair.said.value)
        if pair.said.value not in ("Yes", "No") and not denied:
            assert bool(stands) == (pair.label == "entailed")
    silent = {(pair.said.text, pair.said.name, pair.said.value) for pair in pairs if pair.label == "unknown"}
    silent = {each for each in silent if each[2] not in ("Yes", "No")}
    assert silent == {("Red minnow 7cm", "Weight", "9g"), ("Blue minnow 9g", "Length", "7cm")}


@pytest.mark.train
def test_the_classifier_learns_what_parts_the_labels() -> None:
    pytest.importorskip("scipy")
    from inference.training.fit_tags import fit_tag_head

    rng = np.random.default_rng(3)
    labels = [("contradicted", "unknown", "entailed")[at % 3] for at in range(300)]
    x = rng.normal(0.0, 0.2, (300, SIGNS)).astype(np.float32)
    for at, label in enumerate(labels):
        x[at, 0 if label == "entailed" else 2 if label == "contradicted" else SIGNS - 1] += 1.0
    arrays = fit_tag_head(x, labels)
    said = (x @ arrays["weights"] + arrays["bias"]).argmax(1)
    assert (said == np.array([("contradicted", "unknown", "entailed").index(each) for each in labels])).mean() > 0.97


def test_plain_pairs_are_told_apart(tmp_path: Path) -> None:
    listing = {"title": "Red cotton summer dress", "description": ""}
    pairs = [{**listing, "name": "Color", "value": "red"}, {**listing, "name": "Color", "value": "Blue"}]
    right, wrong = predicted(tmp_path, "tags", pairs)
    assert (right["label"], right["evidence"]) == ("entailed", "Red")
    assert wrong["label"] == "contradicted"
    assert 0.3 < right["score"] <= 1.0


def test_the_hand_labelled_pairs_are_mostly_right() -> None:
    done = command("evaluate", "--task", "tags", "--data", str(PAIRS), "--json")
    measures = {each["name"]: each for each in json.loads(done.stdout)["measures"]}
    assert measures["accuracy"]["rows"] == 200
    assert measures["accuracy"]["score"] > 0.75  # one label for all: 0.405


def test_a_perturbed_file_is_answered_as_perturbed(tmp_path: Path) -> None:
    pair = {"title": "Red cotton summer dress", "description": "", "name": "Color", "value": "red", "label": "entailed"}
    file = tmp_path / "pairs.jsonl"
    file.write_text(json.dumps(pair))
    words = ("evaluate", "--task", "tags", "--data", str(file), "--json")
    assert json.loads(command(*words).stdout) != json.loads(command(*words, "--perturb", "emoji").stdout)


@pytest.mark.parametrize(
    ("record", "name"),
    [
        ({"title": "x", "name": "Color", "value": " "}, "value"),
        ({"title": "x", "name": "Color", "value": "red", "label": "yes"}, "label"),
        ({"title": "x", "value": "red"}, "name"),
    ],
)
def test_bad_rows_name_the_field(tmp_path: Path, record: dict[str, str], name: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(record))
    with pytest.raises(DataError, match=f"row 1: {name}"):
        read_tag_rows(file)
