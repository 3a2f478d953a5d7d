"""How the states that the encoder's matrices are multiplied with are rounded to 8 bits, measured once on training text.

Measured ranges are what makes quantisation static: with a scale chosen from the batch at hand (dynamic quantisation) a
row's result would depend on its batch mates. Channels of a state differ a hundredfold, so each is divided by a factor
of its own before it is rounded, and the matrix's row is multiplied with it (SmoothQuant: Xiao and others,
arXiv:2211.10438).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.errors import Misconfigured

LEVELS = 255
LOW_HIGH, FACTORS = "~range", "~factors"


@dataclass(frozen=True)
class Range:
    """factors: fp32, one a channel. Of what is left after division by them, values from low to high are told apart,
    0 exactly; those outside count as the nearest."""

    low: float
    high: float
    factors: NDArray[np.float32]

    def quantisation(self) -> tuple[np.float32, np.uint8]:
        """Scale and zero point."""
        low, high = min(self.low, 0.0), max(self.high, 0.0)
        scale = max(high - low, 1e-6) / LEVELS
        return np.float32(scale), np.uint8(round(-low / scale))

    def rounded(self, states: NDArray[np.float32]) -> NDArray[np.float32]:
        """States [N, channels] as they come back from 8 bits, still divided by the factors."""
        scale, zero = self.quantisation()
        levels = np.rint(states / self.factors / scale) + int(zero)
        return np.asarray((np.clip(levels, 0, LEVELS) - int(zero)) * scale, np.float32)


def save_ranges(path: Path, ranges: Mapping[str, Range]) -> None:
    """Factors as fp16: they are exact by definition, whatever they are."""
    arrays: dict[str, NDArray[np.generic]] = {}
    for name in sorted(ranges):
        arrays[name + LOW_HIGH] = np.array([ranges[name].low, ranges[name].high], np.float32)
        arrays[name + FACTORS] = ranges[name].factors.astype(np.float16)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def load_ranges(path: Path) -> dict[str, Range]:
    """By the name of the state in the graph. Raises Misconfigured."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = sorted({name.rsplit("~", 1)[0] for name in arrays.files})
            ends = {name: arrays[name + LOW_HIGH].tolist() for name in names}
            return {n: Range(low, high, arrays[n + FACTORS].astype(np.float32)) for n, (low, high) in ends.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Misconfigured(f"{path}: no readable ranges: {error}") from None
