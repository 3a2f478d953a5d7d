"""The real model server from pip: its environment, tensors of bytes, dynamic batching, metrics."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import psutil
import pytest
import tritonclient.grpc.aio as grpcclient

from deploy.embedded import triton
from deploy.embedded.errors import PortTaken, StackError
from deploy.embedded.ports import pick_ports
from deploy.embedded.progress import SilentReport
from deploy.embedded.stack import TRITON, Addresses, Stack
from inference.deadline import Deadline
from stream.settings import Settings, TritonSettings
from tests.conftest import ECHO_REPOSITORY

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


MakeSettings = Callable[..., Settings]


@pytest.fixture
def own_settings(stack_settings: Settings, tmp_path: Path) -> MakeSettings:
    """Settings of a server of this test's own."""

    def make(url: str = "", **stack: object) -> Settings:
        section = stack_settings.stack.model_copy(update={"run_dir": tmp_path / "run", **stack})
        return stack_settings.model_copy(update={"stack": section, "triton": TritonSettings(url=url)})

    return make


def test_a_model_that_does_not_load_is_named_with_its_reason(own_settings: MakeSettings, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    shutil.copytree(ECHO_REPOSITORY, repository)
    model = repository / "echo" / "1" / "model.py"
    model.write_text(model.read_text().replace("self._calls = 0", "raise ValueError('no weights here')"))
    stack = Stack(own_settings(), parts=[TRITON], models=repository, report=SilentReport())
    with pytest.raises(StackError, match=r"triton ended at start[^$]*no weights here"):
        stack.up()
    assert stack.status() == []


def test_a_killed_server_is_seen_and_takes_its_models_with_it(own_settings: MakeSettings) -> None:
    with Stack(own_settings(), parts=[TRITON], models=ECHO_REPOSITORY, report=SilentReport()) as stack:
        (part,) = stack.status()
        assert part.ok
        assert part.pid is not None
        models = psutil.Process(part.pid).children(recursive=True)
        assert models
        os.kill(part.pid, signal.SIGKILL)
        deadline = Deadline(20)
        while stack.status()[0].state != "dead":
            assert not deadline.passed
            time.sleep(0.05)
    # A zombie without a parent to reap it has ended as well.
    assert not [model for model in models if model.is_running() and model.status() != psutil.STATUS_ZOMBIE]


def test_a_port_in_use_is_named(own_settings: MakeSettings, echo_server: Addresses) -> None:
    port = int(echo_server.triton_grpc.split(":")[1])
    settings = own_settings(triton_grpc_port=port)
    with pytest.raises(PortTaken, match=f"Triton grpc: port {port} on 127.0.0.1 is in use"):
        Stack(settings, parts=[TRITON], models=ECHO_REPOSITORY, report=SilentReport()).up()


def test_a_free_port_taken_meanwhile_is_replaced(
    own_settings: MakeSettings, echo_server: Addresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, given = int(echo_server.triton_http.split(":")[1]), []

    def pick_as_if_late(names: Sequence[str], wanted: Sequence[int]) -> list[int]:
        given.append(pick_ports(names, wanted))
        return [taken, *given[-1][1:]] if len(given) == 1 else given[-1]

    monkeypatch.setattr(triton, "pick_ports", pick_as_if_late)
    with Stack(own_settings(), parts=[TRITON], models=ECHO_REPOSITORY, report=SilentReport()) as stack:
        assert stack.addresses.triton_http == f"127.0.0.1:{given[1][0]}"
    assert len(given) == 2


def test_an_external_server_is_used_and_left_alone(own_settings: MakeSettings, echo_server: Addresses) -> None:
    settings = own_settings(url=echo_server.triton_grpc)
    with Stack(settings, parts=[TRITON], report=SilentReport()) as stack:
        assert (stack.addresses.triton_kind, stack.addresses.triton_version) == ("external", "2.51.0")
        assert stack.status()[0].ok
    with urllib.request.urlopen(f"http://{echo_server.triton_http}/v2/health/ready", timeout=10) as answer:
        assert answer.status == 200


def test_a_named_server_that_does_not_answer_is_an_error(own_settings: MakeSettings) -> None:
    with pytest.raises(StackError, match=r"no Triton answers at TRITON_URL=127\.0\.0\.1:1"):
        Stack(own_settings(url="127.0.0.1:1"), parts=[TRITON], report=SilentReport()).up()
