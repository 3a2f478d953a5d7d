"""The transport contract on the real Triton, and what only a real server shows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import tritonclient.grpc.aio as grpc_aio

from deploy.embedded.ports import pick_ports
from deploy.embedded.stack import Addresses
from inference.client.triton import TritonTransport
from inference.contract import LISTING_MODEL
from inference.errors import Misconfigured, Overloaded, TimedOut, Unavailable
from tests.client_contract import BUDGET_S, TransportContract, row
from tests.triton.double import SLOW_S, write_repository

pytestmark = pytest.mark.triton


@pytest.fixture(scope="session")
def double_url(triton_server: Callable[[Path], Addresses], tmp_path_factory: pytest.TempPathFactory) -> str:
    """gRPC address of a server with the double."""
    return triton_server(write_repository(tmp_path_factory.mktemp("double"))).triton_grpc


@pytest.fixture
async def transport(double_url: str) -> AsyncIterator[TritonTransport]:
    made = TritonTransport(double_url)
    yield made
    await made.close()


class TestTriton(TransportContract):
    pass


async def answered(url: str) -> int:
    """Rows that the server has executed."""
    client = grpc_aio.InferenceServerClient(url)
    stats = await client.get_inference_statistics(LISTING_MODEL, as_json=True)
    await client.close()
    return sum(int(model.get("inference_count", 0)) for model in stats["model_stats"])


async def test_a_full_server_queue_is_overload(transport: TritonTransport) -> None:
    # Eight wait; the batcher may have taken eight more to run and eight to run next. One is answered in half a second,
    # so that 40 calls find no room however slowly they come.
    calls = (transport.infer([row("slow")], BUDGET_S) for _ in range(40))
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert any(isinstance(end, Overloaded) for end in ends)
    assert all(isinstance(end, list | Overloaded) for end in ends)


async def test_the_server_drops_a_queued_call_that_nobody_waits_for(
    transport: TritonTransport, double_url: str
) -> None:
    before = await answered(double_url)
    first = asyncio.create_task(transport.infer([row("slow")], BUDGET_S))
    await asyncio.sleep(SLOW_S / 10)
    second = asyncio.create_task(transport.infer([row("slow")], BUDGET_S))
    with pytest.raises(TimedOut):
        await transport.infer([row("queued")], SLOW_S / 2)
    assert [len(await call) for call in (first, second)] == [1, 1]
    assert await answered(double_url) - before == 2


async def test_another_version_than_the_configured_one_is_refused(double_url: str) -> None:
    transport = TritonTransport(double_url, "other-0002")
    with pytest.raises(Misconfigured, match="other-0002"):
        await transport.version()
    await transport.close()


async def test_a_version_that_is_not_loaded_is_waited_for(double_url: str) -> None:
    transport = TritonTransport(double_url, "7")
    with pytest.raises(Unavailable, match="version 7"):
        await transport.version()
    await transport.close()


async def test_nobody_listening_is_unavailable() -> None:
    transport = TritonTransport(f"127.0.0.1:{pick_ports(['nobody'], [0])[0]}")
    assert not await transport.ready()
    with pytest.raises(Unavailable):
        await transport.version()
    await transport.close()
