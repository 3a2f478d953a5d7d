"""The attribute schema: which attribute names are asked for a category, with types, units and names."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from pathlib import Path

import msgspec
from msgspec import Struct

from inference.taxonomy.tree import HERE, VERSION_DIGITS, Taxonomy, TaxonomyError, primary

DEFAULT_ATTRIBUTES = HERE / "attributes.json"
EVERY_NODE = ""
"""Id in `nodes` whose attributes every category has."""


class ValueType(StrEnum):
    """What a value is. number: in the attribute's `unit`. enum: one of `values`."""

    TEXT = "text"
    ENUM = "enum"
    NUMBER = "number"


class EnumValue(Struct, frozen=True):
    """One allowed value with its names."""

    id: str
    en: str
    zh: str


class AttributeSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """One attribute. aliases: other names that sellers and data sets use for it."""

    en: str
    zh: str
    type: ValueType
    unit: str = ""
    values: tuple[EnumValue, ...] = ()
    aliases: tuple[str, ...] = ()

    def name(self, language: str) -> str:
        """The name in a language; English where it is not Chinese."""
        return self.zh if primary(language) == "zh" else self.en


class _File(Struct, frozen=True):
    attributes: dict[str, AttributeSpec]
    nodes: dict[str, tuple[str, ...]]


class AttributeSchema:
    """Attributes by category, inherited downwards. `attributes` maps attribute id to its definition."""

    def __init__(self, file: _File, taxonomy: Taxonomy) -> None:
        self.attributes = file.attributes
        self._asked = {node: _inherited(file, taxonomy, node) for node in taxonomy.nodes}
        self._everywhere = file.nodes.get(EVERY_NODE, ())
        specs = [*reversed(file.attributes.items())]
        aliases = {name.casefold(): id_ for id_, spec in specs for name in spec.aliases}
        self._by_name = aliases | {name.casefold(): id_ for id_, spec in specs for name in (spec.en, spec.zh)}
        body = msgspec.json.encode([file.attributes, file.nodes], order="sorted")
        self.version = hashlib.sha256(body).hexdigest()[:VERSION_DIGITS]

    def ids_for(self, node: str) -> tuple[str, ...]:
        """Attribute ids asked for a node: its own first, then its ancestors', then everyone's; no repeats.

        An unknown or empty node gets those of every category.
        """
        return self._asked.get(node, self._everywhere)

    def names_for(self, node: str, language: str = "en") -> list[str]:
        """Attribute names asked for a node, in a language; order as `ids_for`."""
        return [self.attributes[id_].name(language) for id_ in self.ids_for(node)]

    def find(self, name: str) -> str | None:
        """The attribute id behind a name, or else an alias, in any language, or None. What two share is the first's."""
        return self._by_name.get(name.strip().casefold())

    def other_names(self, name: str) -> tuple[str, ...]:
        """What else the attribute behind a name is called, in any language: its names, then its aliases; none that
        `find` gives to another."""
        if (id_ := self.find(name)) is None:
            return ()
        spec, own = self.attributes[id_], name.strip().casefold()
        names = dict.fromkeys((spec.en, spec.zh, *spec.aliases))
        return tuple(each for each in names if each.casefold() != own and self.find(each) == id_)


def load_attributes(taxonomy: Taxonomy, path: Path | None = None) -> AttributeSchema:
    """The default attribute schema or a platform's own, checked against its taxonomy.

    Raises TaxonomyError for a node that the taxonomy lacks, an attribute that is not defined, an enum
    without values, a number without unit, an empty name; OSError when the file cannot be read.
    """
    path = path or DEFAULT_ATTRIBUTES
    raw = path.read_bytes()
    try:
        file = msgspec.json.decode(raw, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TaxonomyError(path, 1, raw[:40], f"an attribute schema ({error})") from None
    _check(file, taxonomy, path, raw.decode().splitlines())
    return AttributeSchema(file, taxonomy)


def _check(file: _File, taxonomy: Taxonomy, path: Path, lines: list[str]) -> None:
    for id_, spec in file.attributes.items():
        if not id_ or not spec.en.strip() or not spec.zh.strip():
            raise TaxonomyError(path, _line(lines, id_), id_, "an attribute has an id and names that are not empty")
        if (spec.type is ValueType.ENUM) != bool(spec.values):
            raise TaxonomyError(path, _line(lines, id_), id_, "an enum, and nothing else, has values")
        if (spec.type is ValueType.NUMBER) != bool(spec.unit):
            raise TaxonomyError(path, _line(lines, id_), id_, "a number, and nothing else, has a unit")
    for node, asked in file.nodes.items():
        if node != EVERY_NODE and node not in taxonomy:
            raise TaxonomyError(path, _line(lines, node), node, "a node of the taxonomy")
        for id_ in asked:
            if id_ not in file.attributes:
                raise TaxonomyError(path, _line(lines, node), id_, f"node {node!r} asks attributes that are defined")


def _line(lines: list[str], key: str) -> int:
    """Line on which a JSON key stands first, 1 where it cannot be found (escapes)."""
    return next((n for n, text in enumerate(lines, start=1) if f'"{key}":' in text), 1)


def _inherited(file: _File, taxonomy: Taxonomy, node: str) -> tuple[str, ...]:
    line = [*reversed(taxonomy.ancestors(node)), EVERY_NODE]
    return tuple(dict.fromkeys(id_ for step in line for id_ in file.nodes.get(step, ())))
