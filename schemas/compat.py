"""FULL_TRANSITIVE gate: each version of a topic reads what every released version writes, and the other way round.

A checker of our own, for the part of JSON Schema that schemas.jsonschema emits; any other keyword is
itself a breach, so that nothing passes unread. It asks one question, twice for each pair: does the
reader take every document that the writer may write? Readers ignore unknown fields, so a field that
only the writer knows is no breach; defaults are part of the contract, for writers leave them out.
(The public `jsoncompat` answers yes or no without the place; a person needs the place.)
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from schemas.jsonschema import Schema

TOPICS_FILE = "topics.json"
UPPER = ("maximum", "maxLength", "maxItems", "maxProperties")
LOWER = ("minimum", "minLength", "minItems")
MEANS_NOTHING = frozenset(("$schema", "$id", "$defs", "title", "description", "x-absent-and-null"))
KNOWN = MEANS_NOTHING | {
    *UPPER,
    *LOWER,
    *("$ref", "type", "anyOf", "enum", "pattern", "properties", "required", "default", "items"),
    *("prefixItems", "additionalProperties", "propertyNames"),
}
NARROWER = {"integer": ("integer", "number"), "number": ("number",)}
"""Types under which a reader takes a value of the writer's type."""


class Breach(Struct, frozen=True):
    """One break. schema: the file without suffix, topic first. path: within the value. side: who breaks."""

    release: str
    schema: str
    path: str
    rule: str
    side: str

    def __str__(self) -> str:
        return f"{self.schema} {self.path}: {self.rule} ({self.side}, against {self.release})"


class _Pair(Struct, frozen=True):
    """Two documents, the reader's and the writer's, for their references."""

    reader: Schema
    writer: Schema


Found = Iterator[tuple[str, str]]
"""(path, rule) of each breach."""


def check_all(current: dict[str, str], released: Path) -> list[Breach]:
    """Breaches of the current files (name to text) against every folder under `released`."""
    found: list[Breach] = []
    for folder in sorted(path for path in released.glob("*") if path.is_dir()):
        old = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
        found.extend(check(current, old, folder.name))
    return found


def check(current: dict[str, str], old: dict[str, str], release: str) -> list[Breach]:
    """Breaches of the current files against those of one release."""
    found = list(_manifests(json.loads(current[TOPICS_FILE]), json.loads(old[TOPICS_FILE]), release))
    for name in sorted(set(old) - {TOPICS_FILE}):
        label = name.removesuffix(".json")
        if name not in current:
            found.append(Breach(release, label, "$", "a released schema is gone", "new reader"))
            continue
        new_doc, old_doc = json.loads(current[name]), json.loads(old[name])
        for side, pair in (("new reader", _Pair(new_doc, old_doc)), ("old reader", _Pair(old_doc, new_doc))):
            found.extend(Breach(release, label, path, rule, side) for path, rule in breaches(pair.reader, pair.writer))
    return found


def breaches(reader: Schema, writer: Schema) -> list[tuple[str, str]]:
    """(path, rule) of everything that keeps `reader` from taking each document that `writer` allows."""
    return list(dict.fromkeys(_takes(reader, writer, "$", _Pair(reader, writer), frozenset())))


def _manifests(new: Schema, old: Schema, release: str) -> Iterator[Breach]:
    for topic, was in old.items():
        now = new.get(topic)
        if now is None:
            yield Breach(release, topic, "topic", "a released topic is gone", "new reader")
            continue
        for name in ("key", "cleanup"):
            if now[name] != was[name]:
                yield Breach(release, topic, name, f"{name} changed from {was[name]} to {now[name]}", "both")
        for gone in sorted(set(was["types"]) - set(now["types"])):
            yield Breach(release, topic, "ce_type", f"event type {gone} is gone", "new reader")


