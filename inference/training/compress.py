"""Makes a weights folder's encoder an 8-bit one: measures its ranges on the training sides of the data sets."""

from __future__ import annotations

import random
from pathlib import Path

from inference.model.backbone import backbone_of
from inference.model.encoder import TEXT_LIMIT, Batch, make_batches
from inference.model.prompt import LIMIT, make_prompts
from inference.model.ranges import RANGES_FILE, save_ranges
from inference.model.tokenizer import UnigramTokenizer, build_tokenizer, single_ideographs
from inference.tasks.spans import PROMPTS
from inference.training import corpora
from inference.training.measure_ranges import Report, measure_ranges
from inference.training.tagging import attribute_text

ROWS = 60
"""Of each kind of text; they come to about 12,000 tokens, of which half are looked at."""
SEED = 20261125


def compress(data: Path, weights: Path, report: Report) -> Path:
    """The file of ranges, written. Raises Misconfigured, DataError, OSError."""
    backbone = backbone_of(weights)
    words = UnigramTokenizer(build_tokenizer(backbone.pieces), TEXT_LIMIT)
    characters = UnigramTokenizer(single_ideographs(build_tokenizer(backbone.pieces)), LIMIT)
    batches = _batches(data, words, characters)
    random.Random(SEED).shuffle(batches)
    save_ranges(weights / RANGES_FILE, measure_ranges(backbone, batches, report))
    return weights / RANGES_FILE


def _batches(data: Path, words: UnigramTokenizer, characters: UnigramTokenizer) -> list[Batch]:
    """Texts as they are and with the names asked of them, of every set."""
    texts = []
    for titles in corpora.CATEGORY_SETS:
        texts += [row.text for row in corpora.category_split(data, titles).train[:ROWS]]
    for safety in corpora.safety_sets(data):
        texts += [row.text for row in safety.split.train[:ROWS]]
    rows, sentences = corpora.attribute_split(data).train, corpora.span_split(data).train[:ROWS]
    rows = random.Random(SEED).sample(rows, min(ROWS, len(rows)))
    asked = [attribute_text(row) for row in rows] + [row.text for row in sentences]
    names = [row.ask for row in rows] + [PROMPTS] * len(sentences)
    prompts = make_prompts(characters, asked, names)
    return make_batches(words.encode(texts)) + make_batches([prompt.tokens for prompt in prompts])
