"""Answers listings: composes, tokenises, has the encoder run, decodes with the heads.

Three steps, so that who runs the encoder is open: `prepare` gives the encoder's batches, somebody runs
them (ONNX Runtime in this process, or Triton's `encoder`), `finish` decodes. A row that cannot be
answered becomes a ListingFault; it never fails the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.contract import EMBEDDING_DIM, ListingAnswer, ListingFault, ListingInput, ListingResult
from inference.model.encoder import (
    BUCKETS,
    ONNX_FILE,
    TOKENIZER_FILE,
    Batch,
    Encoded,
    OnnxSession,
    Raw,
    gather,
    make_batches,
)
from inference.model.names import NAME_KEYS, NameCache, Names
from inference.model.text import Composed, compose
from inference.model.tokenizer import Tokens, UnigramTokenizer
from inference.serving.language import detect
from inference.serving.layout import (
    ARTEFACTS,
    ENCODER,
    HEADS,
    LISTING,
    NAMES_FILE,
    SCHEMA_FILE,
    TAXONOMY_FILE,
    check_artefacts,
)
from inference.serving.manifest import ManifestError, check_file
from inference.tasks.bundle import TaskBundle
from inference.taxonomy import load_attributes, load_taxonomy

Embedding = NDArray[np.float32]
Answers = list[tuple[ListingAnswer, Embedding]]
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
    """Rows between `prepare` and `finish`. batches: what the encoder must run, in this order.

    known: names that rows ask and that were encoded before. names: those that were not; their tokens follow
    the rows' tokens.
    """

    asked: list[Asked]
    faults: dict[int, ListingFault]
    known: dict[str, Encoded]
    names: list[str]
    tokens: list[Tokens]
    batches: list[Batch]


class ListingEngine:
    """One model version. Raises ManifestError when the folder is not what its manifest says."""

    def __init__(self, artefacts: Path) -> None:
        self.manifest = check_artefacts(artefacts)
        if self.manifest.buckets != BUCKETS:
            raise ManifestError(f"{artefacts}: buckets {self.manifest.buckets}; this code has {BUCKETS}")
        self._versions = self.manifest.versions
        self._tokenizer = UnigramTokenizer.load(artefacts / TOKENIZER_FILE, BUCKETS[-1])
        self._heads = _load_heads(artefacts)
        self._names = NameCache()

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
        wanted = dict.fromkeys(name for each in asked for name in self._heads.extra_texts(each.row))
        known = self._names.known(wanted)
        names = [name for name in wanted if name not in known]
        tokens = self._tokenizer.encode([*(each.composed.text for each in asked), *names])
        return Work(asked, faults, known, names, tokens, make_batches(tokens))

    def finish(self, work: Work, raws: Sequence[Raw]) -> Answers:
        """One answer and embedding a row, in the order of `prepare`; zeros for a fault."""
        answers: dict[int, tuple[ListingAnswer, Embedding]] = {
            at: (fault, np.zeros(EMBEDDING_DIM, np.float32)) for at, fault in work.faults.items()
        }
        encoded_rows = gather(work.tokens, work.batches, raws)
        new = dict(zip(work.names, encoded_rows[len(work.asked) :], strict=True))
        self._names.add(new)
        names = work.known | new
        for asked, encoded in zip(work.asked, encoded_rows, strict=False):
            answers[asked.at] = self._answer(asked, encoded, names)
        return [answers[at] for at in range(len(answers))]

    def _answer(self, asked: Asked, encoded: Encoded, names: Mapping[str, Encoded]) -> tuple[ListingAnswer, Embedding]:
        try:
            return self._result(asked, encoded, names), encoded.pooled
        except (ArithmeticError, LookupError, ValueError) as error:
            # A head that cannot decode one listing must not take its batch with it.
            fault = ListingFault(message=f"decoding failed: {type(error).__name__}: {error}")
            return fault, np.zeros(EMBEDDING_DIM, np.float32)

    def _result(self, asked: Asked, encoded: Encoded, names: Mapping[str, Encoded]) -> ListingResult:
        if not np.isfinite(encoded.features).all():
            raise ArithmeticError("the encoder gave numbers that are not finite")
        language = detect(asked.composed.text, asked.row.language)
        found = self._heads.answer(asked.row, asked.composed, encoded, language.code, names)
        return ListingResult(
            language=language.code,
            language_score=round(language.score, SCORE_DIGITS),
            nodes=found.nodes,
            attributes=found.attributes,
            spans=found.spans,
            keywords=found.keywords,
            safe=round(found.safe, SCORE_DIGITS),
            tokens=len(encoded.ids),
            truncated=encoded.truncated,
            versions=self._versions,
        )


class LocalEngine:
    """The same model version without a server: what `shangxin enrich --file` uses, and the tests' yardstick."""

    def __init__(self, engine: ListingEngine, session: OnnxSession) -> None:
        self.manifest = engine.manifest
        self._engine = engine
        self._session = session

    @classmethod
    def open(cls, models: Path, threads: int = 0) -> LocalEngine:
        """From a repository that `shangxin models build` made. threads: runs at the same time; 0: one a core.

        Limits this process's BLAS to one thread: the heads are many small products, and a pool of threads took
        ten times the CPU of one. Raises ManifestError when the repository is not there or was changed.
        """
        from threadpoolctl import threadpool_limits  # not at the server, where the environment limits it

        threadpool_limits(1, user_api="blas")
        engine = ListingEngine(models / LISTING / ARTEFACTS)
        encoder = models / ENCODER / ONNX_FILE
        check_file(encoder, engine.manifest.encoder)
        return cls(engine, OnnxSession(encoder, threads))

    def answer(self, inputs: Sequence[ListingInput]) -> Answers:
        """One answer and one embedding (fp32 [384], unit length; zeros for a fault) a listing."""
        work = self._engine.prepare(inputs)
        return self._engine.finish(work, self._session.run_all(work.batches))


def _load_heads(artefacts: Path) -> TaskBundle:
    taxonomy = load_taxonomy(artefacts / TAXONOMY_FILE)
    schema = load_attributes(taxonomy, artefacts / SCHEMA_FILE)
    with np.load(artefacts / NAMES_FILE, allow_pickle=False) as file:
        arrays = dict(file)
    names = {key: Names.read(arrays, key) for key in NAME_KEYS}
    return TaskBundle.load(artefacts / HEADS, taxonomy, schema, names)


def _composed(row: ListingInput) -> Composed | ListingFault:
    texts = {"title": row.title, "description": row.description, "category_hint": row.category_hint}
    texts |= {f"ask[{at}]": name for at, name in enumerate(row.ask or ())}
    for field, text in texts.items():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            return ListingFault(message=f"{field}: no lone surrogate (code point {error.start}): half a character")
    composed = compose(row.title, row.description, row.category_hint)
    if not row.title.strip() and not row.description.strip():
        return ListingFault(message="title, description: one of them must hold text")
    return composed