def _takes(reader: Schema, writer: Schema, path: str, docs: _Pair, seen: frozenset[tuple[str, str]]) -> Found:
    pair = (reader.get("$ref", ""), writer.get("$ref", ""))
    if all(pair) and pair in seen:
        return
    if (reader.get("default", ...), 0) != (writer.get("default", ...), 0):
        yield path, f"default changed from {_default(writer)} to {_default(reader)}"
    seen = seen | {pair}
    reader, writer = _resolved(reader, docs.reader), _resolved(writer, docs.writer)
    for unknown in sorted((set(reader) | set(writer)) - KNOWN):
        yield path, f"keyword {unknown!r} is not one that this gate can judge"
    if "anyOf" in reader or "anyOf" in writer:
        yield from _alternatives(reader, writer, path, docs, seen)
        return
    if not _types_fit(reader, writer):
        yield path, f"type {writer.get('type', 'any')} is not taken where {reader.get('type', 'any')} is read"
        return
    yield from _values(reader, writer, path)
    yield from _fields(reader, writer, path, docs, seen)
    yield from _members(reader, writer, path, docs, seen)


def _default(schema: Schema) -> str:
    return json.dumps(schema["default"], ensure_ascii=False) if "default" in schema else "none"


def _resolved(schema: Schema, document: Schema) -> Schema:
    while "$ref" in schema:
        schema = document["$defs"][schema["$ref"].rpartition("/")[2]]
    return schema


def _alternatives(reader: Schema, writer: Schema, path: str, docs: _Pair, seen: frozenset[tuple[str, str]]) -> Found:
    """Each thing that may be written must be taken by one thing that is read; the nearest one says what is wrong."""
    for written in writer.get("anyOf", [writer]):
        tries = [list(_takes(read, written, path, docs, seen)) for read in reader.get("anyOf", [_bare(reader)])]
        if all(tries):
            yield from min(tries, key=lambda found: (any("is not taken" in rule for _, rule in found), len(found)))


def _bare(schema: Schema) -> Schema:
    return {name: value for name, value in schema.items() if name != "default"}


def _types_fit(reader: Schema, writer: Schema) -> bool:
    read, written = reader.get("type"), writer.get("type")
    return read is None or (written is not None and read in NARROWER.get(written, (written,)))


def _values(reader: Schema, writer: Schema, path: str) -> Found:
    if "enum" in reader:
        extra = [value for value in writer.get("enum", ["any"]) if value not in reader["enum"]]
        if extra:
            yield path, f"enum does not take {', '.join(map(str, extra))}"
    if "pattern" in reader and reader["pattern"] != writer.get("pattern"):
        yield path, f"pattern {reader['pattern']} is not the writer's ({writer.get('pattern', 'none')})"
    for name in UPPER:
        if name in reader and writer.get(name, float("inf")) > reader[name]:
            yield path, f"{name} {reader[name]} is below the writer's {writer.get(name, 'none')}"
    for name in LOWER:
        if name in reader and writer.get(name, float("-inf")) < reader[name]:
            yield path, f"{name} {reader[name]} is above the writer's {writer.get(name, 'none')}"


def _fields(reader: Schema, writer: Schema, path: str, docs: _Pair, seen: frozenset[tuple[str, str]]) -> Found:
    for name in reader.get("required", ()):
        if name not in writer.get("required", ()):
            yield f"{path}.{name}", "a required field may be missing from what is written"
    written = writer.get("properties", {})
    for name, schema in reader.get("properties", {}).items():
        if name in written:
            yield from _takes(schema, written[name], f"{path}.{name}", docs, seen)


def _members(reader: Schema, writer: Schema, path: str, docs: _Pair, seen: frozenset[tuple[str, str]]) -> Found:
    for name, step in (("items", "[*]"), ("additionalProperties", ".*"), ("propertyNames", " (name)")):
        read, written = reader.get(name), writer.get(name)
        if read is not None:
            yield from _takes(_schema(read), _typed(_schema(written), name), f"{path}{step}", docs, seen)
    pairs = zip(reader.get("prefixItems", ()), writer.get("prefixItems", ()), strict=False)
    for index, (read, written) in enumerate(pairs):
        yield from _takes(read, written, f"{path}[{index}]", docs, seen)


def _schema(found: Any) -> Schema:
    return found if isinstance(found, dict) else {}


def _typed(schema: Schema, keyword: str) -> Schema:
    """Names are text, whether or not the schema says so."""
    return {"type": "string", **schema} if keyword == "propertyNames" else schema
