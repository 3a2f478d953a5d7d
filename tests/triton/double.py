"""Model repository of a small `listing` double: the real tensors and server, answers that a test can predict.

The title steers it: `refuse` fails the whole request as invalid, `break` raises inside the model,
`die` ends the model's process, `fault` answers a ListingFault, `slow` takes SLOW_S seconds.
Everything else is echoed.
"""

from __future__ import annotations

from pathlib import Path

VERSION = "double-0001"
SLOW_S = 0.5

CONFIG = """name: "listing"
backend: "python"
max_batch_size: 64
input [ { name: "LISTING" data_type: TYPE_STRING dims: [ 1 ] } ]
output [
  { name: "RESULT" data_type: TYPE_STRING dims: [ 1 ] },
  { name: "EMBEDDING" data_type: TYPE_FP32 dims: [ 384 ] }
]
instance_group [ { count: 1 kind: KIND_CPU } ]
dynamic_batching {
  max_queue_delay_microseconds: 1000
  default_queue_policy { timeout_action: REJECT allow_timeout_override: true max_queue_size: 8 }
}
parameters { key: "shangxin_version" value: { string_value: "VERSION" } }
"""

MODEL = """import json
import os
import time

import numpy as np
import triton_python_backend_utils as pb


def answer(row):
    item = json.loads(row)
    title = item["title"]
    if title == "fault":
        return {"type": "fault", "message": "asked for"}, np.zeros(384, dtype=np.float32)
    unit = np.zeros(384, dtype=np.float32)
    unit[len(title) % 384] = 1.0
    return {
        "type": "result", "language": item.get("language", "en"), "language_score": 1.0,
        "nodes": [{"node": title, "path": [title], "score": 1.0}], "attributes": [], "spans": [], "keywords": [],
        "safe": 1.0, "tokens": len(title), "truncated": False, "versions": {"model": "VERSION"},
    }, unit


class TritonPythonModel:
    def execute(self, requests):
        return [self.one(request) for request in requests]

    def one(self, request):
        rows = pb.get_input_tensor_by_name(request, "LISTING").as_numpy().reshape(-1)
        titles = [json.loads(row)["title"] for row in rows]
        if "break" in titles:
            raise RuntimeError("asked to break")
        if "die" in titles:
            os._exit(1)
        if "refuse" in titles:
            return pb.InferenceResponse(error=pb.TritonError("asked to refuse", pb.TritonError.INVALID_ARG))
        if "slow" in titles:
            time.sleep(SLOW_S)
        answers = [answer(row) for row in rows]
        results = np.array([[json.dumps(body).encode()] for body, _ in answers], dtype=np.object_)
        embeddings = np.stack([vector for _, vector in answers])
        return pb.InferenceResponse([pb.Tensor("RESULT", results), pb.Tensor("EMBEDDING", embeddings)])
"""


def write_repository(folder: Path) -> Path:
    """Write it under `folder` and return that."""
    model = folder / "listing"
    (model / "1").mkdir(parents=True)
    (model / "config.pbtxt").write_text(CONFIG.replace("VERSION", VERSION))
    (model / "1" / "model.py").write_text(MODEL.replace("VERSION", VERSION).replace("SLOW_S", str(SLOW_S)))
    return folder
