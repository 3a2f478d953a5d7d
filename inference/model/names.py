"""Encoded names: of the taxonomy's nodes and of the schema's attributes, encoded once when a model is built."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.model.encoder import Encoded

LANGUAGES = ("en", "zh")
NAME_KEYS = tuple(f"{kind}.{language}" for kind in ("node", "attribute") for language in LANGUAGES)
"""What a version's names file holds: names of taxonomy nodes and of the schema's attributes."""
KEPT = 4_096
"""Names asked at run time that are kept: a platform asks for the same few hundred again and again; 30 MB."""

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


class NameCache:
    """Encoded names that were asked at run time and are not in the schema; the longest unused goes first.

    What a name is encoded to does not depend on its batch, so a cached one gives the same answer.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._found: OrderedDict[str, Encoded] = OrderedDict()

    def known(self, names: Iterable[str]) -> dict[str, Encoded]:
        """Those of the names that are kept; they count as used now."""
        found = {name: self._found[name] for name in names if name in self._found}
        for name in found:
            self._found.move_to_end(name)
        return found

    def add(self, encoded: Mapping[str, Encoded]) -> None:
        """Keep these, and forget the longest unused beyond the bound."""
        self._found.update(encoded)
        while len(self._found) > self._kept:
            self._found.popitem(last=False)
