"""`encoder` and `reader` on Triton's Python backend: token ids to states, features and pooled vector, on ONNX Runtime.

Requests of one execution have one length (the dynamic batcher puts equal shapes together) and run as one.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from inference.contract import READER_MODEL  # noqa: E402
from inference.model.encoder import BUCKETS, MATRICES_FILE, ONNX_FILE, TOKENS_PER_RUN, Batch, OnnxSession, Raw  # noqa: E402
from inference.serving.manifest import check_file, load_manifest  # noqa: E402

INPUTS = ("input_ids", "attention_mask")


class TritonPythonModel:
    """One instance, one session. The parameter `threads` is how many runs it does at the same time."""

    def initialize(self, args: dict[str, str]) -> None:
        """Compare with the manifest, load, and run each bucket once, so that no listing pays for the first call."""
        manifest = load_manifest(HERE)
        check_file(HERE / ONNX_FILE, manifest.reader if args["model_name"] == READER_MODEL else manifest.encoder)
        check_file(HERE / MATRICES_FILE, manifest.matrices)
        parameters = json.loads(args["model_config"]).get("parameters", {})
        threads = int(parameters.get("threads", {}).get("string_value", "1"))
        self._session = OnnxSession(HERE / ONNX_FILE, threads)
        for bucket in BUCKETS:
            ones = np.ones((1, bucket), np.int64)
            self._session.run(Batch([0], ones, ones))

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response a request, whatever happened to the others."""
        groups: dict[int, list[int]] = {}
        feeds = [_feed(request) for request in requests]
        for at, (ids, _mask) in enumerate(feeds):
            groups.setdefault(ids.shape[1], []).append(at)
        responses: dict[int, Any] = {}
        for members in groups.values():
            responses.update(self._run([feeds[at] for at in members], members))
        return [responses[at] for at in range(len(requests))]

    def _run(self, feeds: list[tuple[Any, Any]], members: list[int]) -> dict[int, Any]:
        ids, mask = (np.concatenate(parts) for parts in zip(*feeds, strict=True))
        raw = self._bounded(ids, mask)
        cuts = np.cumsum([len(part) for part, _ in feeds])[:-1]
        pieces = zip(*(np.split(each, cuts) for each in (raw.states, raw.features, raw.pooled)), strict=True)
        return {at: _response(*piece) for at, piece in zip(members, pieces, strict=True)}

    def _bounded(self, ids: Any, mask: Any) -> Raw:
        """Run at most TOKENS_PER_RUN tokens at once: attention over all that may queue would take gigabytes."""
        most = max(1, TOKENS_PER_RUN // ids.shape[1])
        starts = range(0, len(ids), most)
        raws = self._session.run_all([Batch([], ids[at : at + most], mask[at : at + most]) for at in starts])
        if len(raws) == 1:
            return raws[0]
        parts = zip(*((raw.states, raw.features, raw.pooled) for raw in raws), strict=True)
        return Raw(*(np.concatenate(each) for each in parts))


def _feed(request: Any) -> tuple[Any, Any]:
    ids, mask = (pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in INPUTS)
    return ids, mask


def _response(states: Any, features: Any, pooled: Any) -> Any:
    outputs = (("states", states), ("features", features), ("pooled", pooled))
    tensors = [pb_utils.Tensor(name, np.ascontiguousarray(value)) for name, value in outputs]
    return pb_utils.InferenceResponse(output_tensors=tensors)
