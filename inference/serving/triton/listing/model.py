"""`listing` on Triton's Python backend: text in, the structured result out.

It composes, tokenises and buckets the rows of all requests of an execution together, calls `encoder` for the texts
and then `reader` for the texts with the names asked of them, once a bucket with all calls of a round under way at the
same time, and decodes. A row that cannot be answered gets a fault of its own; a failing encoder fails the requests,
for another try may succeed.
"""

from __future__ import annotations

import asyncio
import sys
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from inference.contract import ENCODER_MODEL, READER_MODEL  # noqa: E402
from inference.model.encoder import Batch, Raw  # noqa: E402
from inference.serving.engine import ListingEngine  # noqa: E402
from inference.serving.wire import decode_row, encode_answers  # noqa: E402

ENCODER_TIMEOUT_US = 15_000_000
"""Longest wait in the encoder's queue: below the client's 20 s, so that the client sees the reason."""


class EncoderFailed(Exception):
    """The call of `encoder` did not succeed."""


class TritonPythonModel:
    """One instance, one engine."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the heads, the names and the tokenizer; refuses a folder that is not what its manifest says."""
        self._engine = ListingEngine(HERE / "artefacts")

    async def execute(self, requests: list[Any]) -> list[Any]:
        """One response a request; rows keep their order."""
        rows = [_rows(request) for request in requests]
        work = self._engine.prepare([decode_row(row) for each in rows for row in each])
        try:
            question = self._engine.ask(work, await _run_all(ENCODER_MODEL, work.batches))
            raws = await _run_all(READER_MODEL, question.batches)
        except EncoderFailed as error:
            failed = pb_utils.TritonError(str(error), pb_utils.TritonError.UNAVAILABLE)
            return [pb_utils.InferenceResponse(error=failed) for _ in requests]
        results, embeddings = encode_answers(self._engine.finish(question, raws))
        cuts = [0, *accumulate(len(each) for each in rows)]
        return [_response(results[a:b], embeddings[a:b]) for a, b in pairwise(cuts)]


def _rows(request: Any) -> list[bytes]:
    tensor = pb_utils.get_input_tensor_by_name(request, "LISTING").as_numpy()
    return [bytes(row) for row in tensor.reshape(-1)]


def _response(results: Any, embeddings: Any) -> Any:
    tensors = [pb_utils.Tensor("RESULT", results.reshape(-1, 1)), pb_utils.Tensor("EMBEDDING", embeddings)]
    return pb_utils.InferenceResponse(output_tensors=tensors)


async def _run_all(model: str, batches: list[Batch]) -> list[Raw]:
    return await asyncio.gather(*(_encode(model, batch) for batch in batches))


async def _encode(model: str, batch: Batch) -> Raw:
    request = pb_utils.InferenceRequest(
        model_name=model,
        requested_output_names=["states", "features", "pooled"],
        inputs=[
            pb_utils.Tensor("input_ids", batch.input_ids),
            pb_utils.Tensor("attention_mask", batch.attention_mask),
        ],
        timeout=ENCODER_TIMEOUT_US,
    )
    response = await request.async_exec()
    if response.has_error():
        raise EncoderFailed(f"{model}: {response.error().message()}")
    outputs = (_output(response, name) for name in ("states", "features", "pooled"))
    return Raw(*outputs)


def _output(response: Any, name: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    tensor = pb_utils.get_output_tensor_by_name(response, name)
    found: np.ndarray[Any, np.dtype[np.float32]] = tensor.as_numpy()
    return found
