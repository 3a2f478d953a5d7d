"""The real model server from pip: its environment, tensors of bytes, dynamic batching, metrics."""

from __future__ import annotations

import asyncio
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc.aio as grpcclient

from deploy.embedded.stack import Addresses
from stream.settings import Settings

pytestmark = pytest.mark.triton


async def ask(client: grpcclient.InferenceServerClient, texts: list[str]) -> grpcclient.InferResult:
    """One request of len(texts) rows."""
    tensor = grpcclient.InferInput("TEXT", [len(texts), 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[text.encode()] for text in texts], dtype=object))
    return await client.infer("echo", [tensor], client_timeout=20)


async def test_text_comes_back_whole(echo_server: Addresses) -> None:
    texts = ["上新：轻薄羽绒服", "a b c", "", "👗" * 500]
    async with grpcclient.InferenceServerClient(echo_server.triton_grpc) as client:
        answer = await ask(client, texts)
    assert [row[0].decode() for row in answer.as_numpy("TEXT_OUT")] == texts


async def test_models_run_in_the_servers_own_environment(echo_server: Addresses, stack_settings: Settings) -> None:
    async with grpcclient.InferenceServerClient(echo_server.triton_grpc) as client:
        answer = await ask(client, ["x"])
    prefix, _, numpy = answer.as_numpy("PYTHON")[0][0].decode().partition(" numpy ")
    assert Path(prefix) == stack_settings.stack.triton_venv.absolute()
    assert numpy == "1.26.4"


async def test_calls_in_flight_share_an_execution(echo_server: Addresses) -> None:
    async with grpcclient.InferenceServerClient(echo_server.triton_grpc) as client:
        answers = await asyncio.gather(*(ask(client, [f"row {number}"]) for number in range(64)))
    assert [answer.as_numpy("TEXT_OUT")[0][0].decode() for answer in answers] == [f"row {n}" for n in range(64)]
    executions = {int(answer.as_numpy("CALL")[0][0]): int(answer.as_numpy("CALL")[0][1]) for answer in answers}
    assert sum(executions.values()) == 64
    # 64 calls within the 20 ms that the queue may wait: a few executions, never one each.
    assert len(executions) <= 16


def test_metrics_are_served(echo_server: Addresses) -> None:
    with urllib.request.urlopen(f"http://{echo_server.triton_metrics}/metrics", timeout=10) as answer:
        assert b'nv_inference_exec_count{model="echo"' in answer.read()


def test_one_server_a_repository(echo_server: Addresses) -> None:
    assert echo_server.triton_version == "2.51.0"
    assert not echo_server.bootstrap
