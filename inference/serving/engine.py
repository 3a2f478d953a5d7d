"""Answers listings: composes, tokenises, has the encoder run, decodes with the heads.

Three steps, so that who runs the two encoders is open: `prepare` gives the batches of `encoder`, somebody runs them
(ONNX Runtime in this process, or Triton's model); `ask` gives those of `reader`, the texts with what their categories
ask; `finish` decodes. A row that cannot be answered becomes a ListingFault; it never fails the others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.contract import EMBEDDING_DIM, ListingAnswer, ListingFault, ListingInput, ListingResult
from inference.model.encoder import (
    BUCKETS,
    ONNX_FILE,
    Batch,
    Encoded,
    OnnxSession,
    Raw,
    gather,
    load_tokenizers,
    make_batches,
)
from inference.model.names import NAME_KEYS, Names
from inference.model.prompt import Prompt, make_prompts
from inference.model.text import Composed, compose
from inference.model.tokenizer import Tokens
from inference.serving.language import detect
from inference.serving.layout import (
    ARTEFACTS,
    ENCODER,
    HEADS,
    LISTING,
    NAMES_FILE,
    READER,
    SCHEMA_FILE,
    TAXONOMY_FILE,
    check_artefacts,
    graph_files,
)
from inference.serving.manifest import ManifestError, check_file
from inference.tasks.bundle import First, TaskBundle
from inference.taxonomy import load_attributes, load_taxonomy

Embedding = NDArray[np.float32]
Answers = list[tuple[ListingAnswer, Embedding]]
DECODING = (ArithmeticError, LookupError, ValueError)
"""A head that cannot decode one listing must not take its batch with it."""
SCORE_DIGITS = 6
"""Scores are rounded to a millionth: what is below is noise of the arithmetic, and costs bytes."""


@dataclass(frozen=True)
class Asked:
    """One row that goes to the encoder: its place among the rows, what was asked, and its text."""

    at: int
    row: ListingInput
    composed: Composed


@dataclass(frozen=True)
class Work:
    """Rows between `prepare` and `ask`. batches: what the encoder must run, in this order."""

    asked: list[Asked]
    faults: dict[int, ListingFault]
    tokens: list[Tokens]
    batches: list[Batch]


@dataclass(frozen=True)
class Known:
    """A row, what its text came to, and where among the prompts its own are."""

    asked: Asked
    encoded: Encoded
    first: First
    prompts: range


@dataclass(frozen=True)
class Question:
    """Rows between `ask` and `finish`. batches: what the reader must run, in this order."""

    known: list[Known] = dataclasses.field(default_factory=list)
    faults: dict[int, ListingFault] = dataclasses.field(default_factory=dict)
    prompts: list[Prompt] = dataclasses.field(default_factory=list)
    batches: list[Batch] = dataclasses.field(default_factory=list)


class ListingEngine:
    """One model version. Raises ManifestError when the folder is not what its manifest says."""

    def __init__(self, artefacts: Path) -> None:
        self.manifest = check_artefacts(artefacts)
        if self.manifest.buckets != BUCKETS:
            raise ManifestError(f"{artefacts}: buckets {self.manifest.buckets}; this code has {BUCKETS}")
        self._versions = self.manifest.versions
        self._words, self._characters = load_tokenizers(artefacts)
        self._heads = _load_heads(artefacts)

    def prepare(self, rows: Sequence[ListingInput | ListingFault]) -> Work:
        """Texts, tokens and batches; rows without a text that can be read become faults."""
        faults: dict[int, ListingFault] = {}
        asked: list[Asked] = []
        for at, row in enumerate(rows):
            found = row if isinstance(row, ListingFault) else _composed(row)
            if isinstance(found, ListingFault):
                faults[at] = found
            elif isinstance(row, ListingInput):
                asked.append(Asked(at, row, found))
        tokens = self._words.encode([each.composed.text for each in asked])
        return Work(asked, faults, tokens, make_batches(tokens))

    def ask(self, work: Work, raws: Sequence[Raw]) -> Question:
        """Categories from the texts, and the texts once more with the names that the categories ask."""
        faults, known = dict(work.faults), []
        texts: list[str] = []
        names: list[tuple[str, ...]] = []
        for asked, encoded in zip(work.asked, gather(work.tokens, work.batches, raws), strict=True):
            first = self._first(asked, encoded)
            if isinstance(first, ListingFault):
                faults[asked.at] = first
                continue
            known.append(Known(asked, encoded, first, range(len(texts), len(texts) + len(first.prompts))))
            texts += [asked.composed.text] * len(first.prompts)
            names += first.prompts
        prompts = make_prompts(self._characters, texts, names)
        return Question(known, faults, prompts, make_batches([each.tokens for each in prompts]))

    def finish(self, question: Question, raws: Sequence[Raw]) -> Answers:
        """One answer and embedding a row, in the order of `prepare`; zeros for a fault."""
        answers: dict[int, tuple[ListingAnswer, Embedding]] = {
            at: (fault, np.zeros(EMBEDDING_DIM, np.float32)) for at, fault in question.faults.items()
        }
        encoded = gather([each.tokens for each in question.prompts], question.batches, raws)
        for known in question.known:
            answers[known.asked.at] = self._answer(known, question.prompts, encoded)
        return [answers[at] for at in range(len(answers))]

    def _first(self, asked: Asked, encoded: Encoded) -> First | ListingFault:
        try:
            if not np.isfinite(encoded.features).all():
                raise ArithmeticError("the encoder gave numbers that are not finite")
            language = detect(asked.composed.text, asked.row.language)
            return self._heads.first(asked.row, asked.composed, encoded, language.code)
        except DECODING as error:
            return _fault(error)

    def _answer(
        self, known: Known, prompts: Sequence[Prompt], encoded: Sequence[Encoded]
    ) -> tuple[ListingAnswer, Embedding]:
        try:
            return self._result(known, prompts, encoded), known.encoded.pooled
        except DECODING as error:
            return _fault(error), np.zeros(EMBEDDING_DIM, np.float32)

    def _result(self, known: Known, prompts: Sequence[Prompt], encoded: Sequence[Encoded]) -> ListingResult:
        asked, first = known.asked, known.first
        readings = [
            self._heads.read(asked.composed.text, names, prompts[at], encoded[at])
            for at, names in zip(known.prompts, first.prompts, strict=True)
        ]
        found = self._heads.second(asked.composed, first, known.encoded, readings)
        language = detect(asked.composed.text, asked.row.language)
        return ListingResult(
            language=language.code,
            language_score=round(language.score, SCORE_DIGITS),
            nodes=found.nodes,
            attributes=found.attributes,
            spans=found.spans,
            keywords=found.keywords,
            claims=found.claims,
            safe=found.safe,
            tokens=len(known.encoded.ids),
            truncated=known.encoded.truncated,
            versions=self._versions,
        )


class LocalEngine:
    """The same model version without a server: what `shangxin enrich --file` uses, and the tests' yardstick."""

    def __init__(self, engine: ListingEngine, encoder: OnnxSession, reader: OnnxSession) -> None:
        self.manifest = engine.manifest
        self._engine = engine
        self._encoder, self._reader = encoder, reader

    @classmethod
    def open(cls, models: Path, threads: int = 0) -> LocalEngine:
        """From a repository that `shangxin models build` made. threads: runs at the same time; 0: one a core.

        Limits this process's BLAS to one thread: the heads are many small products, and a pool of threads took
        ten times the CPU of one. Raises ManifestError when the repository is not there or was changed.
        """
        from threadpoolctl import threadpool_limits  # not at the server, where the environment limits it

        threadpool_limits(1, user_api="blas")
        engine = ListingEngine(models / LISTING / ARTEFACTS)
        if (made_for := engine.manifest.accelerator) != "cpu":
            raise ManifestError(f"{models}: accelerator: cpu runs without a model server; got {made_for}")
        for file, digest in graph_files(engine.manifest).items():
            check_file(models / file, digest)
        encoder, reader = models / ENCODER / ONNX_FILE, models / READER / ONNX_FILE
        return cls(engine, OnnxSession(encoder, threads), OnnxSession(reader, threads))

    def answer(self, inputs: Sequence[ListingInput]) -> Answers:
        """One answer and one embedding (fp32 [384], unit length; zeros for a fault) a listing."""
        work = self._engine.prepare(inputs)
        question = self._engine.ask(work, self._encoder.run_all(work.batches))
        return self._engine.finish(question, self._reader.run_all(question.batches))


