"""The task heads of one version, loaded once, and asked for one listing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.contract import ListingInput, NodeScore, Span
from inference.model.encoder import Encoded
from inference.model.names import Names
from inference.model.text import Composed
from inference.serving.layout import HEADS, NAMES_FILE, SCHEMA_FILE, TAXONOMY_FILE
from inference.taxonomy import AttributeSchema, Taxonomy, load_attributes, load_taxonomy

RUNNERS_UP = 5
TEMPERATURE = 0.02


@dataclass(frozen=True)
class Findings:
    """What the heads say of one listing."""

    nodes: list[NodeScore]
    attributes: list[Span]
    spans: list[Span]
    keywords: list[Span]
    safe: float


class TaskHeads:
    def __init__(self, folder: Path, names: Mapping[str, NDArray[Any]], taxonomy: Taxonomy, schema: AttributeSchema):
        self._taxonomy = taxonomy
        self._schema = schema
        self._nodes = {language: Names.read(names, f"node.{language}") for language in ("en", "zh")}

    def names_to_encode(self, row: ListingInput) -> list[str]:
        """Names that the row asks and the schema does not know."""
        return [name for name in row.ask or () if self._schema.find(name) is None]

    def ask(
        self, row: ListingInput, composed: Composed, encoded: Encoded, language: str, names: Mapping[str, Encoded]
    ) -> Findings:
        best = np.maximum(*(n.pooled @ encoded.pooled for n in self._nodes.values()))
        order = np.argsort(-best)[:RUNNERS_UP]
        p = np.exp((best - best.max()) / TEMPERATURE)
        p /= p.sum()
        ids = self._nodes["en"].ids
        nodes = [NodeScore(ids[i], self._taxonomy.path(ids[i], language), float(p[i])) for i in order]
        return Findings(nodes, [], [], [], 1.0)


def load_heads(artefacts: Path) -> TaskHeads:
    """Heads, names, taxonomy and schema of a version's folder."""
    taxonomy = load_taxonomy(artefacts / TAXONOMY_FILE)
    with np.load(artefacts / NAMES_FILE, allow_pickle=False) as names:
        return TaskHeads(artefacts / HEADS, dict(names), taxonomy, load_attributes(taxonomy, artefacts / SCHEMA_FILE))
