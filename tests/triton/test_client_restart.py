"""A Triton that goes away and comes back: listings wait and are all answered, over the same channel."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from deploy.embedded.ports import pick_ports
from deploy.embedded.progress import ConsoleReport
from deploy.embedded.stack import TRITON, Stack
from inference.client import BreakerPolicy, Limits, Retry, Scheduler
from inference.client.observer import Silent
from inference.client.triton import TritonTransport
from inference.contract import ListingInput
from inference.deadline import Deadline
from inference.errors import Unavailable
from stream.settings import Settings
from tests.client_contract import title_of
from tests.triton.double import VERSION, write_repository

pytestmark = pytest.mark.triton
BUDGET_S = 90.0
"""A server's start takes some 5 s on an idle machine."""


class Watching(Silent):
    """Tells when the breaker opens."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()

    def breaker(self, is_open: bool) -> None:
        """Remember it."""
        if is_open:
            self.opened.set()


async def pinned(scheduler: Scheduler) -> str:
    """Start as a worker does: again and again, for a channel that failed to connect waits before its next try."""
    deadline = Deadline(BUDGET_S)
    while True:
        try:
            return await scheduler.start()
        except Unavailable:
            if deadline.passed:
                raise
        await asyncio.sleep(0.1)


@pytest.fixture
def server(stack_settings: Settings, tmp_path: Path) -> tuple[Stack, str]:
    """A server of this test's own, not started, and the address that it will have each time."""
    (port,) = pick_ports(["grpc"], [0])
    own = stack_settings.stack.model_copy(update={"run_dir": tmp_path / "run", "triton_grpc_port": port})
    models = write_repository(tmp_path / "models")
    settings = stack_settings.model_copy(update={"stack": own})
    stack = Stack(settings, parts=[TRITON], models=models, keep_state=False, report=ConsoleReport())
    return stack, f"127.0.0.1:{port}"


async def test_a_restart_of_the_server_costs_waiting_and_no_answer(server: tuple[Stack, str]) -> None:
    stack, url = server
    watching, policy = Watching(), BreakerPolicy(min_calls=3, open_s=1.0)
    scheduler = Scheduler(TritonTransport(url), Limits(max_batch=4), Retry(max_s=1.0), policy, watching)
    with pytest.raises(Unavailable):
        await scheduler.start()
    await asyncio.to_thread(stack.up)
    try:
        assert await pinned(scheduler) == VERSION
        assert title_of(await scheduler.answer(ListingInput(title="before"), Deadline(BUDGET_S))) == "before"
        await asyncio.to_thread(stack.down)
        asks = (scheduler.answer(ListingInput(title=f"t{n}"), Deadline(BUDGET_S)) for n in range(40))
        work = [asyncio.create_task(ask) for ask in asks]
        await asyncio.wait_for(watching.opened.wait(), BUDGET_S)
        assert not await scheduler.ready()
        await asyncio.to_thread(stack.up)
        assert [title_of(answer) for answer in await asyncio.gather(*work)] == [f"t{n}" for n in range(40)]
        assert await scheduler.ready()
        await scheduler.close(Deadline(5.0))
    finally:
        await asyncio.to_thread(stack.down)
