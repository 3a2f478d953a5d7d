"""The mean of two runs of which one began where the other ended, weight for weight (Wortsman and others,
arXiv:2109.01903). It keeps more of what the first knew, and may be better than both where the second forgot some."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from inference.contract import READER_MODEL
from inference.errors import Misconfigured
from inference.model.adapter import LowRank, load_adapter, save_adapter
from inference.model.backbone import adapter_file
from inference.model.vocabulary import VOCABULARY_FILE
from inference.tasks.bundle import TAGGER
from inference.tasks.weights import load_head, save_head
from inference.training.licences import add_rows, learned_before, save_record


def mix(first: Path, second: Path, share: float, out: Path) -> None:
    """`out` gets vocabulary, adapter and tagger: `share` of the second folder's, the rest of the first's. Raises
    Misconfigured where the two do not fit together, OSError."""
    if not 0.0 <= share <= 1.0:
        raise Misconfigured(f"share: 0 to 1; got {share}")
    if (first / VOCABULARY_FILE).read_bytes() != (second / VOCABULARY_FILE).read_bytes():
        raise Misconfigured(f"second: {VOCABULARY_FILE} of the first, {first}; got another in {second}")
    one, two = (load_adapter(folder / adapter_file(READER_MODEL)) for folder in (first, second))
    mixed = {}
    for name in sorted({*one, *two}):
        a, b = one.get(name), two.get(name)
        if a is None or b is None or a.down.shape != b.down.shape:
            raise Misconfigured(f"second: an adapter of the first's shape, begun from it; {name} differs in {second}")
        # Factors and not products: both runs' stand in one basis, as the second began with the first's.
        down, up = ((1.0 - share) * x + share * y for x, y in ((a.down, b.down), (a.up, b.up)))
        mixed[name] = LowRank(np.asarray(down, np.float32), np.asarray(up, np.float32))
    heads = [load_head(folder, TAGGER).arrays for folder in (first, second)]
    tagger = {name: (1.0 - share) * value + share * heads[1].get(name, value) for name, value in heads[0].items()}
    rows = learned_before(first)
    add_rows(rows, learned_before(second))
    out.mkdir(parents=True, exist_ok=True)
    (out / VOCABULARY_FILE).write_bytes((first / VOCABULARY_FILE).read_bytes())
    save_adapter(out / adapter_file(READER_MODEL), mixed)
    save_record(out, READER_MODEL, rows)
    save_head(out, TAGGER, tagger, {"rows": rows, "mixed": {"share of the second": share}})
