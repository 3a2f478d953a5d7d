"""The mean of two runs, weight for weight."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from inference.errors import Misconfigured
from inference.model.adapter import LowRank, load_adapter, save_adapter
from inference.model.vocabulary import save_kept
from inference.tasks.weights import load_head, save_head
from inference.training.licences import UNKNOWN, save_record
from inference.training.mix import mix
from stream.cli.models import app

RNG = np.random.default_rng(1)


def weights(folder: Path, rank: int = 2, vocabulary: int = 9) -> Path:
    folder.mkdir()
    save_kept(folder / "vocabulary.npz", np.arange(vocabulary), 20)
    change = LowRank(RNG.normal(size=(rank, 8)).astype("f4"), RNG.normal(size=(6, rank)).astype("f4"))
    save_adapter(folder / "reader.adapter.npz", {"l0.q.w": change})
    save_head(folder, "tagger", {"enter": RNG.normal(size=(4, 3)).astype("f4")}, {})
    return folder


def test_each_weight_is_the_mean_and_the_record_holds_both(tmp_path: Path) -> None:
    first, second, out = weights(tmp_path / "a"), weights(tmp_path / "b"), tmp_path / "out"
    save_record(second, "reader", {"pave": [2, 1, 0]})
    done = CliRunner().invoke(app, ["mix", str(first), str(second), "--share", "0.25", "--out", str(out)])
    assert done.exit_code == 0, done.output
    a, b, m = (load_adapter(each / "reader.adapter.npz")["l0.q.w"] for each in (first, second, out))
    np.testing.assert_allclose(m.down, 0.75 * a.down + 0.25 * b.down, atol=2e-3)
    np.testing.assert_allclose(m.up, 0.75 * a.up + 0.25 * b.up, atol=2e-3)
    one, two, mean = (load_head(each, "tagger").arrays["enter"] for each in (first, second, out))
    np.testing.assert_allclose(mean, 0.75 * one + 0.25 * two, atol=2e-3)
    for record in ("reader", "tagger"):
        rows = json.loads((out / f"{record}.json").read_text(encoding="utf-8"))["rows"]
        assert rows == {UNKNOWN: [1, 0, 0], "pave": [2, 1, 0]}, "what the first came from is not on record"


def test_runs_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    first = weights(tmp_path / "a")
    for name, rank, vocabulary, rule in (("b", 3, 9, "l0.q.w differs"), ("c", 2, 10, "vocabulary.npz of the first")):
        with pytest.raises(Misconfigured, match=rule):
            mix(first, weights(tmp_path / name, rank, vocabulary), 0.5, tmp_path / "out")
    with pytest.raises(Misconfigured, match="share: 0 to 1; got 2"):
        mix(first, first, 2.0, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    shutil.rmtree(first)
    done = CliRunner().invoke(app, ["mix", str(first), str(first), "--out", str(tmp_path / "out")])
    assert isinstance(done.exception, Misconfigured)
