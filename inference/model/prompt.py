"""A text and the names that are asked of it, as one input: text, end, name, end, name, end.

The names are read together with the text, so each is understood by what the listing is about, and a stretch that
could be two things is weighed between them. The text comes first: its positions do not depend on what is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.model.tokenizer import Tokens, UnigramTokenizer

LIMIT = 384
"""Tokens. The longest listings of the training data (966 characters, 20 names) take 340."""
KEYWORDS = {"en": "Keyword", "zh": "关键词"}
"""Names that stand for every value, brand and product word of a text, whatever attribute it belongs to."""
NAMES_A_PROMPT = 24
"""Names asked at once: the most in training is 20. More are asked in further prompts."""
TOKENS_A_NAME = 12
"""What is read of a name; the longest of the training data has 9."""

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Prompt:
    """tokens: of the whole input; offsets are in the text, and 0 for names. text: tokens of the text, both ends
    included. places: (first, end) token of each name, half open."""

    tokens: Tokens
    text: int
    places: tuple[tuple[int, int], ...]


def make_prompt(text: Tokens, names: Sequence[Tokens]) -> Prompt:
    """One input. text and names as the tokenizer gives them, begin and end tokens included; the text is cut
    so that the names fit. Raises ValueError for more than NAMES_A_PROMPT names."""
    if len(names) > NAMES_A_PROMPT:
        raise ValueError(f"names: at most {NAMES_A_PROMPT} a prompt; got {len(names)}")
    end = text.ids[-1:]
    read = [each.ids[1:-1][:TOKENS_A_NAME] for each in names]
    room = LIMIT - sum(len(ids) + 1 for ids in read)
    ids, offsets = text.ids, text.offsets
    if len(ids) > room:
        ids, offsets = np.concatenate([ids[: room - 1], end]), np.concatenate([offsets[: room - 1], offsets[-1:]])
    parts, places, at = [ids], [], len(ids)
    for name in read:
        places.append((at, at + len(name)))
        parts += [name, end]
        at += len(name) + 1
    whole = np.zeros((at, 2), np.int32)
    whole[: len(ids)] = offsets
    tokens = Tokens(np.concatenate(parts), whole, text.truncated or len(text.ids) > room)
    return Prompt(tokens, len(ids), tuple(places))


def make_prompts(tokenizer: UnigramTokenizer, texts: Sequence[str], asked: Sequence[Sequence[str]]) -> list[Prompt]:
    """A prompt a text. Raises ValueError for too many names, UnicodeEncodeError for lone surrogates."""
    known = name_tokens(tokenizer, [name for names in asked for name in names])
    tokens = tokenizer.encode(texts)
    return [make_prompt(text, [known[name] for name in names]) for text, names in zip(tokens, asked, strict=True)]


def name_tokens(tokenizer: UnigramTokenizer, names: Sequence[str]) -> Mapping[str, Tokens]:
    """Tokens of each distinct name; lower case, as a name's case says nothing."""
    distinct = list(dict.fromkeys(names))
    return dict(zip(distinct, tokenizer.encode([name.lower() for name in distinct]), strict=True))


def name_vectors(states: NDArray[np.float32], prompt: Prompt) -> NDArray[np.float32]:
    """Mean state of each name's tokens [N, hidden]; states [T, hidden] of the whole prompt."""
    found = [states[first:end].mean(0) if end > first else states[0] for first, end in prompt.places]
    return np.stack(found) if found else np.zeros((0, states.shape[1]), np.float32)
