"""The compatibility gate: breaking changes are refused by topic, path and rule; compatible ones pass."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.compat import TOPICS_FILE, breaches, check, check_all
from schemas.generate import GENERATED, RELEASED, released_files
from schemas.jsonschema import Schema, document, schema_files
from schemas.product import RawListing

Change = Callable[[Schema], Any]


def _product() -> Schema:
    return document(RawListing, "product-created")


def _set(path: str, **values: Any) -> Change:
    def change(schema: Schema) -> None:
        _at(schema, path).update(values)

    return change


def _at(schema: Any, path: str) -> Any:
    for step in path.split("/"):
        schema = schema[int(step) if step.isdigit() else step] if step else schema
    return schema


def _drop(path: str, name: str) -> Change:
    def change(schema: Schema) -> None:
        del _at(schema, path)[name]

    return change


def _require(schema: Schema) -> None:
    schema["required"].append("brand")


def _relax(schema: Schema) -> None:
    schema["required"].remove("title")


BREAKING: list[tuple[str, Change, str, str, str]] = [
    ("a field is required", _require, "$.brand", "a required field may be missing", "new reader"),
    ("a field is no longer required", _relax, "$.title", "a required field may be missing", "old reader"),
    ("a type changes", _set("properties/title", type="integer"), "$.title", "type string is not taken", "new reader"),
    ("a bound is tightened", _set("properties/title", maxLength=10), "$.title", "maxLength 10 is below", "new reader"),
    (
        "a bound is loosened",
        _set("properties/title", maxLength=9999),
        "$.title",
        "maxLength 1024 is below",
        "old reader",
    ),
    ("a bound is dropped", _drop("properties/title", "minLength"), "$.title", "minLength 1 is above", "old reader"),
    ("a bound is added", _set("properties/images", minItems=1), "$.images", "minItems 1 is above", "new reader"),
    (
        "a number grows a limit",
        _set("properties/price/anyOf/0", maximum=5),
        "$.price",
        "maximum 5 is below",
        "new reader",
    ),
    (
        "a pattern changes",
        _set("properties/images/items", pattern="^ftp"),
        "$.images[*]",
        "pattern ^ftp is not",
        "new reader",
    ),
    ("an enum is added", _set("properties/title", enum=["a"]), "$.title", "enum does not take any", "new reader"),
    ("a default changes", _set("properties/attributes", default={"a": "b"}), "$.attributes", "default changed", "new"),
    (
        "null is no longer taken",
        _set("properties/brand", anyOf=[{"type": "string", "maxLength": 512}]),
        "$.brand",
        "type null is not taken",
        "new reader",
    ),
    (
        "null is taken now",
        _set("properties/title", anyOf=[{"type": "string", "maxLength": 1024, "minLength": 1}, {"type": "null"}]),
        "$.title",
        "type null is not taken",
        "old reader",
    ),
    (
        "members of a map change",
        _set("properties/attributes/additionalProperties", anyOf=[{"type": "integer"}]),
        "$.attributes.*",
        "is not taken",
        "new reader",
    ),
    (
        "names of a map are bounded",
        _set("properties/attributes/propertyNames", maxLength=3),
        "$.attributes (name)",
        "maxLength 3 is below",
        "new reader",
    ),
    ("a keyword is not known", _set("properties/title", contentEncoding="x"), "$.title", "gate can judge", "new"),
]

COMPATIBLE: list[tuple[str, Change]] = [
    ("nothing", lambda schema: None),
    ("an optional field is added", lambda schema: schema["properties"].update(gtin={"type": "string"})),
    ("an optional field is removed", _drop("properties", "category_hint")),
    ("words change", _set("properties/title", description="other words", title="T")),
    ("the type is renamed", _set("", title="Listing", description="new")),
]


@pytest.mark.parametrize(("what", "change", "path", "rule", "side"), BREAKING, ids=[case[0] for case in BREAKING])
def test_breaking_changes_are_refused_with_place_and_rule(
    what: str, change: Change, path: str, rule: str, side: str
) -> None:
    old, new = _product(), _product()
    change(new)
    found = check(_files(new), _files(old), "0.1")
    assert any(b.path == path and rule in b.rule and b.side.startswith(side) for b in found), [str(b) for b in found]
    assert all(b.schema == "product-created" and b.release == "0.1" for b in found)


@pytest.mark.parametrize(("what", "change"), COMPATIBLE, ids=[case[0] for case in COMPATIBLE])
def test_compatible_changes_pass(what: str, change: Change) -> None:
    new = _product()
    change(new)
    assert check(_files(new), _files(_product()), "0.1") == []


def _files(schema: Schema) -> dict[str, str]:
    return {"product-created.json": json.dumps(schema), TOPICS_FILE: "{}"}


def test_it_is_transitive(tmp_path: Path) -> None:
    """A field that left in 0.2 and comes back with another type in 0.3 breaks 0.1, which 0.2 alone would not show."""
    first, second, third = _product(), _product(), _product()
    del second["properties"]["seller"]
    third["properties"]["seller"] = {"type": "integer"}
    for version, schema in (("0.1", first), ("0.2", second)):
        (tmp_path / version).mkdir()
        for name, text in _files(schema).items():
            (tmp_path / version / name).write_text(text, encoding="utf-8")
    assert check(_files(third), _files(second), "0.2") == []
    assert {b.release for b in check_all(_files(third), tmp_path)} == {"0.1"}


def test_arrays_by_position_and_references_are_compared() -> None:
    name = "user-profile-updated"
    old = schema_files()[name]
    new = copy.deepcopy(old)
    new["$defs"]["Decayed"]["prefixItems"][1]["type"] = "string"
    found = breaches(new, old)
    assert ("$.languages.*[1]", "type integer is not taken where string is read") in found
    new = copy.deepcopy(old)
    new["$defs"]["Decayed"]["minItems"] = 3
    assert ("$.languages.*", "minItems 3 is above the writer's 2") in breaches(new, old)
    assert breaches(old, new) == []


def test_an_integer_may_be_read_as_a_number_but_not_the_other_way() -> None:
    assert breaches({"type": "number"}, {"type": "integer"}) == []
    assert breaches({"type": "integer"}, {"type": "number"}) != []


def test_a_schema_that_refers_to_itself_ends() -> None:
    tree: Schema = {
        "$ref": "#/$defs/T",
        "$defs": {"T": {"type": "object", "properties": {"next": {"$ref": "#/$defs/T"}, "v": {"type": "string"}}}},
    }
    other = copy.deepcopy(tree)
    other["$defs"]["T"]["properties"]["v"]["type"] = "null"
    assert breaches(tree, tree) == []
    assert breaches(other, tree) == [("$.v", "type string is not taken where null is read")]


def test_topics_keep_key_cleanup_and_event_types() -> None:
    files = released_files()
    manifest = json.loads(files[TOPICS_FILE])
    changed = copy.deepcopy(manifest)
    changed["listing-enriched"]["cleanup"] = "delete"
    changed["user-behaviour"]["key"] = "session_id"
    changed["product-created"]["types"].remove("product.withdrawn")
    del changed["review-decided"]
    found = check({**files, TOPICS_FILE: json.dumps(changed)}, files, "0.1")
    assert {(b.schema, b.path) for b in found} == {
        ("listing-enriched", "cleanup"),
        ("user-behaviour", "key"),
        ("product-created", "ce_type"),
        ("review-decided", "topic"),
    }
    gone = {name: text for name, text in files.items() if name != "listing-facts.json"}
    assert [(b.schema, b.rule) for b in check(gone, files, "0.1")] == [("listing-facts", "a released schema is gone")]


def test_the_current_types_are_compatible_with_everything_released() -> None:
    assert (RELEASED / "0.1" / TOPICS_FILE).exists()
    assert [str(b) for b in check_all(released_files(), RELEASED)] == []


def test_every_change_of_a_bound_that_is_generated_is_seen() -> None:
    """No bound, type or pattern anywhere in the generated schemas can change unseen."""
    for name, schema in schema_files().items():
        for path, keyword in _rules(schema, ()):
            new = copy.deepcopy(schema)
            spot: Any = new
            for step in path:
                spot = spot[step]
            spot[keyword] = _other(keyword, spot[keyword])
            assert breaches(new, schema) + breaches(schema, new), (name, path, keyword)


def _other(keyword: str, value: Any) -> Any:
    if keyword == "type":
        return "boolean" if value == "null" else "null"
    return "changed" if keyword == "pattern" else value + 1


def _rules(schema: Any, path: tuple[str | int, ...]) -> list[tuple[tuple[str | int, ...], str]]:
    if isinstance(schema, list):
        return [rule for n, each in enumerate(schema) for rule in _rules(each, (*path, n))]
    if not isinstance(schema, dict):
        return []
    here = path[-1:] not in (("properties",), ("$defs",))
    watched = (
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "maxProperties",
        "pattern",
        "type",
    )
    own = [(path, word) for word in watched if here and word in schema]
    return own + [rule for name, each in schema.items() if name != "default" for rule in _rules(each, (*path, name))]


def test_released_files_are_what_was_generated_then() -> None:
    """The frozen folder holds whole, readable schemas, each named by the manifest."""
    manifest = json.loads((RELEASED / "0.1" / TOPICS_FILE).read_text(encoding="utf-8"))
    named = {f"{name}.json" for topic in manifest.values() for name in topic["schemas"]}
    assert {path.name for path in (RELEASED / "0.1").glob("*.json")} == named | {TOPICS_FILE}
    assert {path.name for path in GENERATED.glob("*.json")} >= named
