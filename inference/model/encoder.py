"""Runs the encoder: length buckets, batches, and the in-process ONNX Runtime session.

A row is padded to its own bucket and shares a run only with rows of that bucket, so what it gets does
not depend on what else is asked at the same time (architecture.md, rule 10).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from inference.model.memory import give_back_freed
from inference.model.prompt import LIMIT, Prompt, make_prompts
from inference.model.tokenizer import Tokens, UnigramTokenizer

BUCKETS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 320, 384)
"""Tokens. Two steps an octave: a row wastes a sixth of its bucket on average (doubling alone: a quarter), and
on a CPU a padded token costs as much as a real one. 256 hold a title and a long paragraph, 384 also the names asked
of it."""
TEXT_LIMIT = 256
"""Tokens of a text that is read without names."""
TOKENS_PER_RUN = 1024
"""Most tokens in one run: 32 titles of 32. Enough for full speed (products of 1,024 rows), and small enough that
a batch falls into runs for every core and the widest activations (6 MB) stay near the caches."""
ONNX_FILE = "encoder.onnx"
MATRICES_FILE = "backbone.bin"
"""Beside ONNX_FILE: the weights that both encoders have in common."""
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

    states [B, L, 384]: of the last layer. features [B, 1152]. pooled [B, 384], unit length.
    """

    states: Floats
    features: Floats
    pooled: Floats


@dataclass(frozen=True)
class Encoded:
    """One text, encoded.

    ids: int64 [T]. offsets: int32 [T, 2], half open in code points of the text; start == end where a
    token carries no text. states: fp32 [T, 384], last layer. features: fp32 [1152], masked means of layers
    12, 9 and 6. pooled: fp32 [384], unit length.
    """

    ids: Ints
    offsets: NDArray[np.int32]
    states: Floats
    features: Floats
    pooled: Floats
    truncated: bool


RunAll = Callable[[Sequence[Batch]], list[Raw]]


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
    """The ONNX model in this process. threads: runs at the same time, each on one thread; 0: one a core.

    Runs side by side and not threads inside a run: those meet after each of 200 operators, and on shared
    cores everyone waits for the slowest (two threads inside a run were slower than one).
    """

    def __init__(self, model: Path | bytes, threads: int = 0) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        # Matrices are stored in 4 bits and computed while loading, unless this is said: then at every run.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        # A spinning pool takes whole cores from the workers beside it (pitfalls: ONNX Runtime).
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        source = model if isinstance(model, bytes) else str(model)
        self._session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        give_back_freed()
        self._pool = ThreadPoolExecutor(threads or os.cpu_count() or 1, thread_name_prefix="encoder")

    def run(self, batch: Batch) -> Raw:
        """One forward pass, on the calling thread."""
        feed = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        states, features, pooled = self._session.run(["states", "features", "pooled"], feed)
        return Raw(states, features, pooled)

    def run_all(self, batches: Sequence[Batch]) -> list[Raw]:
        """A forward pass a batch, in the order of the batches; the longest first, for it decides the end."""
        order = sorted(range(len(batches)), key=lambda at: -batches[at].input_ids.size)
        found = dict(zip(order, self._pool.map(self.run, [batches[at] for at in order]), strict=True))
        return [found[at] for at in range(len(batches))]


class Encoder:
    """Texts in, encoded texts out, in this process."""

    def __init__(
        self, words: UnigramTokenizer, characters: UnigramTokenizer, run_texts: RunAll, run_prompts: RunAll
    ) -> None:
        self.words, self.characters = words, characters
        self._run_texts, self._run_prompts = run_texts, run_prompts

    @classmethod
    def load(cls, encoder: Path, reader: Path, threads: int = 0) -> Encoder:
        """From the folders of the two roles, each with `encoder.onnx` and `tokenizer.json`. The reader is loaded when
        something is asked for the first time."""

        @cache
        def session() -> OnnxSession:
            return OnnxSession(reader / ONNX_FILE, threads)

        texts = OnnxSession(encoder / ONNX_FILE, threads)
        return cls(*load_tokenizers(encoder), texts.run_all, lambda batches: session().run_all(batches))

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Each text, encoded; Raises UnicodeEncodeError for lone surrogates."""
        return _run(self.words.encode(texts), self._run_texts)

    def ask(self, texts: Sequence[str], asked: Sequence[Sequence[str]]) -> list[tuple[Prompt, Encoded]]:
        """Each text with the names asked of it (model/prompt.py). Raises as `encode`, and ValueError for too many."""
        prompts = make_prompts(self.characters, texts, asked)
        return list(zip(prompts, _run([each.tokens for each in prompts], self._run_prompts), strict=True))


def _run(tokens: Sequence[Tokens], run_all: RunAll) -> list[Encoded]:
    batches = make_batches(tokens)
    return gather(tokens, batches, run_all(batches))


def load_tokenizers(folder: Path) -> tuple[UnigramTokenizer, UnigramTokenizer]:
    """The tokenizer of whole texts, and the one of prompts, from a folder that holds `tokenizer.json`."""
    file = folder / TOKENIZER_FILE
    return UnigramTokenizer.load(file, TEXT_LIMIT), UnigramTokenizer.load(file, LIMIT, by_character=True)


def _pad(texts: Sequence[Tokens], rows: list[int], bucket: int) -> Batch:
    input_ids = np.ones((len(rows), bucket), np.int64)  # 1 is the padding piece
    attention_mask = np.zeros((len(rows), bucket), np.int64)
    for at, row in enumerate(rows):
        ids = texts[row].ids
        input_ids[at, : len(ids)] = ids
        attention_mask[at, : len(ids)] = 1
    return Batch(rows, input_ids, attention_mask)
