"""The two models' configurations: tensors, batching, queues and instances, with the reason of each number."""

from __future__ import annotations

from inference.contract import EMBEDDING_DIM, ENCODER_MODEL, LISTING_MODEL
from inference.model.encoder import BUCKETS, TOKENS_PER_RUN
from inference.model.onnx_graph import FEATURE_LAYERS, STATE_LAYERS
from inference.serving.layout import VERSION_PARAMETER
from inference.serving.pbtxt import ModelConfig, Queue, Tensor

BACKEND = "python"
SECOND_US = 1_000_000
LISTING_BATCH = 64
"""Twice the client's batch: two clients' batches that arrive together are tokenised and encoded together."""
LISTING_INSTANCES = 2
"""One decodes while the other waits for the encoder; more would only hold memory (120 MB each)."""
LISTING_DELAY_US = 2_000
"""A fiftieth of what a batch of 32 titles takes on two cores, so it is not felt, and bursts find mates."""
LISTING_QUEUE = 64
"""Requests, of up to 32 rows: 20 s of work on two cores, after which the client has given up anyway."""
LISTING_TIMEOUT_US = 20 * SECOND_US
"""The client's own limit; a request that waited longer has nobody left who wants it."""
ENCODER_BATCH = TOKENS_PER_RUN // BUCKETS[0]
"""As many rows of the shortest bucket as one run may hold."""
ENCODER_QUEUE = 4 * LISTING_QUEUE
"""A listing request becomes up to one call a bucket, of which four are common."""
ENCODER_TIMEOUT_US = 15 * SECOND_US


def encoder_config(version: str, threads: int) -> ModelConfig:
    """`encoder`: token ids to raw outputs. One instance with all cores: its batches, not copies, fill them."""
    hidden = EMBEDDING_DIM
    return ModelConfig(
        name=ENCODER_MODEL,
        backend=BACKEND,
        max_batch_size=ENCODER_BATCH,
        inputs=tuple(Tensor(name, "TYPE_INT64", (-1,)) for name in ("input_ids", "attention_mask")),
        outputs=(
            Tensor("states", "TYPE_FP32", (-1, hidden * len(STATE_LAYERS))),
            Tensor("features", "TYPE_FP32", (hidden * len(FEATURE_LAYERS),)),
            Tensor("pooled", "TYPE_FP32", (hidden,)),
        ),
        instances=1,
        queue=Queue(0, ENCODER_TIMEOUT_US, ENCODER_QUEUE),
        parameters={VERSION_PARAMETER: version, "threads": str(threads)},
    )


def listing_config(version: str) -> ModelConfig:
    """`listing`: text to the structured result (tensors: inference/contract.py)."""
    return ModelConfig(
        name=LISTING_MODEL,
        backend=BACKEND,
        max_batch_size=LISTING_BATCH,
        inputs=(Tensor("LISTING", "TYPE_STRING", (1,)),),
        outputs=(Tensor("RESULT", "TYPE_STRING", (1,)), Tensor("EMBEDDING", "TYPE_FP32", (EMBEDDING_DIM,))),
        instances=LISTING_INSTANCES,
        queue=Queue(LISTING_DELAY_US, LISTING_TIMEOUT_US, LISTING_QUEUE),
        parameters={VERSION_PARAMETER: version},
    )
