"""The backbone as a torch module with the frozen word embeddings, its tuned parts, and their export as an adapter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import AdaLoraConfig, LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from inference.errors import Misconfigured
from inference.model.adapter import LowRank
from inference.model.backbone import BackboneWeights
from inference.model.onnx_graph import FEATURE_LAYERS
from inference.tuning.config import Method, Tuning
from inference.tuning.dropout import pool_dropout

LINEARS = {
    "attention.self.query": "q",
    "attention.self.key": "k",
    "attention.self.value": "v",
    "attention.output.dense": "ao",
    "intermediate.dense": "fi",
    "output.dense": "fo",
}
"""Places in a block of transformers.BertModel, and what the backbone's file calls them."""
WIDER = 4
"""An adapter's inner width by LoRA's rank: 2.4 million parameters at rank 32, where LoRA has 2.7."""
NORMS = {"attention.output.LayerNorm": "aln", "output.LayerNorm": "oln"}


@dataclass
class Hidden:
    """states [B, T, 384]: of the last layer. features [B, 1152]: masked means of layers 12, 9, 6, or of the last where
    there are fewer. mask [B, T]."""

    states: Tensor
    features: Tensor
    mask: Tensor

    @property
    def pooled(self) -> Tensor:
        """Unit length [B, 384]."""
        return nn.functional.normalize(self.features[:, : self.states.shape[-1]], dim=-1)


