"""The real encoder, assembled once for all tests that need it (about four seconds, then from the cache)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from inference.model.assemble import assemble_encoder
from inference.model.encoder import Encoder
from inference.tasks.weights import DEFAULT_WEIGHTS

CACHE = Path(__file__).parents[2] / "build" / "cache"


@lru_cache(maxsize=1)
def encoder_folder() -> Path:
    """`build/cache/encoder-ID`, named by content: a changed source makes another."""
    return assemble_encoder(CACHE, DEFAULT_WEIGHTS)


@lru_cache(maxsize=1)
def real_encoder() -> Encoder:
    """One session of one thread, shared by the tests of a process."""
    return Encoder.load(encoder_folder(), threads=1)
