"""Predictions of a file, one JSON line a row, in the row formats that the scorers read."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from inference.errors import Misconfigured
from inference.model.assemble import assemble_both, encoder_id
from inference.model.backbone import ROLES, parts_of
from inference.model.encoder import Encoder
from inference.model.text import compose
from inference.model.vocabulary import VOCABULARY_FILE
from inference.tasks.bundle import TAGGER
from inference.tasks.weights import DEFAULT_WEIGHTS
from inference.taxonomy import Taxonomy
from inference.training import data
from inference.training.cache import EncodingCache
from inference.training.evaluate import keyword_rows
from inference.training.licences import RANGES
from inference.training.predictors import Predictors, Report

BLOCK = 1_024
"""Rows whose token states are in memory at a time: at 100 tokens 150 MB."""
CACHE = Path("build/cache")
ENCODINGS = "encodings.sqlite"
SCORE_DIGITS = 6

T = TypeVar("T")


def open_encodings(cache: Path, weights: Path, threads: int, keep: bool) -> EncodingCache:
    """The encoder of a weights folder in this process, assembled when it is not there yet. keep: encodings are kept
    under `cache`. Raises Misconfigured."""
    encoder = Encoder.load(*assemble_both(cache, weights), threads)
    return EncodingCache(encoder, encoder_id(weights, ROLES[0]), cache / ENCODINGS if keep else None)


def begin_weights(folder: Path, source: Path = DEFAULT_WEIGHTS) -> None:
    """Give a new folder the encoders' parts and the tagger of another. One that has a vocabulary is a run's own: ranges
    of another adapter would round its states wrongly, and without any it is computed in full precision."""
    if (folder / VOCABULARY_FILE).is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    records = f"{ROLES[1]}.json", f"{RANGES}.json"
    for name in (*parts_of(ROLES[0]), *parts_of(ROLES[1]), *records, f"{TAGGER}.npz", f"{TAGGER}.json"):
        if not (folder / name).is_file() and (source / name).is_file():
            shutil.copyfile(source / name, folder / name)


def open_predictors(weights: Path, cache: Path, taxonomy: Taxonomy, threads: int, report: Report) -> Predictors:
    """Heads of a weights folder over the encoder. Raises Misconfigured when the folder is not there."""
    if not weights.is_dir():
        raise Misconfigured(f"--weights: a folder of fitted heads; got {str(weights)!r}")
    return Predictors(weights, open_encodings(cache, weights, threads, keep=False), taxonomy, report)


def predictions(task: str, file: Path, labels: Path | None, predictors: Predictors) -> Iterator[Any]:
    """One prediction a row, in the order of the file.

    category: a label of the `labels` file, or a taxonomy node's id without one. attributes: {name: [values]}
    for the names asked. spans: [[start, end, label]]. keywords: words, best first. safety: the probability
    of harmful. tags: {label, score, evidence}. Raises DataError, Misconfigured.
    """
    if task == "category":
        texts = data.read_text_rows(file)
        chosen = predictors.labels(texts, data.read_labels(labels)) if labels else predictors.nodes(texts)
        yield from (choice.label for choice in chosen)
    elif task == "safety":
        yield from (round(score, SCORE_DIGITS) for score in predictors.safety(data.read_safety_rows(file)))
    elif task == "attributes":
        for found in _blocks(data.read_attribute_rows(file), predictors.attributes):
            yield {name: [value.text for value in values] for name, values in found.items()}
    elif task == "spans":
        for spans in _blocks(data.read_span_rows(file), predictors.spans):
            yield [list(span[:3]) for span in spans]
    elif task == "tags":
        pairs = data.read_tag_rows(file)
        for match, pair in zip(predictors.tags(pairs), pairs, strict=True):
            start, end = match.evidence or (0, 0)
            evidence = compose(pair.title, pair.description).text[start:end]
            yield {"label": match.label, "score": round(match.score, SCORE_DIGITS), "evidence": evidence}
    else:
        for words in _blocks(keyword_rows(file), predictors.keywords):
            yield [word for word, _ in words]


def write_predictions(out: Path, answers: Iterator[Any]) -> int:
    """`{"row": i, "prediction": ...}`, rows counted from 0; the file appears when it is whole. Returns the rows."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial, rows = out.with_name(f".{out.name}.{os.getpid()}"), 0
    try:
        with partial.open("w", encoding="utf-8") as stream:
            for rows, answer in enumerate(answers, start=1):
                stream.write(json.dumps({"row": rows - 1, "prediction": answer}, ensure_ascii=False) + "\n")
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return rows


def _blocks(rows: Sequence[T], answer: Callable[[Sequence[T]], list[Any]]) -> Iterator[Any]:
    for at in range(0, len(rows), BLOCK):
        yield from answer(rows[at : at + BLOCK])
