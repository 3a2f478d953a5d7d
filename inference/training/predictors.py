"""What each head says of the rows of a file, in this process: encoder on ONNX Runtime, heads in numpy. No torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from inference.model.encoder import Encoded
from inference.model.names import Names, names_of
from inference.model.text import compose
from inference.tasks.attributes import AttributeHead
from inference.tasks.category import CategoryHead, LabelChooser, node_side
from inference.tasks.keywords import KeywordHead, text_of
from inference.tasks.linear import softmax
from inference.tasks.safety import SafetyHead
from inference.tasks.spans import LABEL_VECTORS, SpanHead, resolve
from inference.tasks.tagger import Found
from inference.tasks.units import Units, make_units
from inference.tasks.weights import load_head
from inference.taxonomy import Taxonomy
from inference.training.cache import EncodingCache
from inference.training.data import AttributeRow, SpanRow, TextRow

Report = Callable[[str, int, int], None]
HEAD_ATTRIBUTES = ("Brand", "Product Type")
"""Attributes that are keywords of a text for which nothing was asked."""


@dataclass(frozen=True)
class Choice:
    """A category and its probability."""

    label: str
    score: float


@dataclass(frozen=True)
class Value:
    """A value of one attribute and its probability."""

    name: str
    text: str
    score: float


class Predictors:
    """Heads of a weights folder over an encoder; each head is read when first asked."""

    def __init__(self, weights: Path, cache: EncodingCache, taxonomy: Taxonomy, report: Report) -> None:
        self._weights, self._cache, self._taxonomy, self._report = weights, cache, taxonomy, report

    @cached_property
    def category_head(self) -> CategoryHead:
        """The category head. Raises Misconfigured; so do the others."""
        return CategoryHead(load_head(self._weights, "category"))

    @cached_property
    def attribute_head(self) -> AttributeHead:
        """The attributes head."""
        return AttributeHead(load_head(self._weights, "attributes"))

    @cached_property
    def span_head(self) -> SpanHead:
        """The spans head."""
        return SpanHead(load_head(self._weights, "spans"))

    def encode(self, step: str, texts: Sequence[str], states: bool = False) -> list[Encoded]:
        """Texts, encoded, with progress."""
        return self._cache.encode(texts, states, lambda done, total: self._report(step, done, total))

    def node_names(self) -> dict[str, Names]:
        """`node.en` and `node.zh` of the taxonomy, encoded."""
        nodes = list(self._taxonomy)
        ids = [node.id for node in nodes]
        texts = {language: [node.name(language) for node in nodes] for language in ("en", "zh")}
        return {
            f"node.{language}": names_of(ids, names, dict(zip(names, self.encode("names", names), strict=True)))
            for language, names in texts.items()
        }

    def labels(self, rows: Sequence[TextRow], labels: Sequence[str]) -> list[Choice]:
        """One of `labels` for each row."""
        chooser = LabelChooser(self.category_head, labels, self.encode("labels", labels))
        found = []
        for row, encoded in zip(rows, self.encode("titles", [row.text for row in rows]), strict=True):
            odds = chooser.probabilities(encoded, row.text)
            best = int(odds.argmax())
            found.append(Choice(labels[best], float(odds[best])))
        return found

    def nodes(self, rows: Sequence[TextRow]) -> list[Choice]:
        """A node of the taxonomy for each row."""
        names = self.node_names()
        vectors = self.category_head.matcher.vectors(node_side([names["node.en"], names["node.zh"]], self._taxonomy))
        ids = list(self._taxonomy.nodes)
        found = []
        for encoded in self.encode("titles", [row.text for row in rows]):
            odds = softmax(self.category_head.matcher.scores(encoded, vectors))
            best = int(odds.argmax())
            found.append(Choice(ids[best], float(odds[best])))
        return found

    def attributes(self, rows: Sequence[AttributeRow]) -> list[dict[str, list[Value]]]:
        """Values for exactly the names asked."""
        head = self.attribute_head
        unknown = sorted({name for row in rows for name in row.ask if head.known(name) is None})
        pooled = {name: each.pooled for name, each in zip(unknown, self.encode("names", unknown), strict=True)}
        answers = []
        texts = [compose(row.title, row.description).text for row in rows]
        for row, text, encoded in zip(rows, texts, self.encode("listings", texts, states=True), strict=True):
            units = make_units(text, encoded)
            found = head.find(units, head.vectors(row.ask, pooled))
            answers.append({name: _values(name, text, units, each) for name, each in zip(row.ask, found, strict=True)})
        return answers

    def spans(self, rows: Sequence[SpanRow]) -> list[list[tuple[int, int, str, float]]]:
        """(start, end, label, probability), in the order of the text."""
        answers = []
        for row, encoded in zip(rows, self.encode("sentences", [row.text for row in rows], states=True), strict=True):
            units = make_units(row.text, encoded)
            answers.append(
                [
                    (int(units.starts[e.first]), int(units.ends[e.last]), label, e.score)
                    for label, e in self.span_head.find(units)
                ]
            )
        return answers

    def safety(self, rows: Sequence[TextRow]) -> list[float]:
        """Probability of harmful."""
        head = SafetyHead(load_head(self._weights, "safety"))
        encoded = self.encode("texts", [row.text for row in rows])
        return [head.harmful(each, row.text) for each, row in zip(encoded, rows, strict=True)]

    def keywords(self, rows: Sequence[AttributeRow]) -> list[list[tuple[str, float]]]:
        """Keywords with their probability, best first."""
        head = KeywordHead(load_head(self._weights, "keywords"))
        return [
            [(text_of(text, units, each.first, each.last), each.score) for each in head.rank(text, units, found)]
            for text, units, found in self.seen(rows)
        ]

    def seen(self, rows: Sequence[AttributeRow]) -> list[tuple[str, Units, list[Found]]]:
        """Text, units, and what the attributes and spans heads found: what keywords are ranked on."""
        texts = [compose(row.title, row.description).text for row in rows]
        answers = []
        for row, text, encoded in zip(rows, texts, self.encode("listings", texts, states=True), strict=True):
            units = make_units(text, encoded)
            names = [n for n in (row.ask or HEAD_ATTRIBUTES) if self.attribute_head.known(n) is not None]
            found = self.attribute_head.find(units, self.attribute_head.vectors(names, {}))
            heads = [each for spans in found for each in spans]
            if not text.isascii():
                spans = self.span_head.tagger.find(units, LABEL_VECTORS, self.span_head.least)
                heads += [each for _, each in resolve(spans, self.span_head.least)]
            answers.append((text, units, heads))
        return answers


def _values(name: str, text: str, units: Units, found: Sequence[Found]) -> list[Value]:
    values: dict[str, Value] = {}
    for each in found:
        value = text[int(units.starts[each.first]) : int(units.ends[each.last])]
        values.setdefault(value.casefold(), Value(name, value, each.score))
    return list(values.values())
