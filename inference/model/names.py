"""Encoded names of the taxonomy's nodes, encoded once when a model is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.model.encoder import Encoded

LANGUAGES = ("en", "zh")
NAME_KEYS = tuple(f"node.{language}" for language in LANGUAGES)
"""What a version's names file holds."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Names:
    """Names with what the encoder says of each: pooled fp32 [N, 384] (unit length), features fp32 [N, F]."""

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    pooled: Floats
    features: Floats

    def arrays(self, prefix: str) -> dict[str, NDArray[np.generic]]:
        """For an npz file without pickles."""
        return {
            f"{prefix}.ids": np.array(self.ids),
            f"{prefix}.texts": np.array(self.texts),
            f"{prefix}.pooled": self.pooled,
            f"{prefix}.features": self.features,
        }

    @classmethod
    def read(cls, arrays: Mapping[str, NDArray[np.generic]], prefix: str) -> Names:
        """What `arrays` wrote. Raises KeyError."""
        ids, texts = (tuple(str(x) for x in arrays[f"{prefix}.{part}"]) for part in ("ids", "texts"))
        pooled, features = (arrays[f"{prefix}.{part}"].astype(np.float32) for part in ("pooled", "features"))
        return cls(ids, texts, pooled, features)


def names_of(ids: Sequence[str], texts: Sequence[str], encoded: Mapping[str, Encoded]) -> Names:
    """Names out of what their texts were encoded to."""
    pooled = np.stack([encoded[text].pooled for text in texts])
    features = np.stack([encoded[text].features for text in texts])
    return Names(tuple(ids), tuple(texts), pooled, features)
