"""Runs the encoder: length buckets, batches, and the in-process ONNX Runtime session.

A row is padded to its own bucket and shares a run only with rows of that bucket, so what it gets does
not depend on what else is asked at the same time (architecture.md, rule 10).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from inference.model.tokenizer import Tokens, UnigramTokenizer

BUCKETS = (16, 32, 64, 128, 256)
"""Tokens. Doubling wastes at most half a row of padding; 256 tokens hold a title and a long paragraph."""
TOKENS_PER_RUN = 4096
"""Most tokens in one run: 64 titles of 64. States of a run are 6 MB, which stay near the caches."""
ONNX_FILE = "encoder.onnx"
TOKENIZER_FILE = "tokenizer.json"

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """Rows of one bucket. rows: their places in the request; input_ids, attention_mask: int64 [B, L]."""

    rows: list[int]
    input_ids: Ints
    attention_mask: Ints


@dataclass(frozen=True)
class Raw:
    """What the encoder gives for a batch, fp32 (layers: model/onnx_graph.py).

    states [B, L, 384]: of the middle layer. features [B, 1152]. pooled [B, 384], unit length.
    """

    states: Floats
    features: Floats
    pooled: Floats


@dataclass(frozen=True)
class Encoded:
    """One text, encoded.

    ids: int64 [T]. offsets: int32 [T, 2], half open in code points of the text; start == end where a
    token carries no text. states: fp32 [T, 384], layer 6. features: fp32 [1152], masked means of layers
    12, 9 and 6. pooled: fp32 [384], unit length.
    """

    ids: Ints
    offsets: NDArray[np.int32]
    states: Floats
    features: Floats
    pooled: Floats
    truncated: bool


Run = Callable[[Batch], Raw]


def bucket_of(tokens: int) -> int:
    """The smallest bucket that holds this many tokens."""
    for bucket in BUCKETS:
        if tokens <= bucket:
            return bucket
    raise ValueError(f"{tokens} tokens are more than the longest bucket ({BUCKETS[-1]}); truncate first")


def make_batches(texts: Sequence[Tokens]) -> list[Batch]:
    """Rows grouped by bucket and cut to TOKENS_PER_RUN, shortest first."""
    by_bucket: dict[int, list[int]] = {}
    for row, tokens in enumerate(texts):
        by_bucket.setdefault(bucket_of(len(tokens.ids)), []).append(row)
    batches: list[Batch] = []
    for bucket in sorted(by_bucket):
        rows, most = by_bucket[bucket], max(1, TOKENS_PER_RUN // bucket)
        batches += [_pad(texts, rows[at : at + most], bucket) for at in range(0, len(rows), most)]
    return batches


def gather(texts: Sequence[Tokens], batches: Sequence[Batch], raws: Sequence[Raw]) -> list[Encoded]:
    """The encoder's answers in the order of the texts, padding removed."""
    found: dict[int, Encoded] = {}
    for batch, raw in zip(batches, raws, strict=True):
        for at, row in enumerate(batch.rows):
            tokens = texts[row]
            states = raw.states[at, : len(tokens.ids)]
            found[row] = Encoded(tokens.ids, tokens.offsets, states, raw.features[at], raw.pooled[at], tokens.truncated)
    return [found[row] for row in range(len(texts))]


class OnnxSession:
    """The ONNX model in this process. threads: 0 takes what ONNX Runtime thinks fit."""

    def __init__(self, model: Path | bytes, threads: int = 0) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # A spinning pool takes whole cores from the workers beside it (pitfalls: ONNX Runtime).
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        source = model if isinstance(model, bytes) else str(model)
        self._session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])

    def run(self, batch: Batch) -> Raw:
        """One forward pass."""
        feed = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        states, features, pooled = self._session.run(["states", "features", "pooled"], feed)
        return Raw(states, features, pooled)


class Encoder:
    """Texts in, encoded texts out, in this process."""

    def __init__(self, tokenizer: UnigramTokenizer, run: Run) -> None:
        self.tokenizer = tokenizer
        self._run = run

    @classmethod
    def load(cls, folder: Path, threads: int = 0) -> Encoder:
        """From a folder that holds `encoder.onnx` and `tokenizer.json`."""
        tokenizer = UnigramTokenizer.load(folder / TOKENIZER_FILE, BUCKETS[-1])
        return cls(tokenizer, OnnxSession(folder / ONNX_FILE, threads).run)

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Each text, encoded; Raises UnicodeEncodeError for lone surrogates."""
        tokens = self.tokenizer.encode(texts)
        batches = make_batches(tokens)
        return gather(tokens, batches, [self._run(batch) for batch in batches])


def _pad(texts: Sequence[Tokens], rows: list[int], bucket: int) -> Batch:
    input_ids = np.ones((len(rows), bucket), np.int64)  # 1 is the padding piece
    attention_mask = np.zeros((len(rows), bucket), np.int64)
    for at, row in enumerate(rows):
        ids = texts[row].ids
        input_ids[at, : len(ids)] = ids
        attention_mask[at, : len(ids)] = 1
    return Batch(rows, input_ids, attention_mask)
