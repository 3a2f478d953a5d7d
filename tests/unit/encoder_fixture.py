"""The real encoder, assembled once for all tests that need it (about four seconds, then from the cache)."""

from __future__ import annotations

import shutil
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from inference.model.assemble import assemble_both, assemble_exact
from inference.model.encoder import Encoder
from inference.model.vocabulary import VOCABULARY_FILE
from inference.tasks.weights import DEFAULT_WEIGHTS

CACHE = Path(__file__).parents[2] / "build" / "cache"


@lru_cache(maxsize=1)
def exact_encoder() -> Encoder:
    """The shipped adapters without rounding: what the served encoder is compared with."""
    return Encoder.load(*assemble_exact(CACHE, DEFAULT_WEIGHTS), 1)


@lru_cache(maxsize=1)
def untuned_encoder() -> Encoder:
    """The backbone as it was pretrained, on the shipped vocabulary, without rounding."""
    with TemporaryDirectory() as weights:
        shutil.copy(DEFAULT_WEIGHTS / VOCABULARY_FILE, weights)
        return Encoder.load(*assemble_both(CACHE, Path(weights)), 1)


@lru_cache(maxsize=1)
def real_encoder() -> Encoder:
    """One session of one thread, shared by the tests of a process."""
    return Encoder.load(*assemble_both(CACHE, DEFAULT_WEIGHTS), 1)
