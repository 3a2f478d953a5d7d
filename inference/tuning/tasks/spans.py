"""Brand and product words of Chinese sentences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn

from inference.model.prompt import KEYWORDS, name_tokens
from inference.tasks.spans import LABELS, resolve
from inference.tasks.units import make_frame
from inference.training import corpora
from inference.training.data import SpanRow
from inference.training.metrics import f1
from inference.training.tagging import span_set, span_tags
from inference.tuning.augment import more_sentences
from inference.tuning.backbone import Hidden
from inference.tuning.extraction import HEAD, LEAST, Asked, found_in, item_of, new_head, tagger_loss
from inference.tuning.task import Encode, Item, Loading

PROMPTS = ("产品", "品牌")
"""What stands for HC and HP in a prompt, in the order of inference.tasks.spans.LABELS."""


def items_of(rows: Sequence[SpanRow], loading: Loading, training: bool) -> list[Item]:
    """One item a sentence that has units. training: every second one is asked for keywords as well."""
    names = list(name_tokens(loading.characters, [*PROMPTS, KEYWORDS["zh"]]).items())
    items: list[Item] = []
    for row, tokens in zip(rows, loading.characters.encode([row.text for row in rows]), strict=True):
        frame = make_frame(row.text, tokens.offsets)
        if len(frame):
            tags = span_tags(row, frame)
            if training and len(items) % 2:
                tags = np.concatenate([tags, span_tags(_as_one(row), frame)[:1]])
            items.append(item_of(row, row.text, tokens, names[: len(tags)], frame, tags))
    return items


def _as_one(row: SpanRow) -> SpanRow:
    """Brand and product words under the first label."""
    return SpanRow(row.text, tuple((start, end, LABELS[0]) for start, end, _ in row.spans))


class Spans:
    """The labelled sentences."""

    name, head_name, text = "spans", HEAD, False

    def load(self, loading: Loading) -> tuple[list[Item], list[Item]]:
        split = corpora.span_split(loading.data)
        more = more_sentences(split.train, loading.seed) if loading.augment else []
        rows = [*split.train, *more]
        return items_of(rows, loading, True), items_of(split.dev, loading, False)

    def head(self) -> nn.Module:
        return new_head()

    def loss(self, head: nn.Module, hidden: Hidden, items: Sequence[Item]) -> Tensor:
        return tagger_loss(head, hidden, items)

    def score(self, head: nn.Module, items: Sequence[Item], encode: Encode) -> dict[str, float]:
        """Entity F1 at one half."""
        gold, said = [], []
        for item, found in zip(items, found_in(head, items, encode), strict=True):
            body: Asked = item.body
            assert isinstance(body.row, SpanRow)
            gold.append(set(body.row.spans))
            said.append(span_set(body.frame, resolve(found, LEAST)))
        scores = {"f1": f1(gold, said)}
        for label in ("HC", "HP"):
            scores[f"f1 {label}"] = f1(
                *([{s for s in each if s[2] == label} for each in side] for side in (gold, said))
            )
        return scores


TASKS = (Spans(),)
