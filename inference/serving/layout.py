"""Where things lie in a servable repository, and whether what lies there is what the manifest says."""

from __future__ import annotations

from pathlib import Path

from inference.contract import ENCODER_MODEL, LISTING_MODEL, READER_MODEL
from inference.model.encoder import MATRICES_FILE, ONNX_FILE, TOKENIZER_FILE
from inference.serving.manifest import Manifest, check_file, load_manifest

VERSION_DIR = "1"
"""Triton wants an integer; the version's name stands in the configuration (VERSION_PARAMETER)."""
LISTING = Path("listing") / VERSION_DIR
ENCODER, READER = (Path(model) / VERSION_DIR for model in (ENCODER_MODEL, READER_MODEL))
ARTEFACTS = "artefacts"
"""Folder of the data that `listing` loads."""
HEADS = "heads"
NAMES_FILE = "names.npz"
TAXONOMY_FILE = "taxonomy.tsv"
SCHEMA_FILE = "attributes.json"
GPU_FILE = "model.onnx"
"""The name that Triton's ONNX Runtime backend looks for."""
VERSION_PARAMETER = "shangxin_version"
MODEL_FILE = "model.py"
PACKAGE = "inference"
"""Folder beside it with the code that it runs."""
PROGRAMS = {
    LISTING_MODEL: "serving/triton/listing/model.py",
    ENCODER_MODEL: "serving/triton/encoder/model.py",
    READER_MODEL: "serving/triton/encoder/model.py",
}
"""Which of the manifest's code is each model's MODEL_FILE; encoders on a GPU have none."""


def graph_files(manifest: Manifest) -> dict[Path, str]:
    """Files of the two encoders in a repository, with their SHA-256."""
    digests = {ENCODER: manifest.encoder, READER: manifest.reader}
    if manifest.accelerator != "cpu":
        return {place / GPU_FILE: digest for place, digest in digests.items()}
    files = {place / ONNX_FILE: digest for place, digest in digests.items()}
    return files | {place / MATRICES_FILE: manifest.matrices for place in digests}


def code_files(manifest: Manifest) -> dict[Path, str]:
    """Files of code in a repository, with their SHA-256: each model has all of it."""
    models = PROGRAMS if manifest.accelerator == "cpu" else (LISTING_MODEL,)
    found: dict[Path, str] = {}
    for model in models:
        version = Path(model) / VERSION_DIR
        found[version / MODEL_FILE] = manifest.code[PROGRAMS[model]]
        found |= {version / PACKAGE / file: digest for file, digest in manifest.code.items()}
    return found


def check_artefacts(folder: Path) -> Manifest:
    """The folder's manifest, every file of it read and compared. Raises ManifestError, OSError."""
    manifest = load_manifest(folder)
    expected = {
        TOKENIZER_FILE: manifest.tokenizer,
        NAMES_FILE: manifest.names,
        TAXONOMY_FILE: manifest.taxonomy_file,
        SCHEMA_FILE: manifest.schema_file,
    }
    for task, head in manifest.heads.items():
        expected |= {f"{HEADS}/{task}.npz": head.npz, f"{HEADS}/{task}.json": head.json}
    for name, digest in expected.items():
        check_file(folder / name, digest)
    return manifest
