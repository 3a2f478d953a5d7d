"""JSON Schema (draft 2020-12) of every type on a topic, generated from the types and their docstrings."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from schemas.fielddocs import Docs, docs_of
from schemas.topics import TOPICS, Topic

DIALECT = "https://json-schema.org/draft/2020-12/schema"
REF = "#/$defs/{name}"

Schema = dict[str, Any]


def schema_files() -> dict[str, Schema]:
    """File name (without suffix) to schema: one for each type of each topic that carries JSON."""
    return {name: document(type_, name) for topic in TOPICS for name, type_ in schema_names(topic)}


def schema_names(topic: Topic) -> list[tuple[str, type[Struct]]]:
    """The main type goes by the topic's name, another by topic and the type's name in small letters."""
    return [
        (topic.name if number == 0 else f"{topic.name}.{type_.__name__.lower()}", type_)
        for number, type_ in enumerate(topic.types)
    ]


def document(type_: type[Struct], name: str) -> Schema:
    """A self-contained schema: the type at the root, what it refers to under `$defs`."""
    found = components(type_)
    root = found.pop(type_.__name__)
    defs = {"$defs": dict(sorted(found.items()))} if found else {}
    return {"$schema": DIALECT, "$id": f"urn:shangxin:schema:{name}", **root, **defs}


def components(type_: type[Struct], ref: str = REF) -> dict[str, Schema]:
    """The schema of `type_` and of every type it refers to, by type name, with descriptions."""
    _, found = msgspec.json.schema_components([type_], ref_template=ref)
    structs = _structs(msgspec.inspect.type_info(type_), {})
    for name, schema in found.items():
        _describe(schema, structs[name])
    return found


def _structs(info: Any, found: dict[str, type[Struct]]) -> dict[str, type[Struct]]:
    """Every struct reachable from an inspected type, by name."""
    if isinstance(info, msgspec.inspect.StructType):
        if info.cls.__name__ in found:
            return found
        found[info.cls.__name__] = info.cls
    for part in _parts(info):
        _structs(part, found)
    return found


def _parts(info: Any) -> list[Any]:
    if isinstance(info, msgspec.inspect.StructType):
        return [field.type for field in info.fields]
    names = ("types", "item_type", "item_types", "key_type", "value_type", "type")
    found = [getattr(info, name) for name in names if hasattr(info, name)]
    return [part for each in found for part in (each if isinstance(each, tuple) else (each,))]


def _describe(schema: Schema, type_: type[Struct]) -> None:
    docs = docs_of(type_)
    schema["description"] = " ".join(filter(None, (docs.about, docs.absent)))
    names = [field.encode_name for field in msgspec.structs.fields(type_)]
    fields = schema["prefixItems"] if type_.__struct_config__.array_like else schema["properties"].values()
    for name, field in zip(names, fields, strict=True):
        if type_.__struct_config__.array_like:
            field["title"] = name
        if text := docs.fields.get(name) or next(iter(_descriptions(field)), ""):
            field["description"] = text
        _mark_absence(field, docs)


def _descriptions(field: Schema) -> list[str]:
    alternatives = field.get("anyOf", ())
    return [s["description"] for s in (field, *alternatives) if s.get("description")]


def _mark_absence(field: Schema, docs: Docs) -> None:
    nullable = any(s.get("type") == "null" for s in field.get("anyOf", ()))
    if nullable and docs.absent and "default" not in field:
        field["x-absent-and-null"] = docs.absent
