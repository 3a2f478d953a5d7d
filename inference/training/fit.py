"""Fits every head from the data folder, writes the weights, and measures them on the development splits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from inference.model.encoder import Encoded
from inference.tasks.bundle import TASKS
from inference.tasks.category import NameMatcher, NameSide, node_side
from inference.tasks.linear import Linear
from inference.tasks.spans import PROMPTS
from inference.tasks.units import make_units
from inference.tasks.weights import as_stored, load_head, save_head
from inference.taxonomy import LabelMap, Taxonomy
from inference.training import corpora, evaluate, weak
from inference.training.cache import EncodingCache, features_of
from inference.training.data import AttributeRow, TagRow, TextRow
from inference.training.fit_category import Listing, best_heat, fit_matcher, with_prefix
from inference.training.fit_keywords import KeywordRow, fit_keywords, gold_words
from inference.training.fit_spans import fit_span_tagger
from inference.training.fit_tags import HAND_COUNT, fit_tag_head, labelled_by_hand, make_pairs
from inference.training.fit_thresholds import fit_attribute_thresholds, fit_span_thresholds, stated_right, stated_score
from inference.training.licences import rows_by_set
from inference.training.metrics import Measure, f1_measure
from inference.training.predictors import Predictors, Report
from inference.training.softmax import best_temperature, fit_softmax
from inference.training.splits import Split, number_of, sample
from inference.training.stated import stated_rows
from inference.training.tagging import attribute_text, pairs_of

COSTS = {"zh_store_titles": 10.0, "fashion": 10.0, "pricerunner": 10.0}
"""Weight of the loss against the L2 penalty: 3 to 60 are within half a point on store titles."""
SAFETY_COST = 3.0
TAG_ROWS, COPY_ROWS = 250, 150
"""Listings that some 3,000 pairs are made of; the classifier has 51 weights."""
HARMLESS_TITLES = 3_000
"""Product titles taken as harmless: without them a head fitted on posts alone calls 8% of
fashion titles harmful, with them 1.3%."""
SOURCES = {
    "zh_store_titles": "zh_store_titles.category",
    "fashion": "fashion.articleType",
    "pricerunner": "pricerunner.category",
}
TITLES = "attributes.category"
"""Label map of the attribute sets' categories."""
SOURCE_WEIGHTS = {
    "zh_store_titles": 1.0,
    "fashion": 0.7,
    "pricerunner": 0.4,
    "retail_demo": 1.0,
    "attributes": 1.0,
    "names": 1.0,
}
"""Of a row's loss in the comparison with names; pricerunner repeats 10 labels, names are each node's only row."""
HEAT_ROWS = 500
STATED_SEED = 13
"""Of the rows that state values under names of no set: always the same ones are measured."""
NEVER_SEEN = "micro F1 of values stated under names of no set"
FINAL = "known-label models: fitted again on train and dev rows together after dev chose and measured them"
THREADS = 1
"""Sums in torch depend on the number of threads; one thread gives the same weights on every run of a machine."""


