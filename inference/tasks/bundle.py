"""All heads of one version: loaded once, asked for one listing at a time. What `listing` calls after the encoder.

A listing is encoded twice: as a text, which decides category, safety and embedding; and with the names of the
attributes that its category asks, which decides values, brand and product words, and keywords.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inference.contract import MOST_CLAIMS, Claim, ClaimCheck, ListingInput, NodeScore, Span
from inference.model.encoder import Encoded
from inference.model.names import Names
from inference.model.prompt import KEYWORDS, Prompt
from inference.model.text import HINT, Composed
from inference.tasks.attributes import AttributeHead
from inference.tasks.category import CategoryHead, node_side
from inference.tasks.keywords import KeywordHead
from inference.tasks.linear import softmax
from inference.tasks.reading import Reading, in_prompts, read
from inference.tasks.safety import SafetyHead
from inference.tasks.spans import MEANING, PROMPTS, SpanHead
from inference.tasks.tagger import Found
from inference.tasks.tags import TagHead
from inference.tasks.units import Units
from inference.tasks.weights import load_head
from inference.taxonomy import AttributeSchema, Taxonomy

TASKS = ("category", "attributes", "spans", "keywords", "safety", "tags")
"""What can be asked, fitted and measured."""
TAGGER = "tagger"
"""The network that attributes and spans share."""
HEADS = (*TASKS, TAGGER)
"""Parts that have files of their own: NAME.npz and NAME.json."""
NODES = 5
"""The category and its runners-up."""
SCORE_DIGITS = 6
BRAND, PRODUCT = "Brand", "Product Type"
"""Attributes that stand in for the spans head, which knows Chinese only."""


@dataclass(frozen=True)
class First:
    """What the text alone says. names: asked for the listing. claims: to be checked. prompts: how both are asked."""

    language: str
    nodes: list[NodeScore]
    safe: float
    names: tuple[str, ...]
    claims: tuple[Claim, ...]
    prompts: list[tuple[str, ...]]


@dataclass(frozen=True)
class Findings:
    """What the heads say of one listing; the fields of inference.contract.ListingResult."""

    nodes: list[NodeScore]
    attributes: list[Span]
    spans: list[Span]
    keywords: list[Span]
    claims: list[ClaimCheck]
    safe: float


class TaskBundle:
    """The heads of one version with the taxonomy and the schema that it serves."""

    def __init__(self, heads: Path, taxonomy: Taxonomy, schema: AttributeSchema, names: Mapping[str, Names]) -> None:
        self._taxonomy, self._schema = taxonomy, schema
        tagger = load_head(heads, TAGGER)
        self._category = CategoryHead(load_head(heads, "category"))
        self._attributes = AttributeHead(load_head(heads, "attributes"), tagger)
        self._tags = TagHead(load_head(heads, "tags"), self._attributes)
        self._spans = SpanHead(load_head(heads, "spans"), tagger)
        self._keywords = KeywordHead(load_head(heads, "keywords"))
        self._safety = SafetyHead(load_head(heads, "safety"))
        self._ids = list(taxonomy.nodes)
        self._nodes = self._category.matcher.vectors(node_side([names["node.en"], names["node.zh"]], taxonomy))

    @classmethod
    def load(
        cls, heads_dir: Path, taxonomy: Taxonomy, schema: AttributeSchema, names: Mapping[str, Names]
    ) -> TaskBundle:
        """names: `node.en`, `node.zh`. Raises Misconfigured, KeyError."""
        return cls(heads_dir, taxonomy, schema, names)

    def first(self, row: ListingInput, composed: Composed, encoded: Encoded, language: str) -> First:
        """From the text. The prompts of the answer are to be encoded and handed to `second`."""
        nodes = self._rank(encoded, language)
        wanted = row.ask if row.ask is not None else self._schema.names_for(nodes[0].node, language)
        names = tuple(dict.fromkeys(wanted))
        safe = round(1.0 - self._safety.harmful(encoded, composed.text), SCORE_DIGITS)
        claims = tuple(each for each in row.claims if each.name.strip() and each.value.strip())[:MOST_CLAIMS]
        asked = (*names, *(each.name for each in claims))
        return First(language, nodes, safe, names, claims, in_prompts(asked, heads_of(language)))

    def read(self, text: str, names: Sequence[str], prompt: Prompt, encoded: Encoded) -> Reading:
        """What one prompt of `first` came to."""
        return read(text, names, prompt, encoded, self._schema.other_names)

    def second(self, composed: Composed, first: First, encoded: Encoded, readings: Sequence[Reading]) -> Findings:
        """From what each prompt of `first` came to. encoded: as `first` was given."""
        units = readings[0].units
        values = {name: found for each in readings for name, found in self._values(each, first.names).items()}
        spans = self._brand_and_product(readings[0], encoded, first.language)
        heads = [*(each for found in values.values() for each in found), *(each for _, each in spans)]
        place = _Placer(composed, units)
        # A later prompt has room for as much text as its names leave: units are the same from the start on.
        heads = [each for each in heads if each.last < len(units)]
        words = self._attributes.words(readings[0], heads_of(first.language)[-1])
        keywords = self._keywords.rank(composed.text, units, heads, words)
        return Findings(
            nodes=first.nodes,
            attributes=_distinct(
                [
                    span
                    for reading in readings
                    for name in reading.names
                    if name in first.names
                    for span in _Placer(composed, reading.units).all([(name, each) for each in values[name]])
                ]
            ),
            spans=place.all(spans),
            keywords=_distinct(place.all([("", Found(each.first, each.last, each.score)) for each in keywords])),
            claims=[self._check(composed, each, readings) for each in first.claims],
            safe=first.safe,
        )

    def _check(self, composed: Composed, claim: Claim, readings: Sequence[Reading]) -> ClaimCheck:
        reading = next(each for each in readings if claim.name in each.names)
        found = self._tags.match(composed.text, reading, claim.name, claim.value)
        evidence = None
        if found.evidence is not None:
            evidence = _Placer(composed, reading.units).stretch(claim.name, *found.evidence, found.score)
        score = round(found.score, SCORE_DIGITS)
        return ClaimCheck(name=claim.name, value=claim.value, verdict=found.label, score=score, evidence=evidence)

    def _rank(self, encoded: Encoded, language: str) -> list[NodeScore]:
        scores = softmax(self._category.matcher.scores(encoded, self._nodes))
        best = np.argsort(-scores, kind="stable")[:NODES].tolist()
        return [self._node(self._ids[at], float(scores[at]), language) for at in best]

    def _node(self, node: str, score: float, language: str) -> NodeScore:
        ids = list(self._taxonomy.ancestors(node))
        return NodeScore(node, self._taxonomy.path(node, language), round(score, SCORE_DIGITS), ids)

    def _values(self, reading: Reading, names: Sequence[str]) -> dict[str, list[Found]]:
        asked = [name for name in reading.names if name in names]
        return dict(zip(asked, self._attributes.find(reading, asked), strict=True)) if asked else {}

    def _brand_and_product(self, reading: Reading, encoded: Encoded, language: str) -> list[tuple[str, Found]]:
        if language.startswith("zh"):
            return [(MEANING[label], each) for label, each in self._spans.find(reading, encoded)]
        found = self._attributes.find(reading, (BRAND, PRODUCT))
        return [(label, each) for label, spans in zip(("brand", "product"), found, strict=True) for each in spans]


def heads_of(language: str) -> tuple[str, ...]:
    """Names that every listing of a language is asked: what stands for brand and product, and last for keywords."""
    return (*PROMPTS, KEYWORDS["zh"]) if language.startswith("zh") else (BRAND, PRODUCT, KEYWORDS["en"])


class _Placer:
    """Stretches of units as spans of the listing's fields. The seller's category hint is not the listing's text."""

    def __init__(self, composed: Composed, units: Units) -> None:
        self._composed, self._units = composed, units

    def all(self, found: Sequence[tuple[str, Found]]) -> list[Span]:
        spans = [self._span(label, each) for label, each in found]
        return [span for span in spans if span is not None]

    def _span(self, label: str, each: Found) -> Span | None:
        start, end = int(self._units.starts[each.first]), int(self._units.ends[each.last])
        return self.stretch(label, start, end, each.score)

    def stretch(self, label: str, start: int, end: int, score: float) -> Span | None:
        """Code points of the text; None where they are of no single field of the listing."""
        part = self._composed.locate(start, end)
        if part is None or part.field == HINT or part.end - part.start != end - start:
            return None
        score = round(min(max(score, 0.0), 1.0), SCORE_DIGITS)
        text = self._composed.text[start:end]
        return Span(label=label, text=text, score=score, field=part.field, start=part.start, end=part.end)


def _distinct(spans: Sequence[Span]) -> list[Span]:
    """One for each label and wording, the first."""
    kept: dict[tuple[str, str], Span] = {}
    for span in spans:
        kept.setdefault((span.label, span.text.casefold()), span)
    return list(kept.values())
