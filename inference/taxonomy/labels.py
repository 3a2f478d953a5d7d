"""The hand-made map from the labels of public data sets to taxonomy nodes, for training and for measuring."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
from msgspec import Struct

from inference.taxonomy.tree import HERE, VERSION_DIGITS, Taxonomy, TaxonomyError

DEFAULT_LABEL_MAP = HERE / "label_map.json"


class LabelMap(Struct, frozen=True):
    """maps: `source.column` (or `source.column|column`) to label (values joined by `|`) to node ids.

    A list means: a listing of this label lies at or under one of these nodes. An empty list: the
    label says nothing about the product ("other").
    """

    maps: dict[str, dict[str, tuple[str, ...]]]

    @property
    def version(self) -> str:
        """Hash of its content, as a taxonomy's; a category head that was fitted through it names it."""
        return hashlib.sha256(msgspec.json.encode(self.maps, order="sorted")).hexdigest()[:VERSION_DIGITS]

    def nodes(self, source: str, label: str) -> tuple[str, ...]:
        """Nodes of a label; empty for an unknown one. Raises KeyError for an unknown source."""
        return self.maps[source].get(label, ())

    def single(self, source: str) -> dict[str, str]:
        """Labels of a source that mean exactly one node."""
        return {label: nodes[0] for label, nodes in self.maps[source].items() if len(nodes) == 1}


def load_label_map(taxonomy: Taxonomy, path: Path | None = None) -> LabelMap:
    """The map, checked: every node it names is in the taxonomy. Raises TaxonomyError, OSError."""
    path = path or DEFAULT_LABEL_MAP
    raw = path.read_bytes()
    try:
        found = msgspec.json.decode(raw, type=LabelMap)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TaxonomyError(path, 1, raw[:40], f"a label map ({error})") from None
    for source, labels in found.maps.items():
        for label, nodes in labels.items():
            for node in nodes:
                if node not in taxonomy:
                    rule = f"label {label!r} of {source} maps to nodes of the taxonomy"
                    raise TaxonomyError(path, _line(raw, node), node, rule)
    return found


def _line(raw: bytes, node: str) -> int:
    at = raw.find(f'"{node}"'.encode())
    return raw.count(b"\n", 0, at) + 1 if at >= 0 else 1