@dataclass(frozen=True)
class Fitter:
    """What fitting needs. out: the weights folder with vocabulary, adapter and tagger; heads are written there and read
    again for measuring."""

    data: Path
    out: Path
    cache: EncodingCache
    taxonomy: Taxonomy
    maps: LabelMap
    report: Report

    def fit(self, tasks: Sequence[str] = TASKS) -> dict[str, list[Measure]]:
        """Fit, write and measure; keywords need the attributes and spans heads in `out`. Raises DataError, OSError."""
        torch.set_num_threads(THREADS)
        makers = {
            "category": self._category,
            "attributes": self._attributes,
            "spans": self._spans,
            "keywords": self._keywords,
            "safety": self._safety,
            "tags": self._tags,
        }
        return {task: makers[task]() for task in TASKS if task in tasks}

    def _predictors(self) -> Predictors:
        return Predictors(self.out, self.cache, self.taxonomy, self.report)

    def _encode(self, step: str, texts: Sequence[str]) -> list[Encoded]:
        return self.cache.encode(texts, False, self._step(step))

    def _save(
        self, task: str, arrays: dict[str, NDArray[Any]], meta: dict[str, Any], dev: list[Measure]
    ) -> list[Measure]:
        save_head(self.out, task, arrays, {**meta, "dev": msgspec.to_builtins(dev)})
        return dev

    def _step(self, name: str) -> Callable[[int, int], None]:
        return lambda done, total: self.report(name, done, total)

    def _told(self, step: str) -> Any:
        return lambda done, total, _: self.report(step, done, total)

    def _category(self) -> list[Measure]:
        splits = {each.name: corpora.category_split(self.data, each) for each in corpora.CATEGORY_SETS}
        splits = {name: split for name, split in splits.items() if split.train}
        arrays: dict[str, NDArray[Any]] = {}
        sets: dict[str, list[str]] = {}
        for name, split in splits.items():
            sets[name], fitted = self._linear(name, split.train, split.dev)
            arrays |= with_prefix(name, fitted)
        matcher, compared = self._matcher(splits)
        arrays |= matcher
        counts = {name: [len(s.train), len(s.dev), s.dropped] for name, s in splits.items()}
        meta = {"sets": sets, "rows": counts | compared, "label_map": self.maps.version}
        save_head(self.out, "category", arrays, meta)
        dev = self._category_scores(splits, sets)
        return self._save("category", arrays | self._on_everything(splits, sets, arrays), {**meta, "final": FINAL}, dev)

    def _on_everything(
        self, splits: dict[str, Split[TextRow]], sets: dict[str, list[str]], chosen: dict[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        """The known-label models once more on both sides of the split; temperatures stay those that dev chose."""
        arrays: dict[str, NDArray[Any]] = {}
        for name, split in splits.items():
            known = set(sets[name])
            rows = [*split.train, *(row for row in split.dev if row.label in known)]
            fitted = self._softmax(name, rows, sets[name])
            arrays |= with_prefix(name, {**fitted, "temperature": chosen[f"{name}.temperature"]})
        return arrays

    def _category_scores(self, splits: dict[str, Split[TextRow]], sets: dict[str, list[str]]) -> list[Measure]:
        predictors = self._predictors()
        dev: list[Measure] = []
        for name, split in splits.items():
            measures = evaluate.category_measures(split.dev, predictors, sets[name])
            measures += evaluate.node_measures(split.dev, predictors, self.taxonomy, self.maps)
            dev += [msgspec.structs.replace(each, name=f"{name}: {each.name}") for each in measures]
        return dev

    def _linear(self, name: str, train: list[TextRow], dev: list[TextRow]) -> tuple[list[str], dict[str, NDArray[Any]]]:
        labels = sorted({row.label for row in train})
        arrays = self._softmax(name, train, labels)
        return labels, self._heated(arrays, labels, [row for row in dev if row.label in set(labels)])

    def _softmax(self, name: str, rows: list[TextRow], labels: list[str]) -> dict[str, NDArray[Any]]:
        index = {label: at for at, label in enumerate(labels)}
        features = features_of(self._encode(name, [row.text for row in rows]))
        self.report(f"fit {name}", 0, 1)
        truth = np.array([index[row.label] for row in rows], np.int64)
        shops = [row.shop for row in rows]
        arrays = fit_softmax(features, [row.text for row in rows], truth, len(labels), COSTS[name], shops)
        self.report(f"fit {name}", 1, 1)
        return arrays

    def _heated(
        self, arrays: dict[str, NDArray[Any]], labels: list[str], dev: list[TextRow]
    ) -> dict[str, NDArray[Any]]:
        model = Linear(labels, as_stored(arrays))
        encoded = self._encode("dev", [row.text for row in dev])
        odds = np.stack(
            [model.log_odds(each.features, row.text, row.shop) for each, row in zip(encoded, dev, strict=True)]
        )
        truth = np.array([labels.index(row.label) for row in dev], np.int64)
        return {**arrays, "temperature": np.array([best_temperature(odds, truth)], np.float32)}

    def _matcher(self, splits: dict[str, Split[TextRow]]) -> tuple[dict[str, NDArray[Any]], dict[str, list[int]]]:
        """And the rows of the sets that only this comparison is fitted on."""
        predictors = self._predictors()
        names = predictors.node_names()
        side = node_side([names["node.en"], names["node.zh"]], self.taxonomy)
        at = {node: row for row, node in enumerate(self.taxonomy.nodes)}
        listings = self._name_listings(names["node.en"].texts, names["node.zh"].texts)
        for name, split in splits.items():
            rows = [(row.text, self._allowed(SOURCES[name], row.label, at)) for row in split.train]
            listings += self._listings(name, rows)
        retail = [
            (text, self._allowed("retail_demo.category|style", key, at))
            for text, key in corpora.catalogue_rows(self.data)
        ]
        titles = corpora.attribute_split(self.data).train
        found = [(row.title, self._allowed(TITLES, row.category, at)) for row in titles]
        shelf = self._listings("retail_demo", retail)
        listings += [*shelf, *self._listings("attributes", found)]
        arrays = fit_matcher(listings, side, self._told("fit names"))
        measured = [(SOURCES[name], row.text, row.label) for name, s in splits.items() for row in s.dev[:HEAT_ROWS]]
        heat = self._heat(NameMatcher(as_stored(arrays)), side, measured or self._titles_to_measure_on(), at)
        return {**arrays, "heat": heat}, {"retail_demo": [len(shelf), 0, 0], **_counts(titles, [])}

    def _heat(
        self, matcher: NameMatcher, side: NameSide, measured: list[tuple[str, str, str]], at: dict[str, int]
    ) -> NDArray[np.float32]:
        """Chosen on equally many development rows of each set, so that no set's kind of title decides alone.
        measured: (label map, text, label)."""
        vectors = matcher.vectors(side)
        rows = [(text, self._allowed(source, label, at)) for source, text, label in measured]
        rows = [(text, allowed) for text, allowed in rows if len(allowed)]
        encoded = self._encode("dev", [text for text, _ in rows])
        scores = np.stack([matcher.scores(each, vectors) for each in encoded])
        return np.array([best_heat(scores, [allowed for _, allowed in rows])], np.float32)

    def _titles_to_measure_on(self) -> list[tuple[str, str, str]]:
        """Where no set has labels of categories: titles of the attribute sets, whose categories are broad."""
        rows = corpora.attribute_split(self.data).dev
        return [(TITLES, row.title, row.category) for row in rows]

    def _allowed(self, source: str, label: str, at: dict[str, int]) -> NDArray[np.int64]:
        nodes = self.maps.nodes(source, label)
        spread = {each for node in nodes for each in self.taxonomy.under(node)}
        return np.array(sorted(at[node] for node in spread), np.int64)

    def _listings(self, name: str, rows: list[tuple[str, NDArray[np.int64]]]) -> list[Listing]:
        rows = [(text, allowed) for text, allowed in rows if len(allowed)]
        encoded = self._encode(name, [text for text, _ in rows])
        return [Listing(e, allowed, SOURCE_WEIGHTS[name]) for e, (_, allowed) in zip(encoded, rows, strict=True)]

    def _name_listings(self, *languages: Sequence[str]) -> list[Listing]:
        found: list[Listing] = []
        for texts in languages:
            rows = [np.array([at], np.int64) for at in range(len(texts))]
            encoded = self._encode("names", texts)
            found += [Listing(e, row, SOURCE_WEIGHTS["names"]) for e, row in zip(encoded, rows, strict=True)]
        return found

    def _attributes(self) -> list[Measure]:
        split = corpora.attribute_split(self.data)
        rows = [row for row in split.dev if row.ask]
        predictors = self._predictors()
        readings = predictors.read("listings", [attribute_text(row) for row in rows], [row.ask for row in rows])
        whole = [(row, each[0]) for row, each in zip(rows, readings, strict=True) if len(each) == 1]
        arrays, meta = fit_attribute_thresholds(predictors.tagger, [r for r, _ in whole], [x for _, x in whole])
        # Not of dev: what is stated there is to be measured.
        stated = stated_right(split.train, predictors.schema.other_names)
        meta |= {"stated": stated_score(*stated), "statements": list(stated)}
        meta |= {"rows": _counts(split.train, split.dev), "dropped": split.dropped}
        save_head(self.out, "attributes", arrays, meta)
        dev = self._measured("attributes", "attributes/dev.jsonl.gz") + self._names_never_seen()
        return self._save("attributes", arrays, meta, dev)

    def _names_never_seen(self) -> list[Measure]:
        _, rows = stated_rows(self.data, STATED_SEED)
        answers = self._predictors().attributes(rows)
        gold = [pairs_of(row.values) for row in rows]
        return [f1_measure(NEVER_SEEN, gold, evaluate.pairs_said(answers))] if rows else []

    def _spans(self) -> list[Measure]:
        split = corpora.span_split(self.data)
        predictors = self._predictors()
        if not split.train:
            return self._spans_like_attributes(predictors)
        train = self.cache.encode([row.text for row in split.train], True, self._step("sentences"))
        own = fit_span_tagger(
            [(row, make_units(row.text, each)) for row, each in zip(split.train, train, strict=True)],
            self._step("fit spans"),
        )
        texts = [row.text for row in split.dev]
        read, encoded = predictors.read("sentences", texts, [PROMPTS] * len(texts)), self.cache.encode(texts, True)
        arrays, meta = fit_span_thresholds(predictors.tagger, own, split.dev, [each[0] for each in read], encoded)
        meta["rows"] = {"spans_zh": [len(split.train), len(split.dev), split.dropped]}
        save_head(self.out, "spans", arrays, meta)
        return self._save("spans", arrays, meta, self._measured("spans", "spans_zh/dev.bieos.gz"))

    def _spans_like_attributes(self, predictors: Predictors) -> list[Measure]:
        """No sentences: PROMPTS are asked as attributes are, with their threshold and calibration. Not measured."""
        head = load_head(self.out, "attributes")
        return self._save(
            "spans", {"platt": head.arrays["platt"]}, {"least": head.meta["first"], "rows": head.meta["rows"]}, []
        )

    def _keywords(self) -> list[Measure]:
        """On dev rows only: on its own training rows the heads below are surer than they will ever be again."""
        rows = [*corpora.attribute_split(self.data).dev]
        rows += [evaluate.span_as_listing(row) for row in corpora.span_split(self.data).dev]
        judged = self._keyword_rows([row for row in rows if _half(row) == 0])
        arrays, meta = fit_keywords([row for _, row in judged])
        save_head(self.out, "keywords", arrays, meta)
        measured = [row for row in rows if _half(row) == 1]
        sides = [source for source, _ in judged], [row.source for row in measured]
        counts = rows_by_set(list(zip(sides, (0, 1), strict=True)))
        answers = evaluate.keyword_answers(measured, self._predictors())
        return self._save("keywords", arrays, {**meta, "rows": counts}, evaluate.keyword_measures(answers))

    def _keyword_rows(self, rows: list[AttributeRow]) -> list[tuple[str, KeywordRow]]:
        bare = [AttributeRow(row.title, row.description, (), {}) for row in rows]
        seen = self._predictors().seen(bare)
        golds = [
            gold_words(text, [v for vs in row.values.values() for v in vs])
            for row, (text, *_) in zip(rows, seen, strict=True)
        ]
        return [(row.source, KeywordRow(*each, gold)) for row, each, gold in zip(rows, seen, golds, strict=True)]

    def _tags(self) -> list[Measure]:
        rows = corpora.attribute_split(self.data)
        copy = weak.copy_rows(self.data)[:COPY_ROWS]
        some = sample(rows.train, TAG_ROWS, attribute_text)
        made, by_hand = make_pairs([*some, *copy]), labelled_by_hand()
        pairs = [*made, *by_hand]
        predictors = self._predictors()
        signs = predictors.tag_signs("pairs", [pair.said for pair in pairs])
        counts = np.repeat([1.0, HAND_COUNT], [len(made), len(by_hand)])
        arrays = fit_tag_head(np.stack(signs), [pair.label for pair in pairs], counts)
        counted = _counts([*some, *copy], rows.dev) | {"pairs by hand": [len(by_hand), 0, 0]}
        meta = {"rows": counted, "dropped": rows.dropped}
        save_head(self.out, "tags", arrays, meta)
        dev = [TagRow(row.said.text, "", row.said.name, row.said.value, row.label) for row in make_pairs(rows.dev)]
        return self._save("tags", arrays, meta, evaluate.tag_measures(dev, self._predictors()))

    def _safety(self) -> list[Measure]:
        sets = corpora.safety_sets(self.data)
        listings = corpora.attribute_split(self.data).train[: HARMLESS_TITLES // 2]
        stores = corpora.category_split(self.data, corpora.CATEGORY_SETS[0]).train[: HARMLESS_TITLES // 2]
        titles = [*(row.title for row in listings), *(row.text for row in stores)]
        rows = [(row.text, int(row.label)) for each in sets for row in each.split.train if row.label]
        rows += [(title, 0) for title in titles]
        features = features_of(self._encode("safety", [text for text, _ in rows]))
        self.report("fit safety", 0, 1)
        truth = np.array([label for _, label in rows], np.int64)
        arrays = fit_softmax(features, [text for text, _ in rows], truth, 2, SAFETY_COST)
        first = next(each for each in sets if each.split.train)  # COLD where it may be used
        arrays = self._heated(arrays, ["0", "1"], [row for row in first.split.dev if row.label])
        self.report("fit safety", 1, 1)
        counts = {each.name: [len(each.split.train), len(each.split.dev), each.split.dropped] for each in sets}
        meta = {"rows": counts | _counts(listings, []) | {"zh_store_titles": [len(stores), 0, 0]}}
        save_head(self.out, "safety", arrays, meta)
        return self._save("safety", arrays, meta, self._safety_scores(sets))

    def _safety_scores(self, sets: list[corpora.LabelledSet]) -> list[Measure]:
        predictors = self._predictors()
        dev: list[Measure] = []
        for each in sets:
            kept = [row for row in each.split.dev if row.label]
            if not kept:
                continue
            measures = evaluate.safety_measures(kept, predictors)
            dev += [msgspec.structs.replace(m, name=f"{each.name}: {m.name}") for m in measures]
        return dev

    def _measured(self, task: str, file: str) -> list[Measure]:
        return evaluate.evaluate(task, self.data / file, None, self._predictors(), self.taxonomy, self.maps).measures


def _counts(train: Sequence[AttributeRow], dev: Sequence[AttributeRow]) -> dict[str, list[int]]:
    """By set; how many were dropped is known of all sets together only, and stands beside them."""
    return rows_by_set([([row.source for row in side], at) for at, side in enumerate((train, dev))])


def _half(row: AttributeRow) -> int:
    return number_of(f"half {row.title}") % 2
