"""Where things lie in a servable repository, and whether what lies there is what the manifest says."""

from __future__ import annotations

from pathlib import Path

from inference.contract import ENCODER_MODEL, READER_MODEL
from inference.model.encoder import TOKENIZER_FILE
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
VERSION_PARAMETER = "shangxin_version"


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
