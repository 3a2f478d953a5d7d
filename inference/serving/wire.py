"""Rows of the `listing` model on the wire: bytes to inputs or faults, answers to bytes and vectors."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from inference.contract import EMBEDDING_DIM, ListingAnswer, ListingFault, ListingInput

Embedding = NDArray[np.float32]
_DECODER = msgspec.json.Decoder(ListingInput)
_ENCODER = msgspec.json.Encoder()


def decode_row(row: bytes) -> ListingInput | ListingFault:
    """One row's input, or why it is none."""
    try:
        return _DECODER.decode(row)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return ListingFault(message=f"LISTING: a JSON document of the listing contract ({error})")


def encode_answers(
    answers: Sequence[tuple[ListingAnswer, Embedding]],
) -> tuple[NDArray[np.object_], Embedding]:
    """RESULT as objects [N] of bytes and EMBEDDING fp32 [N, 384], zeros for a fault."""
    results = np.empty(len(answers), np.object_)
    embeddings = np.zeros((len(answers), EMBEDDING_DIM), np.float32)
    for at, (answer, embedding) in enumerate(answers):
        results[at] = _ENCODER.encode(answer)
        embeddings[at] = embedding
    return results, embeddings
