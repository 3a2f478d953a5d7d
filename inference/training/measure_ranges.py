"""Measures the ranges of the encoder's states, and chooses factors and clipping by the error that is left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from inference.model.backbone import BackboneWeights
from inference.model.encoder import Batch
from inference.model.onnx_graph import MIN_SCALE, EncoderGraph
from inference.model.ranges import Range

TOKENS = 6_000
"""Looked at: 0.4 GB in fp16; the largest value of a channel hardly grows beyond."""
SAMPLE = 400
"""Tokens on which the choices of one product are compared."""
MIGRATIONS = (0.6, 0.7, 0.8, 0.9)
"""How much of a channel's size goes to the weights. On one adapter the states' relative error was 0.20 without
factors, 0.20, 0.118, 0.086, 0.083 and 0.097 with 0.5 to 0.9 for all products."""
CLIPPINGS = (1.0, 0.9, 0.8, 0.7, 0.6)
"""Of the range: a few values cut may cost less than coarser steps for all."""
LEAST = 1e-4

Floats = NDArray[np.float32]
Report = Callable[[int, int], None]


def measure_ranges(backbone: BackboneWeights, batches: Sequence[Batch], report: Report) -> dict[str, Range]:
    """A range for each state that goes into a product. batches: of training text, the first TOKENS count."""
    graph = EncoderGraph(backbone)
    model = graph.build(shown=True)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = list(graph.products)
    seen: dict[str, list[NDArray[np.float16]]] = {name: [] for name in names}
    for batch in _first(batches):
        inside = batch.attention_mask.astype(bool)
        feed = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        for name, state in zip(names, session.run(names, feed), strict=True):
            seen[name].append(state[inside].astype(np.float16))
    found = {}
    for at, name in enumerate(names):
        weight = np.concatenate([backbone.weights(*each) for each in graph.products[name]]).T
        found[name] = best_range(np.concatenate(seen.pop(name)).astype(np.float32), weight)
        report(at + 1, len(names))
    return found


def best_range(states: Floats, weight: Floats) -> Range:
    """The one whose product with `weight` [channels, columns] is nearest. states: [N, channels]."""
    some = states[:: max(1, len(states) // SAMPLE)]
    exact = some @ weight
    choices = list(chain.from_iterable(_choices(states, weight, each) for each in MIGRATIONS))
    return min(choices, key=lambda choice: float(((_product(choice, some, weight) - exact) ** 2).mean()))


def _choices(states: Floats, weight: Floats, migration: float) -> Iterator[Range]:
    sizes, rows = np.maximum(np.abs(states).max(0), LEAST), np.maximum(np.abs(weight).max(1), LEAST)
    factors = sizes**migration / rows ** (1.0 - migration)
    factors = (factors / np.exp(np.log(factors).mean())).astype(np.float16).astype(np.float32)
    left = states / factors
    low, high = float(left.min()), float(left.max())
    for clipping in CLIPPINGS:
        yield Range(low * clipping, high * clipping, factors)


def _product(choice: Range, states: Floats, weight: Floats) -> Floats:
    weight = weight * choice.factors[:, None]
    scales = np.maximum(np.abs(weight).max(0), MIN_SCALE) / 127.0
    return np.asarray(choice.rounded(states) @ (np.rint(weight / scales) * scales), np.float32)


def _first(batches: Sequence[Batch]) -> Iterator[Batch]:
    tokens = 0
    for batch in batches:
        if tokens < TOKENS:
            yield batch
        tokens += int(batch.attention_mask.sum())
