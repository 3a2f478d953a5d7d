"""A model behind the transport seam: a pure function of the listing, and failures chosen by words in its title."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from inference.client.transport import Embedding, Reply
from inference.contract import (
    EMBEDDING_DIM,
    Claim,
    ClaimCheck,
    ListingAnswer,
    ListingFault,
    ListingInput,
    ListingResult,
    NodeScore,
    Span,
)
from inference.errors import Unavailable

VERSION = "fake-1"
VERSIONS = {"model": VERSION, "taxonomy": "t-1", "schema": "s-1", "space": "fake-space"}

DOWN = "[down]"
"""The server is not there for this listing."""
DOWN_ONCE = "[down-once]"
"""Not there until the file `back` exists."""
FAULT = "[fault]"
UNSAFE = "[unsafe]"
HARMFUL = "[harmful]"
WRONG = "[wrong]"
"""In a seller's value: the text says otherwise."""
SLOW = "[slow]"
"""Answered only once the file `back` exists."""

_decode = msgspec.json.Decoder(ListingInput).decode
_encode = msgspec.json.Encoder().encode


class FakeTransport:
    """Answers from the title. calls: a file that gets each title that reached the model, one a line."""

    def __init__(self, calls: Path | None = None, back: Path | None = None) -> None:
        self._calls = calls
        self._back = back

    async def infer(self, rows: Sequence[bytes], timeout_s: float) -> list[Reply]:
        """As Transport.infer."""
        inputs = [_decode(row) for row in rows]
        self._note(inputs)
        titles = " ".join(each.title for each in inputs)
        if DOWN in titles or (DOWN_ONCE in titles and not self._is_back()):
            raise Unavailable("the fake server is down")
        # Polls the file that the test makes; the caller's deadline bounds it.
        while SLOW in titles and not self._is_back():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        return [answer_to(each) for each in inputs]

    async def ready(self) -> bool:
        """As Transport.ready."""
        return True

    async def version(self) -> str:
        """As Transport.version."""
        return VERSION

    async def close(self) -> None:
        """As Transport.close."""

    def _is_back(self) -> bool:
        return self._back is not None and self._back.exists()

    def _note(self, inputs: Sequence[ListingInput]) -> None:
        if self._calls is not None:
            with self._calls.open("a") as file:
                file.writelines(f"{each.title}\n" for each in inputs)


def answer_to(row: ListingInput) -> Reply:
    """One row's answer: the same row always gives the same."""
    if FAULT in row.title:
        return _encode(ListingFault(message="the fake model cannot read this")), np.zeros(EMBEDDING_DIM, np.float32)
    return _encode(result_of(row)), embedding_of(row.title)


def result_of(row: ListingInput) -> ListingAnswer:
    """A result whose spans stand where they say."""
    first = row.title.split()[0]
    span = Span(label="colour", text=first, score=0.9, field="title", start=0, end=len(first))
    safe = 0.01 if HARMFUL in row.title else 0.3 if UNSAFE in row.title else 0.99
    return ListingResult(
        language="en",
        language_score=0.9,
        nodes=[
            NodeScore("home.cups", ["Home", "Cups"], 0.8, ["home", "home.cups"]),
            NodeScore("home", ["Home"], 0.1, ["home"]),
        ],
        attributes=[span],
        spans=[msgspec.structs.replace(span, label="brand")],
        keywords=[msgspec.structs.replace(span, label="")],
        safe=safe,
        tokens=len(row.title),
        truncated=False,
        versions=VERSIONS,
        claims=[_checked(each, row.title) for each in row.claims],
    )


def _checked(claim: Claim, title: str) -> ClaimCheck:
    """Entailed where the title holds the value, contradicted where the value says so, else unknown."""
    at = title.find(claim.value)
    span = Span(label=claim.name, text=claim.value, score=0.9, field="title", start=at, end=at + len(claim.value))
    verdict = "entailed" if at >= 0 else "contradicted" if WRONG in claim.value else "unknown"
    return ClaimCheck(
        name=claim.name, value=claim.value, verdict=verdict, score=0.95, evidence=span if at >= 0 else None
    )


def embedding_of(text: str) -> Embedding:
    """A unit vector that depends on the text only."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    values = np.random.default_rng(seed).standard_normal(EMBEDDING_DIM).astype(np.float32)
    return values / np.float32(np.linalg.norm(values))
