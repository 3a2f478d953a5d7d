"""`listing` on the real Triton: the same answers as in this process, whatever else is asked meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
import tritonclient.grpc.aio as grpc_aio
from numpy.typing import NDArray
from typer.testing import CliRunner

from deploy.embedded.stack import Addresses
from inference.client.triton import TritonTransport
from inference.contract import (
    ENCODER_MODEL,
    LISTING_MODEL,
    READER_MODEL,
    ListingAnswer,
    ListingFault,
    ListingInput,
    ListingResult,
)
from inference.serving.engine import LocalEngine
from stream.cli.models import app
from tests.unit.models_fixture import build_small
from tests.unit.test_model_engine import assert_same, random_listings

pytestmark = pytest.mark.triton

CALL_S = 60.0
Answer = tuple[ListingAnswer, NDArray[np.float32]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_small(tmp_path_factory.mktemp("served")).folder


@pytest.fixture(scope="module")
def url(models: Path, triton_server: Callable[[Path], Addresses]) -> str:
    return triton_server(models).triton_grpc


@pytest.fixture(scope="module")
def local(models: Path) -> LocalEngine:
    return LocalEngine.open(models, threads=1)


@pytest.fixture
async def transport(url: str) -> AsyncIterator[TritonTransport]:
    made = TritonTransport(url)
    yield made
    await made.close()


async def ask(transport: TritonTransport, rows: Sequence[ListingInput | bytes]) -> list[Answer]:
    raw = [row if isinstance(row, bytes) else msgspec.json.encode(row) for row in rows]
    replies = await transport.infer(raw, CALL_S)
    return [(msgspec.json.decode(answer, type=ListingAnswer), vector) for answer, vector in replies]


def assert_equal(served: Answer, expected: Answer) -> None:
    assert isinstance(served[0], ListingResult)
    assert isinstance(expected[0], ListingResult)
    assert_same(served[0], expected[0])
    assert np.abs(served[1] - expected[1]).max() < 1e-3


async def test_served_answers_equal_those_in_process(transport: TritonTransport, local: LocalEngine) -> None:
    rows = random_listings(48, seed=21)
    for served, expected in zip(await ask(transport, rows), local.answer(rows), strict=True):
        assert_equal(served, expected)
        assert abs(float(np.linalg.norm(served[1])) - 1) < 1e-5


async def test_alone_and_among_calls_in_flight_are_the_same(transport: TritonTransport) -> None:
    rows = random_listings(63, seed=22)
    alone = [(await ask(transport, [row]))[0] for row in rows[:12]]
    calls = [ask(transport, rows[at : at + 7]) for at in range(0, 63, 7)]
    among = [answer for answers in await asyncio.gather(*calls) for answer in answers]
    for own, shared in zip(alone, among, strict=False):
        assert_equal(own, shared)


async def test_garbage_fails_alone(transport: TritonTransport, local: LocalEngine) -> None:
    good = random_listings(2, seed=23)
    rows: list[ListingInput | bytes] = [
        good[0],
        b"\xff\x00 not json",
        b'{"title": 5}',
        b"{}",
        ListingInput(title="\n"),
        b'"\\ud800"',
        good[1],
    ]
    answers = await ask(transport, rows)
    assert [isinstance(answer, ListingFault) for answer, _ in answers] == [False, True, True, True, True, True, False]
    assert not any(vector.any() for _, vector in answers[1:6])
    for served, expected in zip([answers[0], answers[-1]], local.answer(good), strict=True):
        assert_equal(served, expected)


async def counted(url: str, model: str, rows: int) -> tuple[int, int]:
    """As `executed`, once so many rows are counted, or after ten seconds: the server counts after it has answered."""
    found = await executed(url, model)
    for _ in range(200):
        if found[0] >= rows:
            break
        await asyncio.sleep(0.05)
        found = await executed(url, model)
    return found


async def test_calls_in_flight_share_executions(transport: TritonTransport, url: str) -> None:
    before = {model: await executed(url, model) for model in (LISTING_MODEL, ENCODER_MODEL, READER_MODEL)}
    rows = [ListingInput(title="red dress")] * 96
    answers = await asyncio.gather(*(ask(transport, [row]) for row in rows))
    assert len(answers) == 96
    for model, (rows_before, runs_before) in before.items():
        rows_after, runs_after = await counted(url, model, rows_before + 96)
        assert rows_after - rows_before == 96
        assert (rows_after - rows_before) / (runs_after - runs_before) > 2, f"{model} does not batch"


async def test_the_version_is_read_from_the_server_and_named_by_results(
    transport: TritonTransport, local: LocalEngine
) -> None:
    assert await transport.version() == local.manifest.version
    ((answer, _),) = await ask(transport, [ListingInput(title="red dress")])
    assert isinstance(answer, ListingResult)
    assert answer.versions == local.manifest.versions


async def executed(url: str, model: str) -> tuple[int, int]:
    """Rows and executions so far (what nv_inference_count and nv_inference_exec_count show)."""
    client = grpc_aio.InferenceServerClient(url)
    stats = (await client.get_inference_statistics(model, as_json=True))["model_stats"][0]
    await client.close()
    return int(stats.get("inference_count", 0)), int(stats.get("execution_count", 0))


def test_a_sweep_measures_each_setting(url: str) -> None:
    said = CliRunner().invoke(
        app,
        ["sweep", "--url", url, "--rows", "2", "--callers", "1", "--callers", "3", "--seconds", "0.2", "--rounds", "1"],
    )
    assert said.exit_code == 0, said.output
    lines = [line.split(" | ") for line in said.stdout.splitlines() if line.startswith(("| title", "| five"))]
    assert [(line[1], line[2]) for line in lines] == [("2", "1"), ("2", "3")] * 3
    assert all(float(line[3].strip("*")) > 0 and line[-1] == "0 |" for line in lines)
