"""Latencies by stage, and their quantiles."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

QUANTILES = {"p50": 50, "p99": 99}


class Latencies:
    """Milliseconds by stage. Clocks of broker, workers and observer are one machine's, so none is below zero
    by more than their resolution; what is, counts as 0."""

    def __init__(self) -> None:
        self._values: defaultdict[str, list[int]] = defaultdict(list)

    def add(self, stage: str, ms: int) -> None:
        """One observation."""
        self._values[stage].append(max(0, ms))

    def summary(self) -> dict[str, dict[str, float]]:
        """`{stage: {p50, p99}}`, ms, linear interpolation between observations; stages without any are left out."""
        return {
            stage: {name: round(float(np.percentile(values, q)), 1) for name, q in QUANTILES.items()}
            for stage, values in sorted(self._values.items())
        }