class TorchEncoder(nn.Module):
    """Ids and mask to Hidden. `parameters()` that require a gradient are the tuned ones."""

    def __init__(self, source: BackboneWeights, tuning: Tuning, steps: int = 1_000) -> None:
        super().__init__()
        self.tuning = tuning
        model = _bert(source, tuning.dropout)
        self._start = _matrices(model) if tuning.method is Method.FULL else {}
        self.bert: nn.Module = _tuned(model, tuning, steps)

    def embedded(self, ids: Tensor) -> Tensor:
        """Word embeddings [B, T, 384] of ids, that a gradient reaches."""
        words = self.bert.get_input_embeddings()  # type: ignore[operator]
        found: Tensor = words(ids).detach()
        return found.requires_grad_()

    def forward(self, ids: Tensor, mask: Tensor, embedded: Tensor | None = None) -> Hidden:
        """int64 [B, T] each. embedded: taken for the words' own."""
        read = {"input_ids": ids} if embedded is None else {"inputs_embeds": embedded}
        out = self.bert(**read, attention_mask=mask, output_hidden_states=True)
        weight = mask[:, :, None].float()
        total = weight.sum(1)
        last = len(out.hidden_states) - 1
        layers = [out.hidden_states[min(layer, last)].float() for layer in FEATURE_LAYERS]
        return Hidden(layers[0], torch.cat([(each * weight).sum(1) / total for each in layers], -1), mask)

    @contextmanager
    def as_it_was(self) -> Iterator[None]:
        """Without what was tuned; not for full tuning, which keeps no copy."""
        with self.bert.disable_adapter() if isinstance(self.bert, PeftModel) else nullcontext():
            yield

    @property
    def can_look_back(self) -> bool:
        """Whether `as_it_was` works."""
        return isinstance(self.bert, PeftModel)

    def tuned_state(self) -> dict[str, Tensor]:
        """What moves, by name."""
        return {name: value.detach() for name, value in self.named_parameters() if value.requires_grad}

    def load_tuned(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `tuned_state` gave."""
        own = dict(self.named_parameters())
        with torch.no_grad():
            for name, value in state.items():
                own[name].copy_(value)

    def start_from(self, changes: Mapping[str, LowRank]) -> None:
        """Begin where an adapter of the same rank ended. Raises Misconfigured for another rank or method."""
        for place, module in self.bert.named_modules():
            if not hasattr(module, "lora_A") or "default" not in module.lora_A:
                continue
            down, up, name = module.lora_A["default"], module.lora_B["default"], _tensor_name(place)
            change = changes.get(name)
            if not isinstance(down, nn.Linear) or change is None or change.down.shape != tuple(down.weight.shape):
                raise Misconfigured(f"adapter: {name} does not fit LoRA of rank {self.tuning.rank}; say --fresh")
            with torch.no_grad():
                down.weight.copy_(torch.from_numpy(change.down))
                up.weight.copy_(torch.from_numpy(change.up / float(module.scaling["default"])))

    def changes(self) -> dict[str, LowRank]:
        """What tuning added, by the name of the backbone's tensor; a full change is cut to `tuning.rank`. Raises
        Misconfigured for what is no change of a matrix."""
        if self.tuning.method is Method.ADAPTERS:
            raise Misconfigured(
                "method: one that changes matrices, as the served graph has no layers beside them; got adapters"
            )
        if self.tuning.layers < Tuning().layers:
            raise Misconfigured(
                f"layers: {Tuning().layers}, fewer are measured and not served; got {self.tuning.layers}"
            )
        if self.tuning.method is Method.FULL:
            now = _matrices(self.bert)
            return {name: _truncated(now[name].cpu() - self._start[name], self.tuning.rank) for name in now}
        found: dict[str, LowRank] = {}
        for place, module in self.bert.named_modules():
            if hasattr(module, "lora_A") and "default" in module.lora_A:
                found[_tensor_name(place)] = _low_rank(module)
        return found


def _bert(source: BackboneWeights, dropout: float) -> BertModel:
    config = source.config
    model = BertModel(  # type: ignore[no-untyped-call]
        BertConfig(
            vocab_size=config.vocabulary,
            hidden_size=config.hidden,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            intermediate_size=config.feed_forward,
            max_position_embeddings=config.positions,
            layer_norm_eps=max(config.epsilon, 1e-12),
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=0.0,  # a sixth of the time of a step
        ),
        add_pooling_layer=False,
    )
    hidden, state = config.hidden, {}
    state["embeddings.word_embeddings.weight"] = source.words().dequantised()
    state["embeddings.position_embeddings.weight"] = source.vector("emb.pos", config.positions, hidden)
    state["embeddings.token_type_embeddings.weight"] = source.vector("emb.type", 2, hidden)
    for part, end in (("weight", "w"), ("bias", "b")):
        state[f"embeddings.LayerNorm.{part}"] = source.vector(f"emb.ln.{end}", hidden)
        for layer in range(config.layers):
            for place, name in NORMS.items():
                state[f"encoder.layer.{layer}.{place}.{part}"] = source.vector(f"l{layer}.{name}.{end}", hidden)
    for layer in range(config.layers):
        for place, name in LINEARS.items():
            rows = config.feed_forward if name == "fi" else hidden
            columns = config.feed_forward if name == "fo" else hidden
            state[f"encoder.layer.{layer}.{place}.weight"] = source.weights(f"l{layer}.{name}.w", rows, columns)
            state[f"encoder.layer.{layer}.{place}.bias"] = source.vector(f"l{layer}.{name}.b", rows)
    tensors = {name: torch.from_numpy(np.array(value, np.float32)) for name, value in state.items()}
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    wrong = [name for name in missing if "position_ids" not in name] + list(unexpected)
    if wrong:
        raise ValueError(f"transformers.BertModel does not fit the backbone: {wrong[:5]}")
    model.set_attn_implementation("eager")  # the fused kernel's backward pass takes a quarter of a step on a CPU
    pool_dropout(model)
    return model


def _tuned(model: BertModel, tuning: Tuning, steps: int) -> nn.Module:
    if tuning.method is Method.FULL:
        model.embeddings.requires_grad_(False)
        return model
    model.requires_grad_(False)
    if tuning.method is Method.FROZEN:
        return model
    if tuning.method is Method.ADAPTERS:
        return _with_adapters(model, WIDER * tuning.rank)
    common: dict[str, Any] = {"target_modules": list(tuning.moved), "lora_alpha": tuning.alpha, "lora_dropout": 0.0}
    if tuning.method is Method.ADALORA:
        config: LoraConfig = AdaLoraConfig(
            init_r=tuning.rank * 3 // 2,
            target_r=tuning.rank,
            tinit=steps // 10,
            tfinal=steps // 2,
            deltaT=10,
            total_step=steps,
            **common,
        )
    else:
        config = LoraConfig(r=tuning.rank, **common)
    return get_peft_model(model, config)


class Bottleneck(nn.Module):
    """x + up(gelu(down(x))), at first x (Houlsby and others, arXiv:1902.00751)."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, inner), nn.Linear(inner, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        moved: Tensor = x + self.up(nn.functional.gelu(self.down(x)))
        return moved


def _with_adapters(model: BertModel, inner: int) -> BertModel:
    """One behind each block's attention and one behind its feed-forward."""
    blocks: Any = model.encoder.layer
    for block in blocks:
        for part in (block.attention.output, block.output):
            part.dense = nn.Sequential(part.dense, Bottleneck(model.config.hidden_size, inner))
    return model


def _matrices(model: nn.Module) -> dict[str, Tensor]:
    return {
        _tensor_name(place): module.weight.detach().clone()
        for place, module in model.named_modules()
        if isinstance(module, nn.Linear)
    }


def _tensor_name(place: str) -> str:
    """`...encoder.layer.3.attention.self.query` to `l3.q.w`."""
    layer, _, rest = place.split("encoder.layer.")[1].partition(".")
    return f"l{layer}.{LINEARS[rest]}.w"


def _low_rank(module: Any) -> LowRank:
    down, up, scale = module.lora_A["default"], module.lora_B["default"], float(module.scaling["default"])
    if isinstance(down, nn.Parameter):  # AdaLoRA: B diag(E) A / number of ranks that are left
        ranks = float(module.ranknum["default"]) + 1e-5
        return LowRank(_array(down * module.lora_E["default"]), _array(up * scale / ranks))
    return LowRank(_array(down.weight), _array(up.weight * scale))


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(tensor.detach().cpu().numpy(), np.float32)


def _truncated(change: Tensor, rank: int) -> LowRank:
    """The nearest matrix of this rank (Eckart and Young 1936)."""
    left, sizes, right = torch.linalg.svd(change, full_matrices=False)
    roots = sizes[:rank].sqrt()
    return LowRank((roots[:, None] * right[:rank]).numpy(), (left[:, :rank] * roots).numpy())
