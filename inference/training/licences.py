"""Under which licences the data sets are that the heads were fitted on, as their sources state them; a data folder
without the sets that do not allow commercial use; and whether a weights folder was fitted on others."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.errors import Misconfigured
from inference.tasks.bundle import HEADS, TAGGER
from inference.training.data import read_attribute_rows
from inference.training.policy import Licences


@dataclass(frozen=True)
class DataSet:
    """licence: as stated by the source. commercial: whether it allows commercial use; a licence that is not stated
    does not."""

    source: str
    licence: str
    commercial: bool


NOT_STATED = "none stated"
APACHE = "Apache-2.0"
DATA_SETS = {
    "ae-110k": DataSet("AE-110K, as ExtractGPT has it", APACHE, True),
    "oa-mine": DataSet("OA-Mine, as ExtractGPT has it", APACHE, True),
    "pave": DataSet("WDC-PAVE", NOT_STATED, False),
    "attributes": DataSet("AE-110K, OA-Mine (ExtractGPT); PAVE (WDC)", "Apache-2.0 in part, else none stated", False),
    "spans_zh": DataSet("MultiDigraphNER, e-commerce (ACL 2019)", NOT_STATED, False),
    "zh_store_titles": DataSet("guluxilin/detection", NOT_STATED, False),
    "fashion": DataSet("Fashion product images (small)", NOT_STATED, False),
    "pricerunner": DataSet("PriceRunner aggregate", NOT_STATED, False),
    "retail_demo": DataSet("AWS retail demo store", "MIT-style", True),
    "cold_zh": DataSet("COLDataset (EMNLP 2022)", "see source", False),
    "hate_en": DataSet("t-davidson", "MIT", True),
    "advertisegen": DataSet("AdvertiseGen", NOT_STATED, False),
    "offers_en": DataSet("WDC products (TailorMatch)", "not checked", False),
    "worded": DataSet("texts of spans_zh and zh_store_titles, labelled by rules", "as theirs", False),
    "pseudo": DataSet("texts of several sets, labelled by a version", "as theirs", False),
    "dev halves": DataSet("one half of the attribute and span development rows", "as theirs", False),
    "pairs by hand": DataSet("the project's own", APACHE, True),
    "own": DataSet("the platform's own rows", "its own", True),
}
"""By the names under `rows` in the heads' JSON files."""
FILES = {
    "spans_zh/train.bieos.gz": "spans_zh",
    "spans_zh/dev.bieos.gz": "spans_zh",
    "category/zh_store_titles.train.jsonl.gz": "zh_store_titles",
    "category/fashion.train.jsonl.gz": "fashion",
    "category/pricerunner.train.jsonl.gz": "pricerunner",
    "copy/advertisegen.train.jsonl.gz": "advertisegen",
    "copy/offers_en.jsonl.gz": "offers_en",
    "catalogue/retail_demo.jsonl.gz": "retail_demo",
    "safety/cold_zh.train.jsonl.gz": "cold_zh",
    "safety/cold_zh.dev.jsonl.gz": "cold_zh",
    "safety/hate_en.train.jsonl.gz": "hate_en",
    "reviews/zh.train.jsonl.gz": "reviews_zh",
}
"""Files of one set each; a set that is not in DATA_SETS is not used commercially."""
BY_SOURCE = ("attributes/train.jsonl.gz", "attributes/dev.jsonl.gz")
"""Files whose rows name their set in `source`."""
PUBLIC = ("taxonomy/google.en-US.txt.gz", "taxonomy/google.zh-CN.txt.gz")


def commercial(name: str) -> bool:
    """Whether the set allows commercial use; one that is not on record does not."""
    return name in DATA_SETS and DATA_SETS[name].commercial


def permitted(data: Path, licences: Licences, cache: Path) -> Path:
    """The folder itself, or one under `cache` that has the same files with the rows that may be used, so that nothing
    else can be read. Raises DataError, OSError."""
    if licences is Licences.ANY:
        return data
    digest = hashlib.sha256(json.dumps({name: each.commercial for name, each in DATA_SETS.items()}).encode())
    files = [file for file in (*FILES, *BY_SOURCE, *PUBLIC) if (data / file).is_file()]
    for file in files:
        digest.update(f"{file} {(data / file).stat().st_size} {(data / file).stat().st_mtime_ns}".encode())
    folder = cache / f"permissive-{digest.hexdigest()[:12]}"
    if folder.is_dir():
        return folder
    work = folder.with_name(f".{folder.name}-{os.getpid()}")
    try:
        for file in files:
            (work / file).parent.mkdir(parents=True, exist_ok=True)
            _copy_permitted(file, data / file, work / file)
        work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder


def _copy_permitted(name: str, source: Path, target: Path) -> None:
    if name in PUBLIC or commercial(FILES.get(name, "")):
        shutil.copyfile(source, target)
        return
    kept: list[str] = []
    if name in BY_SOURCE:
        with gzip.open(source, "rt", encoding="utf-8") as lines:
            rows = [line for line in lines if line.strip()]
        kept = [line for line, row in zip(rows, read_attribute_rows(source), strict=True) if commercial(row.source)]
    with gzip.open(target, "wt", encoding="utf-8") as stream:
        stream.writelines(kept)


def rows_by_set(sides: Iterable[tuple[Iterable[str], int]]) -> dict[str, list[int]]:
    """Rows of each set, [fitted on, measured on, left out], from the sets' names of (training 0, development 1)."""
    found: dict[str, list[int]] = {}
    for names, side in sides:
        for name in names:
            found.setdefault(name, [0, 0, 0])[side] += 1
    return found


def sets_of(meta: Mapping[str, Any]) -> dict[str, list[int]]:
    """Rows of a head by the sets that it was fitted on; `own` is what `models adapt` added."""
    return {**meta.get("rows", {}), **({"own": meta["own"]["rows"]} if "own" in meta else {})}


def check_permitted(weights: Path) -> None:
    """Raise Misconfigured unless every head of the folder was fitted on data that allows commercial use alone."""
    _check(weights, HEADS)


def check_tuned(weights: Path) -> None:
    """The same of adapter and tagger, which one run makes together."""
    _check(weights, (TAGGER,))


def _check(weights: Path, heads: Iterable[str]) -> None:
    for head in heads:
        file = weights / f"{head}.json"
        try:
            meta = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise Misconfigured(f"{file}: no readable head ({error})") from None
        if "rows" not in meta:
            raise Misconfigured(f"{file}: rows: the sets that it was fitted on must be on record; train and fit again")
        for name, (fitted, *_) in sets_of(meta).items():
            if fitted and not commercial(name):
                licence = DATA_SETS[name].licence if name in DATA_SETS else "not on record"
                advice = "train, compress and fit with --licences permissive"
                raise Misconfigured(f"{file}: rows.{name}: a licence for commercial use; got {licence}; {advice}")
