"""All heads of one version: loaded once, asked for one listing at a time. What `listing` calls after the encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.contract import ListingInput, NodeScore, Span
from inference.model.encoder import Encoded
from inference.model.names import Names
from inference.model.text import HINT, Composed
from inference.tasks.attributes import AttributeHead
from inference.tasks.category import CategoryHead, node_side
from inference.tasks.keywords import KeywordHead
from inference.tasks.linear import softmax
from inference.tasks.safety import SafetyHead
from inference.tasks.spans import MEANING, SpanHead
from inference.tasks.tagger import Found
from inference.tasks.units import Units, make_units
from inference.tasks.weights import load_head
from inference.taxonomy import AttributeSchema, Taxonomy

TASKS = ("category", "attributes", "spans", "keywords", "safety")
"""Heads that have files of their own: TASK.npz and TASK.json."""
NODES = 5
"""The category and its runners-up."""
SCORE_DIGITS = 6
BRAND, PRODUCT = "Brand", "Product Type"
"""Names of the attributes head that stand in for the spans head, which knows Chinese only."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Findings:
    """What the heads say of one listing; the fields of inference.contract.ListingResult."""

    nodes: list[NodeScore]
    attributes: list[Span]
    spans: list[Span]
    keywords: list[Span]
    safe: float


class TaskBundle:
    """The heads of one version with the taxonomy and the schema that it serves."""

    def __init__(self, heads: Path, taxonomy: Taxonomy, schema: AttributeSchema, names: Mapping[str, Names]) -> None:
        self._taxonomy, self._schema = taxonomy, schema
        self._category = CategoryHead(load_head(heads, "category"))
        self._attributes = AttributeHead(load_head(heads, "attributes"))
        self._spans = SpanHead(load_head(heads, "spans"))
        self._keywords = KeywordHead(load_head(heads, "keywords"))
        self._safety = SafetyHead(load_head(heads, "safety"))
        self._ids = list(taxonomy.nodes)
        self._nodes = self._category.matcher.vectors(node_side([names["node.en"], names["node.zh"]], taxonomy))
        self._pooled = {
            text.casefold(): names[key].pooled[at]
            for key in ("attribute.en", "attribute.zh")
            for at, text in enumerate(names[key].texts)
        }

    @classmethod
    def load(
        cls, heads_dir: Path, taxonomy: Taxonomy, schema: AttributeSchema, names: Mapping[str, Names]
    ) -> TaskBundle:
        """names: `node.en`, `node.zh`, `attribute.en`, `attribute.zh`. Raises Misconfigured, KeyError."""
        return cls(heads_dir, taxonomy, schema, names)

    def extra_texts(self, row: ListingInput) -> list[str]:
        """Names asked that neither the heads nor the schema know: encode them and hand them to `answer`."""
        asked = dict.fromkeys(row.ask or ())
        return [name for name in asked if self._attributes.known(name) is None and name.casefold() not in self._pooled]

    def answer(
        self,
        row: ListingInput,
        composed: Composed,
        encoded: Encoded,
        language: str,
        extra: Mapping[str, Encoded] | None = None,
    ) -> Findings:
        """One listing. extra: `extra_texts(row)`, encoded; a name that is missing from it is answered with nothing."""
        units = make_units(composed.text, encoded)
        nodes = self._rank(encoded, language)
        asked = self._asked(row, nodes[0].node, language, extra or {})
        values = dict(zip(asked, self._attributes.find(units, _stack(asked)), strict=True))
        spans = self._brand_and_product(units, language)
        heads = [*(each for found in values.values() for each in found), *(each for _, each in spans)]
        place = _Placer(composed, units)
        keywords = self._keywords.rank(composed.text, units, heads)
        return Findings(
            nodes=nodes,
            attributes=place.distinct([(name, each) for name, found in values.items() for each in found]),
            spans=place.all([(label, each) for label, each in spans]),
            keywords=place.distinct([("", Found(each.first, each.last, each.score)) for each in keywords]),
            safe=round(1.0 - self._safety.harmful(encoded, composed.text), SCORE_DIGITS),
        )

    def _rank(self, encoded: Encoded, language: str) -> list[NodeScore]:
        scores = softmax(self._category.matcher.scores(encoded, self._nodes))
        best = np.argsort(-scores, kind="stable")[:NODES].tolist()
        return [self._node(self._ids[at], float(scores[at]), language) for at in best]

    def _node(self, node: str, score: float, language: str) -> NodeScore:
        ids = list(self._taxonomy.ancestors(node))
        return NodeScore(node, self._taxonomy.path(node, language), round(score, SCORE_DIGITS), ids)

    def _asked(self, row: ListingInput, node: str, language: str, extra: Mapping[str, Encoded]) -> dict[str, Floats]:
        names = row.ask if row.ask is not None else self._schema.names_for(node, language)
        found: dict[str, Floats] = {}
        for name in dict.fromkeys(names):
            vector = self._vector(name, extra)
            if vector is not None:
                found[name] = vector
        return found

    def _vector(self, name: str, extra: Mapping[str, Encoded]) -> Floats | None:
        known = self._attributes.known(name)
        if known is not None:
            return known
        pooled = self._pooled.get(name.casefold())
        if pooled is None and name in extra:
            pooled = extra[name].pooled
        return None if pooled is None else self._attributes.centred(pooled)

    def _brand_and_product(self, units: Units, language: str) -> list[tuple[str, Found]]:
        if language.startswith("zh"):
            return [(MEANING[label], each) for label, each in self._spans.find(units)]
        names = {name: self._attributes.known(name) for name in (BRAND, PRODUCT)}
        vectors = {name: vector for name, vector in names.items() if vector is not None}
        found = zip(vectors, self._attributes.find(units, _stack(vectors)), strict=True)
        labels = {BRAND: MEANING["HP"], PRODUCT: MEANING["HC"]}
        return [(labels[name], each) for name, spans in found for each in spans]


class _Placer:
    """Stretches of units as spans of the listing's fields. The seller's category hint is not the listing's text."""

    def __init__(self, composed: Composed, units: Units) -> None:
        self._composed, self._units = composed, units

    def all(self, found: Sequence[tuple[str, Found]]) -> list[Span]:
        spans = [self._span(label, each) for label, each in found]
        return [span for span in spans if span is not None]

    def distinct(self, found: Sequence[tuple[str, Found]]) -> list[Span]:
        """One for each label and wording, the first."""
        kept: dict[tuple[str, str], Span] = {}
        for span in self.all(found):
            kept.setdefault((span.label, span.text.casefold()), span)
        return list(kept.values())

    def _span(self, label: str, each: Found) -> Span | None:
        start, end = int(self._units.starts[each.first]), int(self._units.ends[each.last])
        part = self._composed.locate(start, end)
        if part is None or part.field == HINT or part.end - part.start != end - start:
            return None
        score = round(min(max(each.score, 0.0), 1.0), SCORE_DIGITS)
        text = self._composed.text[start:end]
        return Span(label=label, text=text, score=score, field=part.field, start=part.start, end=part.end)


def _stack(vectors: Mapping[str, Floats]) -> Floats:
    return np.stack(list(vectors.values())) if vectors else np.zeros((0, 1), np.float32)