def _load_heads(artefacts: Path) -> TaskBundle:
    taxonomy = load_taxonomy(artefacts / TAXONOMY_FILE)
    schema = load_attributes(taxonomy, artefacts / SCHEMA_FILE)
    with np.load(artefacts / NAMES_FILE, allow_pickle=False) as file:
        arrays = dict(file)
    names = {key: Names.read(arrays, key) for key in NAME_KEYS}
    return TaskBundle.load(artefacts / HEADS, taxonomy, schema, names)


def _fault(error: Exception) -> ListingFault:
    return ListingFault(message=f"decoding failed: {type(error).__name__}: {error}")


def _composed(row: ListingInput) -> Composed | ListingFault:
    texts = {"title": row.title, "description": row.description, "category_hint": row.category_hint}
    texts |= {f"ask[{at}]": name for at, name in enumerate(row.ask or ())}
    texts |= {f"claims[{at}].name": each.name for at, each in enumerate(row.claims)}
    texts |= {f"claims[{at}].value": each.value for at, each in enumerate(row.claims)}
    for field, text in texts.items():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            return ListingFault(message=f"{field}: no lone surrogate (code point {error.start}): half a character")
    composed = compose(row.title, row.description, row.category_hint)
    if not row.title.strip() and not row.description.strip():
        return ListingFault(message="title, description: one of them must hold text")
    return composed
