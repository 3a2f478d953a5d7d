"""Makes a weights folder's encoder an 8-bit one: measures its ranges on the training sides of the data sets."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from inference.contract import ENCODER_MODEL
from inference.model.backbone import ROLES, backbone_of, ranges_file
from inference.model.encoder import TEXT_LIMIT, make_batches
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
    texts, asked = _texts(data), _asked(data)
    save_record(weights, RANGES, rows_by_set([([name for name, _ in texts], 0), ([name for name, _, _ in asked], 0)]))
    written = []
    for role in ROLES:
        backbone = backbone_of(weights, role)
        tokenizer = build_tokenizer(backbone.pieces)
        if role == ENCODER_MODEL:
            batches = make_batches(UnigramTokenizer(tokenizer, TEXT_LIMIT).encode([text for _, text in texts]))
        else:
            characters = UnigramTokenizer(single_ideographs(tokenizer), LIMIT)
            prompts = make_prompts(characters, [text for _, text, _ in asked], [names for _, _, names in asked])
            batches = make_batches([prompt.tokens for prompt in prompts])
        random.Random(SEED).shuffle(batches)
        found = measure_ranges(backbone, batches, partial(report, f"{role} ranges"))
        save_ranges(weights / ranges_file(role), found)
        written.append(weights / ranges_file(role))
    return written


def _texts(data: Path) -> list[tuple[str, str]]:
    """(set, text) of every set, as they are."""
    texts = []
    for titles in corpora.CATEGORY_SETS:
        texts += [(titles.name, row.text) for row in corpora.category_split(data, titles).train[:ROWS]]
    for safety in corpora.safety_sets(data):
        texts += [(safety.name, row.text) for row in safety.split.train[:ROWS]]
    texts += [(row.source, attribute_text(row)) for row in corpora.attribute_split(data).train[:ROWS]]
    return texts + [(corpora.SPANS, row.text) for row in corpora.span_split(data).train[:ROWS]]


def _asked(data: Path) -> list[tuple[str, str, Sequence[str]]]:
    """(set, text, names asked of it)."""
    rows = corpora.attribute_split(data).train
    rows = random.Random(SEED).sample(rows, min(ROWS, len(rows)))
    asked: list[tuple[str, str, Sequence[str]]] = [(row.source, attribute_text(row), row.ask) for row in rows]
    return asked + [(corpora.SPANS, row.text, PROMPTS) for row in corpora.span_split(data).train[:ROWS]]
