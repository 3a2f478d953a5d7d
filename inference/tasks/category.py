"""Category: a node of the taxonomy by its names, or one of a given list of labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.model.encoder import Encoded
from inference.model.names import Names
from inference.tasks.linear import Linear, softmax
from inference.tasks.weights import HeadFile
from inference.taxonomy import Taxonomy

LINEAR = ("mean", "scale", "idf", "dense", "sparse", "bias", "temperature")
SHOP = ("shop_idf", "shop")
"""What a set whose rows name their shops has besides."""
PARENT_SHARE = 0.3
"""How much of its parent's names a node takes on: enough to tell `Cases` of phones from those of instruments,
and a node's own name stays what counts."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class NameSide:
    """What is compared with a listing. features [N, F], pooled [N, 384]: of names, averaged over languages."""

    features: Floats
    pooled: Floats


def name_side(encoded: Sequence[Encoded]) -> NameSide:
    """Of single names."""
    return NameSide(np.stack([each.features for each in encoded]), np.stack([each.pooled for each in encoded]))


def node_side(names: Sequence[Names], taxonomy: Taxonomy) -> NameSide:
    """Of taxonomy nodes, in the order of the taxonomy: their names in each language, and their parents'."""
    row = {id_: at for at, id_ in enumerate(names[0].ids)}
    own = [row[id_] for id_ in taxonomy.nodes]
    parent = [row[node.parent or node.id] for node in taxonomy]

    def blend(parts: list[Floats]) -> Floats:
        mean = np.asarray(sum(parts) / len(parts), np.float32)
        return np.asarray((1 - PARENT_SHARE) * mean[own] + PARENT_SHARE * mean[parent], np.float32)

    return NameSide(blend([each.features for each in names]), blend([each.pooled for each in names]))


class NameMatcher:
    """Scores names for a listing: q(listing) . v(name) + weight * cosine of what the encoder pooled.

    query_mean, query_scale, name_mean, name_scale [F]; query, name [F, K]; pooled_mean, name_pooled_mean [384];
    cosine [1]; heat [1]: divides the scores, so that they are calibrated.
    """

    def __init__(self, weights: dict[str, NDArray[np.float32]]) -> None:
        self._w = weights

    def vectors(self, side: NameSide) -> tuple[Floats, Floats]:
        """Names as they are compared: projected [N, K], and unit pooled vectors [N, 384]."""
        w = self._w
        projected = ((side.features - w["name_mean"]) * w["name_scale"]) @ w["name"]
        return np.asarray(projected, np.float32), unit(side.pooled - w["name_pooled_mean"])

    def scores(self, encoded: Encoded, vectors: tuple[Floats, Floats]) -> Floats:
        """Log probabilities up to a constant: [N]."""
        w = self._w
        query = ((encoded.features - w["query_mean"]) * w["query_scale"]) @ w["query"]
        cosine = vectors[1] @ unit(encoded.pooled - w["pooled_mean"])
        return np.asarray((vectors[0] @ query + w["cosine"] * cosine) / w["heat"], np.float32)


class CategoryHead:
    """meta: `sets`, the labels of each training set. arrays: those of NameMatcher, and of a Linear for each set
    under `SET.`."""

    def __init__(self, file: HeadFile) -> None:
        self.matcher = NameMatcher({name: value for name, value in file.arrays.items() if "." not in name})
        self.sets = {
            name: Linear(labels, {part: file.arrays[f"{name}.{part}"] for part in _parts(name, file)})
            for name, labels in file.meta["sets"].items()
        }

    def set_of(self, labels: Sequence[str]) -> str | None:
        """The training set that knows most of the labels; None when no set knows any."""
        known = {name: len(set(labels) & set(model.labels)) for name, model in self.sets.items()}
        best = max(known, key=lambda name: known[name], default=None)
        return best if best is not None and known[best] else None


def _parts(name: str, file: HeadFile) -> tuple[str, ...]:
    return LINEAR + SHOP if f"{name}.{SHOP[0]}" in file.arrays else LINEAR


class LabelChooser:
    """One label of a list: fitted weights for those of a training set, names compared for the others."""

    def __init__(self, head: CategoryHead, labels: Sequence[str], names: Sequence[Encoded]) -> None:
        self.labels = list(labels)
        self._matcher = head.matcher
        self._vectors = head.matcher.vectors(name_side(names))
        of = head.set_of(labels)
        self._linear = head.sets[of] if of is not None else None
        fitted = self._linear.labels if self._linear else ()
        self._known = np.array([at for at, label in enumerate(labels) if label in fitted], np.int64)
        self._columns = np.array([fitted.index(labels[at]) for at in self._known.tolist()], np.int64)

    def probabilities(self, encoded: Encoded, text: str, shop: str = "") -> Floats:
        """Of each label: [N]. shop: the name of who sells it, where it is known.

        What the names give to the known labels together is shared out by the fitted weights."""
        if self._linear is not None and len(self._known) == len(self.labels):
            by_name = np.full(len(self.labels), 1.0 / len(self.labels), np.float32)
        else:
            by_name = softmax(self._matcher.scores(encoded, self._vectors))
        if self._linear is not None and len(self._known):
            share = softmax(self._linear.log_odds(encoded.features, text, shop)[self._columns])
            by_name[self._known] = by_name[self._known].sum() * share
        return by_name


def unit(x: Floats) -> Floats:
    """Rows scaled to length 1."""
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-6), np.float32)
