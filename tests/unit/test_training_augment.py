"""Further training rows: values swapped where they stand, spans moved with their words, weak labels by wording."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest

from inference.taxonomy import load_attributes, load_taxonomy
from inference.training.data import AttributeRow, SpanRow
from inference.training.rules_zh import BRAND, NEVER, PATTERNS, PRODUCT, values_by_wording
from inference.training.weak import fashion_rows
from inference.tuning.augment import (
    PERTURBED,
    drop_value,
    more_listings,
    more_sentences,
    perturbed,
    swap_spans,
    swap_values,
)

DRESS = AttributeRow(
    "Zara red dress, Red belt", "A red one.", ("Color", "Brand"), {"Color": ("red",), "Brand": ("Zara",)}, "x", "dress"
)
POOL = {("dress", "Color"): ["red", "blue", "green"], ("", "Brand"): ["Zara", "Mango"]}


def always() -> random.Random:
    """Swaps whatever can be swapped."""
    rng = random.Random(1)
    rng.random = lambda: 0.0  # type: ignore[method-assign]
    return rng


def test_a_swapped_value_is_swapped_everywhere_and_in_the_gold() -> None:
    new = swap_values(DRESS, POOL, always())
    (color,), (brand,) = new.values["Color"], new.values["Brand"]
    assert (color in ("blue", "green"), brand) == (True, "Mango")
    assert new.title == f"Mango {color} dress, {color} belt"
    assert new.description == f"A {color} one."


def test_values_that_overlap_or_stand_within_words_stay() -> None:
    row = AttributeRow(
        "Redwood red oak table", "", ("Color", "Material"), {"Color": ("red",), "Material": ("red oak",)}, "", "table"
    )
    pool = {("table", "Color"): ["red", "blue", "green"], ("table", "Material"): ["pine", "red oak", "beech"]}
    assert swap_values(row, pool, always()) is row
    alone = AttributeRow("Redwood red table", "", ("Color",), {"Color": ("red",)}, "", "table")
    assert swap_values(alone, pool, always()).title.startswith("Redwood ")


def test_a_value_that_is_left_out_leaves_a_name_without_an_answer() -> None:
    new = drop_value(DRESS, always())
    (name,) = [name for name in DRESS.values if not new.values[name]]
    word = {"Color": "red", "Brand": "Zara"}[name]
    assert word.casefold() not in f"{new.title} {new.description}".casefold()
    assert "dress" in new.title
    part = AttributeRow("Mens shoe for Men", "", ("Gender",), {"Gender": ("Men",)}, "", "shoe")
    assert drop_value(part, always()) is part, "Men still stands in Mens"
    alone = AttributeRow("Zara", "", ("Brand",), {"Brand": ("Zara",)}, "", "dress")
    assert drop_value(alone, always()) is alone, "nothing would be left"


def test_columns_of_a_title_are_labels_where_they_stand_in_it(tmp_path: Path) -> None:
    titles = [
        ("Puma Men Navy Blue Tshirt", "Navy Blue", "Men", "Tshirts"),
        ("Lakme Lip Gloss 61", "Pink", "Women", "Lip Gloss"),
        ("Arrow Woman Grey and Black Top", "Grey", "Women", "Tops"),
        ("Nike Red Shoe", "Black", "Boys", "Casual Shoes"),
        ("Gap Scarf", "Red", "Women", "Scarves"),
    ]
    (tmp_path / "category").mkdir()
    with gzip.open(tmp_path / "category" / "fashion.train.jsonl.gz", "wt", encoding="utf-8") as file:
        for number in range(5):  # so that each stands on the training side with one number or another
            for title, colour, gender, kind in titles:
                record = {"title": f"{title} {number}", "baseColour": colour, "gender": gender, "articleType": kind}
                file.write(json.dumps(record) + "\n")
    found = {row.title[:-2]: row.values for row in fashion_rows(tmp_path)}
    assert found == {
        "Puma Men Navy Blue Tshirt": {"Color": ("Navy Blue",), "Gender": ("Men",), "Product Type": ("Tshirt",)},
        "Lakme Lip Gloss 61": {"Color": (), "Gender": (), "Product Type": ("Lip Gloss",)},
        "Arrow Woman Grey and Black Top": {"Product Type": ("Top",)},
        "Nike Red Shoe": {"Gender": ()},
        "Gap Scarf": {"Color": (), "Gender": ()},
    }, "Woman is a word of that sort, though not the column's; red is a colour, though another"


def test_spans_move_with_their_words() -> None:
    row = SpanRow("海尔大冰箱特价", ((0, 2, "HP"), (3, 5, "HC")))
    new = swap_spans(row, {"HP": ["飞利浦"], "HC": ["洗衣机"]}, always())
    assert new.text == "飞利浦大洗衣机特价"
    assert [new.text[start:end] for start, end, _ in new.spans] == ["飞利浦", "洗衣机"]


def test_the_same_seed_gives_the_same_rows_and_each_kind_its_share() -> None:
    rows = [
        SpanRow(f"海尔{at}号冰箱", ((0, 2, "HP"), (len(f"海尔{at}号"), len(f"海尔{at}号") + 2, "HC")))
        for at in range(100)
    ]
    assert more_sentences(rows, 5) == more_sentences(rows, 5)
    changed = sum(new != old for new, old in zip(perturbed(rows, 5), rows, strict=True))
    assert 0 < changed <= 5 * int(PERTURBED * 100)
    listings = [AttributeRow(f"red dress {at}", "", ("Color",), {"Color": ("red",)}, "", "dress") for at in range(10)]
    listings += [
        AttributeRow(f"blue dress {at}", "", ("Color",), {"Color": ("blue",)}, "", "dress") for at in range(10)
    ]
    for row in more_listings(listings, 5):
        assert all(value.casefold() in row.title.casefold() for value in row.values["Color"])


@pytest.mark.parametrize(
    ("text", "name", "values"),
    [
        ("步川 男士透气网面跑步鞋 黑红 40码", "尺码", ("40码",)),
        ("步川 男士透气网面跑步鞋 黑红 40码", "性别", ("男士",)),
        ("步川 男士透气网面跑步鞋 黑红 40码", "颜色", ("黑红",)),
        ("针织开衫女春秋慵懒风 奶黄色", "颜色", ("奶黄色",)),
        ("316不锈钢保温杯500ml", "容量", ("500ml",)),
        ("316不锈钢保温杯500ml", "型号", ()),
        ("主动降噪耳机 HUAWEI", "尺码", ()),
    ],
)
def test_wording_gives_values_away(text: str, name: str, values: tuple[str, ...]) -> None:
    assert values_by_wording(text)[name] == values


def test_stretches_that_are_something_else_are_no_values() -> None:
    text = "橙色小熊牌橙色上衣"
    assert values_by_wording(text)["颜色"] == ("橙色",)
    assert values_by_wording(text, [(0, 2), (5, 7)])["颜色"] == ()


def test_names_asked_are_those_of_the_schema() -> None:
    taxonomy = load_taxonomy()
    schema = load_attributes(taxonomy)
    known = {name for node in taxonomy.nodes for name in schema.names_for(node, "zh")}
    unknown = {*PATTERNS, *NEVER, PRODUCT, BRAND} - known
    assert not unknown
