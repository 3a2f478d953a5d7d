"""Configurations survive being written and read; what this project did not write is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.model.encoder import BUCKETS
from inference.serving.configs import Accelerator, Cores, cores_for, encoder_config, gpu_encoder_config, listing_config
from inference.serving.pbtxt import ModelConfig, PbtxtError, Queue, Tensor, WarmUp, from_pbtxt, to_pbtxt

names = st.text(alphabet="abcdefghij_", min_size=1, max_size=12)
numbers = st.integers(0, 2**40)
tensors = st.builds(Tensor, names, st.sampled_from(["TYPE_FP32", "TYPE_STRING"]), st.tuples(st.integers(-1, 9)))
configs = st.builds(
    ModelConfig,
    name=names,
    backend=names,
    max_batch_size=numbers,
    inputs=st.lists(tensors, max_size=3).map(tuple),
    outputs=st.lists(tensors, max_size=3).map(tuple),
    instances=numbers,
    queue=st.builds(Queue, numbers, numbers, numbers, st.lists(numbers, max_size=3).map(tuple)),
    parameters=st.dictionaries(names, st.text(max_size=20), max_size=4),
    file=st.one_of(st.just(""), names),
    accelerator=st.one_of(st.just(""), names),
    warm_ups=st.lists(st.builds(WarmUp, names, numbers, st.lists(tensors, max_size=2).map(tuple)), max_size=2).map(
        tuple
    ),
)
GPU = [gpu_encoder_config("v0-abc", each, (16, 32)) for each in (Accelerator.CUDA, Accelerator.TENSORRT)]


@given(configs)
def test_round_trip_of_any_configuration(config: ModelConfig) -> None:
    assert from_pbtxt(to_pbtxt(config)) == config


@pytest.mark.parametrize("config", [listing_config("v0-abc"), encoder_config("v0-abc", Cores(2, 1)), *GPU])
def test_round_trip_of_what_is_served(config: ModelConfig) -> None:
    assert from_pbtxt(to_pbtxt(config)) == config
    assert config.parameters["shangxin_version"] == "v0-abc"


@pytest.mark.parametrize("config", GPU)
def test_on_a_gpu_the_tensors_are_those_of_the_cpu(config: ModelConfig) -> None:
    served = encoder_config("v0-abc", Cores(2, 1))
    assert (config.inputs, config.outputs, config.max_batch_size) == (
        served.inputs,
        served.outputs,
        served.max_batch_size,
    )
    assert [each.inputs[0].dims for each in config.warm_ups] == [(bucket,) for bucket in BUCKETS for _ in range(2)]
    text = to_pbtxt(config)
    assert "KIND_GPU" in text
    assert "preferred_batch_size: [ 16, 32 ]" in text
    assert ('name: "tensorrt"' in text) == (config.accelerator == "tensorrt")


def test_an_unknown_field_is_refused_by_name() -> None:
    with pytest.raises(PbtxtError, match="ensemble_scheduling"):
        from_pbtxt(to_pbtxt(listing_config("v")) + "ensemble_scheduling { }")


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.9])
def test_a_cut_file_is_refused(cut: float) -> None:
    text = to_pbtxt(listing_config("v0-abc"))
    with pytest.raises(PbtxtError):
        from_pbtxt(text[: int(len(text) * cut)])


@pytest.mark.parametrize(("count", "instances", "threads"), [(1, 1, 1), (2, 2, 1), (4, 4, 1), (16, 4, 4), (7, 4, 1)])
def test_one_run_a_core(count: int, instances: int, threads: int) -> None:
    assert cores_for(count) == Cores(instances, threads)
