"""Safety: the probability that a text is harmful (hate, offence), over wording and the encoder's features."""

from __future__ import annotations

from inference.model.encoder import Encoded
from inference.tasks.linear import Linear
from inference.tasks.weights import HeadFile

LABELS = ("harmless", "harmful")


class SafetyHead:
    """arrays: those of Linear, with the labels above."""

    def __init__(self, file: HeadFile) -> None:
        self._linear = Linear(LABELS, file.arrays)

    def harmful(self, encoded: Encoded, text: str) -> float:
        """Probability in [0, 1]; 1 is harmful."""
        return float(self._linear.probabilities(encoded.features, text)[1])
