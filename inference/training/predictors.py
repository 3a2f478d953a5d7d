"""What each head says of the rows of a file, in this process: encoder on ONNX Runtime, heads in numpy. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.model.encoder import Encoded
from inference.model.names import Names, names_of
from inference.model.prompt import NAMES_A_PROMPT
from inference.model.text import compose
from inference.serving.language import detect
from inference.tasks.attributes import AttributeHead
from inference.tasks.bundle import TAGGER, heads_of
from inference.tasks.category import CategoryHead, LabelChooser, node_side
from inference.tasks.keywords import KeywordHead, text_of
from inference.tasks.linear import softmax
from inference.tasks.reading import Reading, in_prompts, read
from inference.tasks.safety import SafetyHead
from inference.tasks.spans import PROMPTS, SpanHead
from inference.tasks.tagger import Found, Tagger
from inference.tasks.tags import Match, Said, TagHead, candidates, signs
from inference.tasks.units import Units
from inference.tasks.weights import HeadFile, load_head
from inference.taxonomy import AttributeSchema, Taxonomy, load_attributes
from inference.training.cache import EncodingCache
from inference.training.data import AttributeRow, SpanRow, TagRow, TextRow

Report = Callable[[str, int, int], None]


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
    def schema(self) -> AttributeSchema:
        """The schema that ships, for other names of what is asked. Raises TaxonomyError for another taxonomy."""
        return load_attributes(self._taxonomy)

    @cached_property
    def category_head(self) -> CategoryHead:
        """The category head. Raises Misconfigured; so do the others."""
        return CategoryHead(load_head(self._weights, "category"))

    @cached_property
    def tagger(self) -> HeadFile:
        """The network that the two below share."""
        return load_head(self._weights, TAGGER)

    @cached_property
    def attribute_head(self) -> AttributeHead:
        """The attributes head."""
        return AttributeHead(load_head(self._weights, "attributes"), self.tagger)

    @cached_property
    def span_head(self) -> SpanHead:
        """The spans head."""
        return SpanHead(load_head(self._weights, "spans"), self.tagger)

    @cached_property
    def any_tagger(self) -> Tagger:
        """The network, calibrated for attributes where the folder has that head, else as it was trained."""
        if self.has("attributes"):
            return self.attribute_head.tagger
        return Tagger(self.tagger.arrays)

    def has(self, task: str) -> bool:
        """Whether the folder has that head."""
        return (self._weights / f"{task}.npz").is_file()

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
            odds = chooser.probabilities(encoded, row.text, row.shop)
            best = int(odds.argmax())
            found.append(Choice(labels[best], float(odds[best])))
        return found

    def nodes(self, rows: Sequence[TextRow]) -> list[Choice]:
        """A node of the taxonomy for each row."""
        return self._nodes_of([row.text for row in rows])

    def _nodes_of(self, texts: Sequence[str]) -> list[Choice]:
        names = self.node_names()
        vectors = self.category_head.matcher.vectors(node_side([names["node.en"], names["node.zh"]], self._taxonomy))
        ids = list(self._taxonomy.nodes)
        found = []
        for encoded in self.encode("titles", texts):
            odds = softmax(self.category_head.matcher.scores(encoded, vectors))
            best = int(odds.argmax())
            found.append(Choice(ids[best], float(odds[best])))
        return found

    def read(self, step: str, texts: Sequence[str], asked: Sequence[Sequence[str]]) -> list[list[Reading]]:
        """Each text with its names, in as many prompts as they need."""
        prompts = [in_prompts(names) for names in asked]
        flat = [(text, names) for text, each in zip(texts, prompts, strict=True) for names in each]
        answers = iter(
            self._cache.ask(
                [text for text, _ in flat], [names for _, names in flat], lambda d, n: self._report(step, d, n)
            )
        )
        return [
            [read(text, names, *next(answers), self.schema.other_names) for names in each]
            for text, each in zip(texts, prompts, strict=True)
        ]

    def attributes(self, rows: Sequence[AttributeRow]) -> list[dict[str, list[Value]]]:
        """Values for exactly the names asked."""
        head, answers = self.attribute_head, []
        texts = [compose(row.title, row.description).text for row in rows]
        for row, text, readings in zip(rows, texts, self.read("listings", texts, [r.ask for r in rows]), strict=True):
            found: dict[str, list[Value]] = {}
            for reading in readings if row.ask else ():
                spans = head.find(reading, reading.names)
                found |= {
                    name: _values(name, text, reading.units, each)
                    for name, each in zip(reading.names, spans, strict=True)
                }
            answers.append({name: found[name] for name in row.ask})
        return answers

    def spans(self, rows: Sequence[SpanRow]) -> list[list[tuple[int, int, str, float]]]:
        """(start, end, label, probability), in the order of the text."""
        texts = [row.text for row in rows]
        answers = []
        for (reading,), encoded in zip(
            self.read("sentences", texts, [PROMPTS] * len(rows)), self.encode("sentences", texts, True), strict=True
        ):
            units = reading.units
            answers.append(
                [
                    (int(units.starts[e.first]), int(units.ends[e.last]), label, e.score)
                    for label, e in self.span_head.find(reading, encoded)
                ]
            )
        return answers

    def tag_signs(self, step: str, pairs: Sequence[Said]) -> list[NDArray[np.float32]]:
        """What the classifier of tag matching sees of each pair."""
        return [
            signs(pair, reading.units, candidates(self.attribute_head, reading, pair.name))
            for pair, reading in self._tag_readings(step, pairs)
        ]

    def tags(self, rows: Sequence[TagRow]) -> list[Match]:
        """Whether each row's value is borne out by its listing."""
        head = TagHead(load_head(self._weights, "tags"), self.attribute_head)
        pairs = [Said(compose(row.title, row.description).text, row.name, row.value) for row in rows]
        return [
            head.match(pair.text, reading, pair.name, pair.value)
            for pair, reading in self._tag_readings("pairs", pairs)
        ]

    def _tag_readings(self, step: str, pairs: Sequence[Said]) -> Iterator[tuple[Said, Reading]]:
        readings = self.read(step, [pair.text for pair in pairs], [(pair.name,) for pair in pairs])
        for pair, (reading,) in zip(pairs, readings, strict=True):
            yield pair, reading

    def safety(self, rows: Sequence[TextRow]) -> list[float]:
        """Probability of harmful."""
        head = SafetyHead(load_head(self._weights, "safety"))
        encoded = self.encode("texts", [row.text for row in rows])
        return [head.harmful(each, row.text) for each, row in zip(encoded, rows, strict=True)]

    def keywords(self, rows: Sequence[AttributeRow]) -> list[list[tuple[str, float]]]:
        """Keywords with their probability, best first."""
        head = KeywordHead(load_head(self._weights, "keywords"))
        return [
            [(text_of(text, units, each.first, each.last), each.score) for each in head.rank(text, units, *found)]
            for text, units, *found in self.seen(rows)
        ]

    def seen(self, rows: Sequence[AttributeRow]) -> list[tuple[str, Units, list[Found], list[Found]]]:
        """Text, units, what the attributes and spans heads found, and what was found for the name of keywords.

        As in serving, the names asked are those of the category that the text alone says; what a row asks is not."""
        texts = [compose(row.title, row.description).text for row in rows]
        languages = [detect(text, "").code for text in texts]
        names = [
            tuple(self.schema.names_for(node.label, code))[: NAMES_A_PROMPT - 3]
            for node, code in zip(self._nodes_of(texts), languages, strict=True)
        ]
        asked = [(*heads_of(code), *each) for code, each in zip(languages, names, strict=True)]
        chinese_texts = [text for text, code in zip(texts, languages, strict=True) if code.startswith("zh")]
        encoded = iter(self.encode("Chinese", chinese_texts, True))
        answers = []
        for text, code, readings in zip(texts, languages, self.read("listings", texts, asked), strict=True):
            reading = readings[0]
            chinese = code.startswith("zh")
            keyword = heads_of(code)[-1]
            wanted = [n for n in reading.names if n != keyword and not (chinese and n in PROMPTS)]
            found = [each for spans in self.attribute_head.find(reading, wanted) for each in spans] if wanted else []
            found += [each for _, each in self.span_head.find(reading, next(encoded))] if chinese else []
            words = self.attribute_head.words(reading, keyword)
            answers.append((text, reading.units, found, words))
        return answers


def _values(name: str, text: str, units: Units, found: Sequence[Found]) -> list[Value]:
    values: dict[str, Value] = {}
    for each in found:
        value = text[int(units.starts[each.first]) : int(units.ends[each.last])]
        values.setdefault(value.casefold(), Value(name, value, each.score))
    return list(values.values())
