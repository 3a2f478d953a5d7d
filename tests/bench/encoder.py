"""`make bench-encoder`: texts a second on one core of the served encoder, of the same in fp32 and with fewer blocks,
and of plain torch; size on disk; memory.

The demo's listings at their real lengths, in batches of 32 in the order they stand in. torch pads a batch to its
longest, as its users do; ours takes the length buckets of serving. Interleaved rounds; the medians' ratio counts.
What fewer blocks cost in scores: `shangxin models ablate --variant nine --variant six --variant taught`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from inference.model.assemble import assemble_encoder, assemble_exact
from inference.model.backbone import ROLES, backbone_of, ranges_file
from inference.model.encoder import MATRICES_FILE, ONNX_FILE, TOKENIZER_FILE, Encoder
from inference.model.onnx_graph import build_encoder
from inference.model.ranges import load_ranges
from inference.model.text import compose
from inference.tasks.weights import DEFAULT_WEIGHTS
from inference.tuning.backbone import TorchEncoder
from inference.tuning.config import Method, Tuning
from inference.tuning.shallow import ShallowBackbone
from stream.demo.catalogue import listings as demo_listings

CACHE = Path("build/cache")
BATCH = 32
PAD = 1
PLAIN = "torch fp32"
SERVED = "onnx int8, as served"


def main() -> None:
    """Measure, print the table, keep the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds")
    parser.add_argument("--texts", type=int, default=192, help="listings a round")
    parser.add_argument("--out", type=Path, default=Path("bench-out"), help="folder of the JSON")
    args = parser.parse_args()
    torch.set_num_threads(1)
    texts = [compose(each.title, each.description or "").text for each in demo_listings()[: args.texts]]
    served = assemble_encoder(CACHE, DEFAULT_WEIGHTS, ROLES[0])
    folders = {"onnx fp32": assemble_exact(CACHE, DEFAULT_WEIGHTS)[0], SERVED: served}
    fewer = tempfile.TemporaryDirectory()
    for layers in (9, 6):
        folders[f"onnx int8, {layers} of 12 blocks"] = _shallow(Path(fewer.name) / str(layers), served, layers)
    runs: dict[str, Callable[[], object]] = {PLAIN: _torch(texts, _load(folders["onnx fp32"]))}
    for name, folder in folders.items():
        runs[name] = _ours(texts, _load(folder))
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in track(range(args.rounds), "rounds"):
        for name, run in runs.items():
            begun = time.process_time()
            run()
            times[name].append(time.process_time() - begun)
    sizes = {name: sum(f.stat().st_size for f in folder.iterdir()) / 1e6 for name, folder in folders.items()}
    rates = {name: len(texts) / statistics.median(each) for name, each in times.items()}
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        memory = {name: pool.submit(_memory, folders.get(name), texts[:BATCH]).result() for name in rates}
    fewer.cleanup()
    table = Table("encoder", "texts a CPU second", f"/ {PLAIN}", "MB on disk", "MB of memory")
    for name, rate in rates.items():
        size = f"{sizes[name]:.0f}" if name in sizes else "-"
        table.add_row(name, f"{rate:.0f}", f"{rate / rates[PLAIN]:.2f}", size, f"{memory[name]:.0f}")
    Console().print(table)
    args.out.mkdir(exist_ok=True)
    found = {"texts": len(texts), "seconds": times, "rates": rates, "megabytes": sizes, "memory": memory}
    found |= {"cpu": platform.processor()}
    (args.out / f"encoder-{os.getpid()}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _load(folder: Path) -> Encoder:
    return Encoder.load(folder, folder, 1)


def _ours(texts: Sequence[str], encoder: Encoder) -> Callable[[], object]:
    return lambda: [encoder.encode(texts[at : at + BATCH]) for at in range(0, len(texts), BATCH)]


def _torch(texts: Sequence[str], encoder: Encoder) -> Callable[[], object]:
    """The plain forward pass, tokenised by the same tokenizer."""
    model = TorchEncoder(backbone_of(DEFAULT_WEIGHTS, ROLES[0]), Tuning(method=Method.FROZEN)).eval()
    model.bert.set_attn_implementation("sdpa")  # type: ignore[operator]  # what plain transformers takes

    def run() -> list[Any]:
        found = []
        for at in range(0, len(texts), BATCH):
            tokens = encoder.words.encode(texts[at : at + BATCH])
            longest = max(len(each.ids) for each in tokens)
            ids = np.full((len(tokens), longest), PAD, np.int64)
            mask = np.zeros((len(tokens), longest), np.int64)
            for row, each in enumerate(tokens):
                ids[row, : len(each.ids)], mask[row, : len(each.ids)] = each.ids, 1
            with torch.inference_mode():
                found.append(model(torch.from_numpy(ids), torch.from_numpy(mask)).features)
        return found

    return run


def _memory(folder: Path | None, texts: Sequence[str]) -> float:
    """MB of this process's resident memory that the encoder and one batch add, in a process of its own. None: torch,
    whose own libraries are not counted either."""
    torch.set_num_threads(1)
    before = psutil.Process().memory_info().rss
    if folder is None:
        _torch(texts, _load(assemble_encoder(CACHE, DEFAULT_WEIGHTS, ROLES[0])))()
    else:
        _ours(texts, _load(folder))()
    return (psutil.Process().memory_info().rss - before) / 1e6


def _shallow(folder: Path, served: Path, layers: int) -> Path:
    """The served encoder with some of its blocks left out, and the ranges that theirs had."""
    source = backbone_of(DEFAULT_WEIGHTS, ROLES[0])
    backbone = ShallowBackbone(source, layers)
    here = {f"l{old}": f"l{new}" for new, old in enumerate(backbone.kept)}
    ranges = {}
    for name, each in load_ranges(DEFAULT_WEIGHTS / ranges_file(ROLES[0])).items():
        block, dot, rest = name.partition(".")
        if not dot or block in here:
            ranges[f"{here.get(block, block)}{dot}{rest}"] = each
    folder.mkdir(parents=True)
    graph, matrices = build_encoder(backbone, ranges)
    (folder / ONNX_FILE).write_bytes(graph)
    (folder / MATRICES_FILE).write_bytes(matrices)
    (folder / TOKENIZER_FILE).write_bytes((served / TOKENIZER_FILE).read_bytes())
    return folder


if __name__ == "__main__":
    main()
