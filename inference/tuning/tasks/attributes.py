"""Values of asked attributes, and weak labels of the same kind: brands of offers, attributes of Chinese ad copy."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor, nn

from inference.errors import Misconfigured
from inference.model.prompt import KEYWORDS, name_tokens
from inference.tasks.attributes import accept, distinct_values
from inference.tasks.spans import LABELS
from inference.tasks.units import make_frame
from inference.tasks.words import CHINESE
from inference.training import corpora, weak
from inference.training.data import AttributeRow, SpanRow, read_attribute_rows
from inference.training.metrics import f1
from inference.training.perturb import Kind, perturb
from inference.training.rules_zh import BRAND, NEVER, PRODUCT, values_by_wording
from inference.training.splits import normal_form, split_by_group
from inference.training.tagging import attribute_text, bioes, pairs_of, places_of
from inference.tuning.augment import more_listings
from inference.tuning.backbone import Hidden
from inference.tuning.extraction import HEAD, LEAST, Asked, found_in, item_of, new_head, shuffled, tagger_loss
from inference.tuning.task import Encode, Item, Loading

STRANGERS = 4
"""Names of other rows that half of the training rows are asked as well: a listing of a shop lacks most of what its
category could have, while a third of the training rows have everything that is asked."""
KEYWORD_SHARE = 0.5
"""Of the training items that are asked for keywords as well."""
ASKED = 4
RARE, RARE_TIMES = 30, 2
"""Names with fewer values: on development rows F1 was 0.31 to 0.69 for them, 0.86 for those with a hundred."""
COPIES = 2
"""Items made of each training row, with names in another order."""


def items_of(
    rows: Sequence[AttributeRow],
    loading: Loading,
    seed: int,
    training: bool,
    copies: int = COPIES,
    strangers: int = STRANGERS,
) -> list[Item]:
    """One item a row and copy; development rows are asked in their own order and nothing else."""
    rng = random.Random(seed)
    everything = sorted({name for row in rows for name in row.ask})
    names = name_tokens(loading.characters, [*everything, *KEYWORDS.values()])
    texts = [attribute_text(row) for row in rows]
    items = []
    for row, text, tokens in zip(rows, texts, loading.characters.encode(texts), strict=True):
        frame = make_frame(text, tokens.offsets)
        if not row.ask or not len(frame):
            continue
        for copy in range(copies if training else 1):
            ask = list(row.ask)
            if training and (copy % 2 or (copies == 1 and rng.random() < 0.5)):
                ask += [n for n in rng.sample(everything, min(strangers, len(everything))) if n not in row.ask]
            if training and rng.random() < KEYWORD_SHARE:
                ask.append(KEYWORDS["zh" if CHINESE.search(text) else "en"])
            order = shuffled(ask, rng) if training else list(range(len(ask)))[:24]
            asked = [ask[at] for at in order]
            tags = np.array([bioes(places_of(text, frame, _gold(row, n)), len(frame)) for n in asked], np.int64)
            items.append(item_of(row, text, tokens, [(n, names[n]) for n in asked], frame, tags))
    return items


def items_in(loading: Loading, kind: Kind) -> list[Item]:
    """The development rows in another spelling."""
    return items_of(perturb(corpora.attribute_split(loading.data).dev, kind), loading, 1, False)


def _gold(row: AttributeRow, name: str) -> Sequence[str]:
    """Values of a name; of KEYWORDS those of all names."""
    if name in KEYWORDS.values():
        return [value for values in row.values.values() for value in values]
    return row.values.get(name, ())


def with_rare_names(rows: Sequence[AttributeRow]) -> list[AttributeRow]:
    """Those with a value of a name that has fewer than RARE among all of them."""
    seen = Counter(name for row in rows for name, values in row.values.items() if values)
    return [row for row in rows if any(values and seen[name] < RARE for name, values in row.values.items())]


class Attributes:
    """The labelled rows; those with rare names RARE_TIMES more."""

    name, head_name, text = "attributes", HEAD, False

    def load(self, loading: Loading) -> tuple[list[Item], list[Item]]:
        split = corpora.attribute_split(loading.data)
        train = items_of(split.train, loading, 1, True)
        train += items_of(with_rare_names(split.train), loading, 6, True, copies=RARE_TIMES * COPIES)
        if loading.augment:
            train += items_of(more_listings(split.train, loading.seed), loading, loading.seed, True, copies=1)
        return train, items_of(split.dev, loading, 1, False)

    def head(self) -> nn.Module:
        return new_head()

    def loss(self, head: nn.Module, hidden: Hidden, items: Sequence[Item]) -> Tensor:
        return tagger_loss(head, hidden, items)

    def score(self, head: nn.Module, items: Sequence[Item], encode: Encode) -> dict[str, float]:
        """Micro F1 at one half, all and by source."""
        gold: dict[str, list[set[tuple[str, str]]]] = {}
        said: dict[str, list[set[tuple[str, str]]]] = {}
        for item, found in zip(items, found_in(head, items, encode), strict=True):
            body: Asked = item.body
            row = body.row
            assert isinstance(row, AttributeRow)
            values = {
                name: distinct_values(body.text, body.frame, accept(each, LEAST, LEAST))
                for name, each in zip(body.names, found, strict=True)
            }
            for key in ("", row.source):
                gold.setdefault(key, []).append(pairs_of(row.values))
                said.setdefault(key, []).append(pairs_of(values))
        return {f"f1 {key}".strip(): f1(gold[key], said[key]) for key in gold}


class Weak(Attributes):
    """Labels that other sets imply: a value that stands in the text, a name whose value does not."""

    name = "weak"

    def load(self, loading: Loading) -> tuple[list[Item], list[Item]]:
        rows = [
            *weak.copy_rows(loading.data),
            *weak.offer_rows(loading.data),
            *weak.unbranded_rows(loading.data),
            *weak.fashion_rows(loading.data),
        ]
        split = split_by_group(rows, lambda row: normal_form(row.title), attribute_text)
        return items_of(split.train, loading, 2, True), items_of(split.dev, loading, 2, False)


class Worded(Attributes):
    """Chinese sentences and titles with values that their wording gives away (training/rules_zh.py)."""

    name = "worded"

    def load(self, loading: Loading) -> tuple[list[Item], list[Item]]:
        spans = corpora.span_split(loading.data)
        titles = corpora.category_split(loading.data, corpora.CATEGORY_SETS[0])
        rng = random.Random(loading.seed)
        train = [_worded(row, rng) for row in spans.train]
        train += [_worded(SpanRow(row.text), rng) for row in titles.train]
        dev = [_worded(row, rng) for row in spans.dev]
        return items_of(train, loading, 3, True, copies=1, strangers=0), items_of(dev, loading, 3, False)


def _worded(row: SpanRow, rng: random.Random) -> AttributeRow:
    """Asked: ASKED names with values and as many without, and product and brand where they are labelled."""
    values = values_by_wording(row.text, [(start, end) for start, end, _ in row.spans])
    found = [name for name, each in values.items() if each]
    absent = [*(name for name, each in values.items() if not each), *NEVER]
    ask = rng.sample(found, min(ASKED, len(found))) + rng.sample(absent, ASKED)
    if row.spans:
        for name, label in zip((PRODUCT, BRAND), LABELS, strict=True):
            values[name] = tuple(row.text[start:end] for start, end, of in row.spans if of == label)
        ask += [PRODUCT, BRAND]
    return AttributeRow(row.text, "", tuple(ask), {name: values.get(name, ()) for name in ask}, "worded")


class Pseudo(Attributes):
    """Rows that a version has labelled (training/pseudo.py)."""

    name = "pseudo"

    def load(self, loading: Loading) -> tuple[list[Item], list[Item]]:
        if loading.pseudo is None:
            raise Misconfigured("pseudo: for the task of that name the file that `models label` wrote; got none")
        rows = [replace(row, source=self.name) for row in read_attribute_rows(loading.pseudo)]
        split = split_by_group(rows, lambda row: normal_form(row.title), attribute_text)
        return items_of(split.train, loading, 4, True, copies=1, strangers=0), items_of(split.dev, loading, 4, False)


TASKS = (Attributes(), Weak(), Worded(), Pseudo())
