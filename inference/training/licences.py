"""Under which licences the data sets are that the heads were fitted on, as their sources state them; a data folder
without the sets that do not allow commercial use; and whether a weights folder was fitted on others."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.contract import READER_MODEL
from inference.errors import Misconfigured
from inference.model.backbone import ROLES, ranges_file
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
UNKNOWN = "weights begun from"
"""Stands for what a run was started from, where that is not on record."""
APACHE = "Apache-2.0"
DATA_SETS = {
    "ae-110k": DataSet("AE-110K, as ExtractGPT has it", APACHE, True),
    "oa-mine": DataSet("OA-Mine, as ExtractGPT has it", APACHE, True),
    "pave": DataSet("WDC-PAVE", NOT_STATED, False),
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
    "pairs by hand": DataSet("the project's own", APACHE, True),
    UNKNOWN: DataSet("runs before the first that kept a record", "those of their sets", False),
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
RANGES = "ranges"
"""Record of what `models compress` looked at."""
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
        try:
            work.rename(folder)
        except OSError:  # another process was first, with the same content
            if not folder.is_dir():
                raise
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
    with gzip.GzipFile(target, "wb", mtime=0) as stream:  # the same bytes always: runs are known by their data's hash
        stream.writelines(line.encode() for line in kept)


def save_record(folder: Path, part: str, rows: Mapping[str, list[int]]) -> None:
    """PART.json of a part of the encoders that has no head's file: the sets that it comes from."""
    (folder / f"{part}.json").write_text(json.dumps({"rows": rows}, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def learned_before(weights: Path) -> dict[str, list[int]]:
    """Sets that the folder's adapter and tagger come from; where that is not on record, one that may not be used."""
    try:
        found: dict[str, list[int]] = json.loads((weights / f"{READER_MODEL}.json").read_text(encoding="utf-8"))["rows"]
    except (OSError, ValueError, KeyError):
        return {UNKNOWN: [1, 0, 0]}
    return found


def add_rows(rows: dict[str, list[int]], more: Mapping[str, Sequence[int]]) -> None:
    """Counts of sets added to `rows`."""
    for name, counts in more.items():
        rows[name] = [a + b for a, b in zip(rows.get(name, [0, 0, 0]), counts, strict=True)]


def rows_by_set(sides: Iterable[tuple[Iterable[str], int]]) -> dict[str, list[int]]:
    """Rows of each set, [fitted on, measured on, 0], from the sets' names of (training 0, development 1)."""
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
    check_encoders(weights)
    _check(weights, HEADS)


def check_encoders(weights: Path) -> None:
    """The same of the reader's adapter, of the ranges where there are any, and of the tagger that heads are fitted
    on."""
    ranges = any((weights / ranges_file(role)).is_file() for role in ROLES)
    _check(weights, (READER_MODEL, *([RANGES] if ranges else []), TAGGER))


def check_others(weights: Path, fitted: Sequence[str]) -> None:
    """The same of heads that are there and that a fit of `fitted` reads but does not make anew."""
    _check(weights, [each for each in HEADS if each not in fitted and (weights / f"{each}.json").is_file()])


def _check(weights: Path, parts: Iterable[str]) -> None:
    for part in parts:
        check_rows(weights / f"{part}.json")


def check_rows(file: Path) -> None:
    """Raise Misconfigured unless this record names only sets that allow commercial use."""
    advice = "train, compress and fit with --licences permissive"
    try:
        meta = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Misconfigured(f"{file}: a record of the sets that were learned from ({error}); {advice}") from None
    if "rows" not in meta:
        raise Misconfigured(f"{file}: rows: the sets that were learned from; got none; {advice}")
    for name, counts in sets_of(meta).items():
        if any(counts[:2]) and not commercial(name):  # thresholds and calibration learn from development rows
            licence = DATA_SETS[name].licence if name in DATA_SETS else "not on record"
            raise Misconfigured(f"{file}: rows.{name}: a licence for commercial use; got {licence}; {advice}")
