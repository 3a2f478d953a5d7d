"""Masked-language modelling on unlabelled product text (Devlin et al. 2019), whole words at a time (Cui et al. 2021).

Prompts are read with every ideograph a token of its own, which the backbone never was; guessing whole Chinese words
from their surroundings teaches it to. No part of it is served: what is kept is the adapter that a later run starts
from.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from inference.model.tokenizer import Tokens
from inference.model.vocabulary import SPECIALS
from inference.tasks.words import CHINESE, words_of
from inference.tuning.backbone import Hidden
from inference.tuning.task import Encode, Item, Loading, device_of
from inference.tuning.texts import all_texts

NOT_OF_PRODUCTS = ("cold_zh", "hate_en")
TOKENS = 128
"""Read of a text: nine in ten are shorter, and a batch holds eight of these."""
SHORTEST = 8
"""Tokens of a text: of less nothing can be guessed."""
MASKED = 0.15
"""Of the words; of those eight in ten are masked, one is another piece and one is left as it is."""
UNSEEN = 100
"""Development texts of each set."""
WIDTH = 384
UNKNOWN = 3
"""Stands for what is masked: the backbone's own mask piece is not among those that were kept."""


@dataclass(frozen=True)
class Guessed:
    """The body of an item. places: tokens that were masked; truth: the pieces that stood there."""

    source: str
    places: NDArray[np.int64]
    truth: NDArray[np.int64]


class Guess(nn.Module):
    """States to the pieces of the vocabulary, by the backbone's own word embeddings. words: fp32 [V, 384], frozen."""

    def __init__(self, words: NDArray[np.float32]) -> None:
        super().__init__()
        self.turn = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.LayerNorm(WIDTH))
        self.bias = nn.Parameter(torch.zeros(len(words)))
        self.register_buffer("words", torch.from_numpy(words), persistent=False)

    def forward(self, states: Tensor) -> Tensor:
        """Logits [M, V] of states [M, 384]."""
        assert isinstance(self.words, Tensor)
        logits: Tensor = self.turn(states) @ self.words.T + self.bias
        return logits


class Masked:
    """The texts of all sets about products."""

    name, head_name, text = "masked", "masked", False

    def load(self, loading: Loading) -> tuple[list[Item], list[Item]]:
        texts = all_texts(loading.data)
        self._words = loading.words_of_backbone()
        rng = random.Random(loading.seed)
        train, unseen = (
            [
                item
                for name, each in side.items()
                if name not in NOT_OF_PRODUCTS
                for item in items_of(name, each[:most], loading, len(self._words), rng)
            ]
            for side, most in ((texts.train, None), (texts.unseen, UNSEEN))
        )
        return train, unseen

    def head(self) -> nn.Module:
        return Guess(self._words)

    def loss(self, head: nn.Module, hidden: Hidden, items: Sequence[Item]) -> Tensor:
        """Nats a masked token."""
        states = [hidden.states[row, item.body.places] for row, item in enumerate(items)]
        truth = np.concatenate([item.body.truth for item in items])
        return nn.functional.cross_entropy(head(torch.cat(states)), torch.from_numpy(truth).to(hidden.states.device))

    def score(self, head: nn.Module, items: Sequence[Item], encode: Encode) -> dict[str, float]:
        """Share of masked tokens that are guessed, all and by set."""
        right: dict[str, list[bool]] = {}
        for item, (states, _) in zip(items, encode(items), strict=True):
            body: Guessed = item.body
            with torch.no_grad():
                said = head(torch.from_numpy(states[body.places]).to(device_of(head))).argmax(-1).cpu().numpy()
            for key in ("", body.source):
                right.setdefault(key, []).extend((said == body.truth).tolist())
        return {f"accuracy {key}".strip(): float(np.mean(each)) for key, each in right.items()}


def items_of(source: str, texts: Sequence[str], loading: Loading, vocabulary: int, rng: random.Random) -> list[Item]:
    """One item a text that is long enough."""
    items = []
    for text, tokens in zip(texts, loading.characters.encode(texts), strict=True):
        if len(tokens.ids) >= SHORTEST:
            items.append(mask(source, text, tokens, vocabulary, rng))
    return items


def mask(source: str, text: str, tokens: Tokens, vocabulary: int, rng: random.Random) -> Item:
    """MASKED of the words, one at least, hidden in the first TOKENS tokens."""
    ids = tokens.ids.copy()
    if len(ids) > TOKENS:
        ids = np.concatenate([ids[: TOKENS - 1], ids[-1:]])
    groups = _groups(text, tokens.offsets[: len(ids) - 1])
    chosen = rng.sample(groups, max(1, round(MASKED * len(groups)))) if groups else []
    places = np.array(sorted(at for group in chosen for at in group), np.int64)
    truth = ids[places].astype(np.int64)
    for at in places.tolist():
        drawn = rng.random()
        if drawn < 0.9:
            ids[at] = UNKNOWN if drawn < 0.8 else rng.randrange(SPECIALS, vocabulary)
    return Item(ids, Guessed(source, places, truth), source)


def _groups(text: str, offsets: NDArray[np.int32]) -> list[list[int]]:
    """Tokens of each word: a dictionary's words in Chinese text, else what spaces part."""
    if CHINESE.search(text):
        spans = [(word.start, word.end) for word in words_of(text)]
    else:
        spans = [match.span() for match in re.finditer(r"\S+", text)]
    groups: list[list[int]] = [[] for _ in spans]
    at = 0
    for token, (start, end) in enumerate(offsets.tolist()):
        if token == 0 or end <= start:
            continue
        while at < len(spans) - 1 and spans[at][1] <= start:
            at += 1
        if spans and spans[at][0] < end and start < spans[at][1]:
            groups[at].append(token)
    return [group for group in groups if group]


TASKS = (Masked(),)
