"""A weights folder is begun with the shipped parts, or is a run's own."""

from __future__ import annotations

from pathlib import Path

from inference.model.vocabulary import VOCABULARY_FILE
from inference.tasks.weights import DEFAULT_WEIGHTS
from inference.training.answers import begin_weights


def test_a_new_folder_gets_the_shipped_parts(tmp_path: Path) -> None:
    begin_weights(tmp_path / "new")
    names = {each.name for each in (tmp_path / "new").iterdir()}
    assert names >= {VOCABULARY_FILE, "reader.adapter.npz", "reader.ranges.npz", "encoder.ranges.npz", "tagger.npz"}
    for name in names:
        assert (tmp_path / "new" / name).read_bytes() == (DEFAULT_WEIGHTS / name).read_bytes()


def test_a_run_keeps_its_own_and_gets_no_ranges_of_another_adapter(tmp_path: Path) -> None:
    (tmp_path / VOCABULARY_FILE).write_bytes(b"own")
    (tmp_path / "reader.adapter.npz").write_bytes(b"own")
    begin_weights(tmp_path)
    assert {each.name for each in tmp_path.iterdir()} == {VOCABULARY_FILE, "reader.adapter.npz"}
