"""Rounding to 8 bits: what it keeps, how factors are chosen, and the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inference.errors import Misconfigured
from inference.model.ranges import LEVELS, Range, load_ranges, save_ranges
from inference.training.measure_ranges import best_range

RNG = np.random.default_rng(11)
ONES = np.ones(3, np.float32)


def test_zero_is_exact_and_the_rest_half_a_step_off() -> None:
    each = Range(-1.3, 4.0, ONES)
    scale, zero = each.quantisation()
    assert 0 <= zero <= LEVELS
    states = RNG.uniform(-1.3, 4.0, (500, 3)).astype(np.float32)
    states[0] = 0.0
    assert not each.rounded(states)[0].any()
    assert np.abs(each.rounded(states) - states).max() <= scale * 0.51


def test_what_lies_outside_counts_as_the_nearest() -> None:
    each = Range(0.5, 2.0, ONES)  # from 0 on: 0 must be exact
    assert each.rounded(np.array([[-3.0, 1.0, 9.0]], np.float32))[0] == pytest.approx([0.0, 1.0, 2.0], abs=0.01)


def test_factors_save_small_channels_from_large_ones() -> None:
    states = RNG.normal(size=(400, 32)).astype(np.float32)
    states[:, 5] *= 80.0
    weight = RNG.normal(size=(32, 16)).astype(np.float32)
    found = best_range(states, weight)
    plain = Range(float(states.min()), float(states.max()), np.ones(32, np.float32))

    def error(each: Range) -> float:
        product = each.rounded(states) @ (weight * each.factors[:, None])
        return float(((product - states @ weight) ** 2).mean())

    assert found.factors[5] > 5 * np.median(found.factors)
    assert error(found) < error(plain) / 4


def test_the_file_gives_back_what_was_measured(tmp_path: Path) -> None:
    file = tmp_path / "ranges.npz"
    factors = np.array([0.5, 2.0, 1.25], np.float32)
    save_ranges(file, {"l0.mid": Range(-1.0, 2.5, factors), "l1.out": Range(0.0, 1.0, ONES)})
    found = load_ranges(file)
    assert sorted(found) == ["l0.mid", "l1.out"]
    assert (found["l0.mid"].low, found["l0.mid"].high) == (-1.0, 2.5)
    assert np.array_equal(found["l0.mid"].factors, factors)
    file.write_bytes(b"no zip")
    with pytest.raises(Misconfigured, match="no readable ranges"):
        load_ranges(file)
