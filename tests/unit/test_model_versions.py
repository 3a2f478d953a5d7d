"""Versions beside the served one: kept at each build, put in place by name, put back, and checked before that."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from inference.serving.build import WEIGHTS
from inference.serving.engine import ListingEngine
from inference.serving.layout import ARTEFACTS, ENCODER, HEADS, LISTING, READER
from inference.serving.manifest import ManifestError, load_manifest
from inference.serving.versions import Versions
from stream.cli.models import app
from tests.unit.models_fixture import build_small


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, str, str]:
    """The folder with two builds, the second one served."""
    weights = tmp_path / "weights"
    shutil.copytree(WEIGHTS, weights)
    first = build_small(tmp_path, weights=weights)
    meta = weights / "safety.json"
    meta.write_bytes(meta.read_bytes() + b"\n")
    return first.folder, first.version, build_small(tmp_path, weights=weights).version


def command(*words: str) -> Any:
    return CliRunner().invoke(app, [*words])


def served(folder: Path) -> str:
    return load_manifest(folder / LISTING / ARTEFACTS).version


def test_every_build_is_kept_and_the_served_one_is_marked(two: tuple[Path, str, str]) -> None:
    folder, first, second = two
    lines = command("list", "--models", str(folder)).stdout.splitlines()
    assert sorted(lines) == sorted([f"  {first}", f"* {second}"])
    shown = json.loads(command("show", first, "--models", str(folder)).stdout)
    assert set(shown["heads"]) >= {"category", "tagger"}


def test_promote_serves_another_and_rollback_what_was_served_before(two: tuple[Path, str, str]) -> None:
    folder, first, second = two
    assert command("promote", first, "--models", str(folder)).exit_code == 0
    assert served(folder) == first
    assert ListingEngine(folder / LISTING / ARTEFACTS).manifest.version == first
    assert second in command("rollback", "--models", str(folder)).stdout
    assert served(folder) == second
    versions = Versions(folder)
    assert versions.rollback() == first
    with pytest.raises(ManifestError, match=f"nothing was served before {first}"):
        versions.rollback()
    assert served(folder) == first
    assert sorted(p.name for p in folder.parent.iterdir() if p.name.startswith(".")) == []


@pytest.mark.parametrize(
    "file",
    [
        f"{LISTING}/{ARTEFACTS}/{HEADS}/safety.json",
        f"{LISTING}/model.py",
        f"{LISTING}/inference/tasks/words.py",
        f"{READER}/inference/model/text.py",
        f"{ENCODER}/model.py",
    ],
)
def test_a_version_that_was_changed_or_is_not_kept_is_not_served(two: tuple[Path, str, str], file: str) -> None:
    folder, first, second = two
    changed = folder.with_name("models.versions") / first / file
    changed.write_bytes(changed.read_bytes() + b"\n")
    versions = Versions(folder)
    with pytest.raises(ManifestError, match=rf"{re.escape(file)}.*build again"):
        versions.promote(first)
    with pytest.raises(ManifestError, match="got 'v9-none'"):
        versions.promote("v9-none")
    assert served(folder) == second


def test_without_a_build_there_is_nothing_to_list(tmp_path: Path) -> None:
    done = command("list", "--models", str(tmp_path / "models"))
    assert "shangxin models build" in done.stdout
    with pytest.raises(ManifestError, match="none is kept"):
        Versions(tmp_path / "models").show("v1-x")


def test_the_card_says_what_a_version_is_made_of_and_how_good_it_is(tmp_path: Path) -> None:
    built = build_small(tmp_path)
    models = ["--models", str(tmp_path / "models")]
    served = CliRunner().invoke(app, ["card", *models])
    assert served.exit_code == 0, served.output
    assert served.output.startswith(f"# Model card: {built.version}\n")
    assert CliRunner().invoke(app, ["card", built.version, *models]).output == served.output
    manifest = Versions(tmp_path / "models").show(built.version)
    for text in (
        manifest.heads["spans"].npz[:12],
        manifest.taxonomy,
        "| safety | hate_en | 8000 | 2666 | 0 | MIT | yes |",
    ):
        assert text in served.output
    scores = json.loads((WEIGHTS / "spans.json").read_text())["dev"][0]
    assert f"| spans | entity F1 | {scores['score']:.3f} |" in served.output
    assert "not on record" not in served.output
    refused = CliRunner().invoke(app, ["card", "v9-none", *models])
    assert isinstance(refused.exception, ManifestError)
    assert "v9-none" in str(refused.exception)
