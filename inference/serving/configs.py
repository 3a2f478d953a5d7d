"""The models' configurations: tensors, batching, queues and instances, with the reason of each number."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum

from inference.contract import EMBEDDING_DIM, ENCODER_MODEL, LISTING_MODEL
from inference.errors import Misconfigured
from inference.model.encoder import BUCKETS, TOKENS_PER_RUN
from inference.model.onnx_graph import FEATURE_LAYERS, STATE_LAYERS
from inference.serving.layout import GPU_FILE, VERSION_PARAMETER
from inference.serving.pbtxt import ModelConfig, Queue, Tensor, WarmUp

BACKEND = "python"
SECOND_US = 1_000_000
LISTING_BATCH = 64
"""Twice the client's batch: two clients' batches that arrive together are tokenised and encoded together."""
LISTING_INSTANCES = 2
"""One decodes while the other waits for the encoder; more would only hold memory (310 MB each)."""
LISTING_DELAY_US = 2_000
"""A fiftieth of what a batch of 32 titles takes on two cores, so it is not felt, and bursts find mates."""
LISTING_QUEUE = 256
"""Requests. As rows of one, two seconds of work on two cores; as batches of 32 the timeout refuses first.
At 2 KB a row they hold 16 MB."""
LISTING_TIMEOUT_US = 20 * SECOND_US
"""The client's own limit; a request that waited longer has nobody left who wants it."""
MOST_INSTANCES = 4
"""A batch of mixed listings falls into about four buckets."""
ENCODER_BATCH = TOKENS_PER_RUN // BUCKETS[0]
"""As many rows of the shortest bucket as one run may hold."""
ENCODER_QUEUE = 4 * LISTING_QUEUE
"""A listing request becomes up to one call a bucket, of which four are common."""
ENCODER_TIMEOUT_US = 15 * SECOND_US


GPU_DELAY_US = 1_000
"""Assumed, not measured: a call of one listing takes a few milliseconds on a GPU, and may wait for mates as long."""


class Accelerator(StrEnum):
    """What runs the two encoders: ONNX Runtime in the project's own model on CPUs, or Triton's ONNX Runtime backend
    with CUDA kernels or with TensorRT engines."""

    CPU = "cpu"
    CUDA = "cuda"
    TENSORRT = "tensorrt"


@dataclass(frozen=True)
class Cores:
    """How the encoder uses a machine. instances: processes, each with a copy of the weights (190 MB in all after
    long texts) and `threads` runs at the same time. Instances overlap calls of different buckets, threads split large
    ones."""

    instances: int
    threads: int


def cores_for(count: int) -> Cores:
    """One run a core: an instance a core up to MOST_INSTANCES, beyond that more threads in each."""
    instances = max(1, min(count, MOST_INSTANCES))
    return Cores(instances, max(1, count // instances))


def encoder_config(version: str, cores: Cores, name: str = ENCODER_MODEL) -> ModelConfig:
    """`encoder` and `reader`: token ids to raw outputs."""
    hidden = EMBEDDING_DIM
    return ModelConfig(
        name=name,
        backend=BACKEND,
        max_batch_size=ENCODER_BATCH,
        inputs=tuple(Tensor(name, "TYPE_INT64", (-1,)) for name in ("input_ids", "attention_mask")),
        outputs=(
            Tensor("states", "TYPE_FP32", (-1, hidden * len(STATE_LAYERS))),
            Tensor("features", "TYPE_FP32", (hidden * len(FEATURE_LAYERS),)),
            Tensor("pooled", "TYPE_FP32", (hidden,)),
        ),
        instances=cores.instances,
        queue=Queue(0, ENCODER_TIMEOUT_US, ENCODER_QUEUE),
        parameters={VERSION_PARAMETER: version, "threads": str(cores.threads)},
    )


def gpu_encoder_config(
    version: str, accelerator: Accelerator, preferred: tuple[int, ...] = (), name: str = ENCODER_MODEL
) -> ModelConfig:
    """The same tensors from Triton's ONNX Runtime backend on a GPU. Not run on one.

    preferred: batch sizes, from `shangxin models sweep` on the machine itself. One instance: a GPU runs one batch at a
    time, and a second copy would only fill its memory. Each bucket is run with one row and with the most before the
    model is ready, for kernels are chosen (with TensorRT engines built) for the shapes that come. Raises
    Misconfigured."""
    found = encoder_config(version, Cores(1, 1), name)
    warm = tuple(
        WarmUp(f"bucket {bucket}", rows, tuple(Tensor(each.name, each.data_type, (bucket,)) for each in found.inputs))
        for bucket in BUCKETS
        for rows in (1, ENCODER_BATCH)
    )
    if wrong := [size for size in preferred if not 1 <= size <= ENCODER_BATCH]:
        raise Misconfigured(f"preferred: 1 to {ENCODER_BATCH} rows; got {wrong[0]}")
    return dataclasses.replace(
        found,
        backend="onnxruntime",
        kind="KIND_GPU",
        file=GPU_FILE,
        accelerator=accelerator.value if accelerator is Accelerator.TENSORRT else "",
        queue=dataclasses.replace(found.queue, max_delay_us=GPU_DELAY_US, preferred=preferred),
        parameters={VERSION_PARAMETER: version},
        warm_ups=warm,
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
