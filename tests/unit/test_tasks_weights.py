"""Small weights on disk, metrics, and what inference may import."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.errors import Misconfigured
from inference.tasks.bundle import TASKS
from inference.tasks.weights import DEFAULT_WEIGHTS, as_stored, load_head, save_head
from inference.training import metrics
from inference.training.tagging import platt

RNG = np.random.default_rng(11)
ARRAYS: dict[str, NDArray[Any]] = {
    "big": RNG.normal(size=(300, 300)).astype(np.float32),
    "set.scale": RNG.normal(size=5).astype(np.float32),
    "set": np.arange(4),
}
SIZE_LIMIT = 10 * 1024 * 1024


def test_what_is_read_is_what_was_said_to_be_stored(tmp_path: Path) -> None:
    save_head(tmp_path, "demo", ARRAYS, {"least": 0.5, "names": ["品牌"]})
    found = load_head(tmp_path, "demo")
    assert (found.meta["least"], found.meta["names"]) == (0.5, ["品牌"])
    stored = as_stored(ARRAYS)
    assert set(found.arrays) == set(ARRAYS)
    for name in ARRAYS:
        np.testing.assert_array_equal(found.arrays[name], stored[name])
    rows = np.abs(ARRAYS["big"]).max(1, keepdims=True)
    assert (np.abs(found.arrays["big"] - ARRAYS["big"]) <= rows / 127 * 0.6).all()


def test_the_same_arrays_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        save_head(tmp_path / name, "demo", ARRAYS, {"a": 1})
    for file in ("demo.npz", "demo.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_missing_pickled_and_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="no readable weights of task demo"):
        load_head(tmp_path, "demo")
    save_head(tmp_path, "demo", ARRAYS, {})
    np.savez(tmp_path / "demo.npz", bad=np.array([{}], object))
    with pytest.raises(Misconfigured, match="no readable weights"):
        load_head(tmp_path, "demo")
    save_head(tmp_path, "demo", ARRAYS, {})
    (tmp_path / "demo.json").write_text('{"format": 99}')
    with pytest.raises(Misconfigured, match="format 1; got 99"):
        load_head(tmp_path, "demo")


def test_the_shipped_weights_are_small_whole_and_state_their_scores() -> None:
    assert sum(file.stat().st_size for file in DEFAULT_WEIGHTS.iterdir()) < SIZE_LIMIT
    for task in TASKS:
        head = load_head(DEFAULT_WEIGHTS, task)
        assert head.meta["dev"]
        assert all(np.isfinite(array).all() for array in head.arrays.values() if array.dtype.kind == "f")


def test_the_shipped_weights_reach_the_floors() -> None:
    dev = {
        measure["name"]: measure["score"]
        for task in ("category", "safety")
        for measure in json.loads((DEFAULT_WEIGHTS / f"{task}.json").read_text())["dev"]
    }
    assert dev["zh_store_titles: accuracy"] >= 0.80
    assert dev["cold_zh: accuracy"] >= 0.77


def test_inference_needs_neither_torch_nor_sklearn_nor_pydantic() -> None:
    code = (
        "import sys, inference.tasks.bundle, inference.training.answers\n"
        "print([m for m in ('torch', 'sklearn', 'scipy', 'pydantic', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_f1_and_its_interval() -> None:
    gold, predicted = [{1, 2}, {3}, set()], [{1}, {3, 4}, {5}]
    assert metrics.f1(gold, predicted) == pytest.approx(2 * 2 / (4 + 3))
    measure = metrics.f1_measure("F1", gold * 20, predicted * 20)
    assert measure.low < measure.score < measure.high
    assert measure == metrics.f1_measure("F1", gold * 20, predicted * 20)
    assert metrics.f1([set()], [set()]) == 0.0


def test_calibration_error() -> None:
    assert metrics.calibration_error([0.75] * 4, [True, True, True, False]) == pytest.approx(0.0)
    assert metrics.calibration_error([0.95] * 4, [False] * 4) == pytest.approx(0.95)
    assert metrics.calibration_error([], []) == 0.0


def test_the_sure_answers_are_those_from_the_threshold_on() -> None:
    found = metrics.sure_measure("precision", [0.95, 0.9, 0.89, 0.2], [True, False, True, True])
    assert (found.name, found.score, found.rows) == ("precision at 0.9 and more", 0.5, 2)
    none = metrics.sure_measure("precision", [0.2], [True])
    assert (none.score, none.low, none.high, none.rows) == (0.0, 0.0, 0.0, 0)


def test_slices_are_for_what_differs() -> None:
    assert metrics.slices(["zh", "en", "zh"]) == {"zh": [0, 2], "en": [1]}
    assert metrics.slices(["zh", "zh"]) == {}


def test_a_difference_is_measured_on_the_same_rows() -> None:
    rng = np.random.default_rng(5)
    hard = rng.random(400) < 0.5
    one = np.stack([hard & (rng.random(400) < 0.9), np.ones(400), np.ones(400)], 1).astype(np.float64)
    other = one.copy()
    other[:20, 0] = 1.0
    found = metrics.difference(one, other)
    assert found.score == pytest.approx(float(other[:, 0].mean() - one[:, 0].mean()), abs=1e-4)
    assert 0.0 < found.low < found.score < found.high < 0.06  # unpaired, the interval would be +-0.07 wide
    assert metrics.difference(one, one).low == metrics.difference(one, one).high == 0.0


@pytest.mark.parametrize("rows", [3, 400])
def test_calibration_stays_finite_where_scores_part_the_rows(rows: int) -> None:
    scores = np.linspace(-4.0, 4.0, rows)
    slope, offset = platt(scores, scores > 0)
    assert 0.5 < slope < 60.0
    assert abs(offset) < 60.0


def test_calibration_finds_the_line_that_made_the_rows() -> None:
    rng = np.random.default_rng(5)
    scores = rng.normal(0.0, 3.0, 20_000)
    right = rng.random(20_000) < 1.0 / (1.0 + np.exp(-(0.6 * scores - 0.5)))
    assert platt(scores, right) == pytest.approx((0.6, -0.5), abs=0.05)
