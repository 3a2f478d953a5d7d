"""kill -9 of each worker in the middle of the demo: afterwards every newest record equals a recount of the source."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.embedded.stack import Addresses
from deploy.embedded.triton import find_repository
from schemas.topics import BEHAVIOUR_BY_PRODUCT, ITEM_FEATURES, LISTING_ENRICHED
from stream.demo import scenario
from stream.demo.replay import Replay
from stream.demo.scenario import Scenario, Size
from stream.settings import Settings
from tests.chaos.system_items import wrong_items
from tests.chaos.system_listings import wrong_listings
from tests.chaos.system_parked import wrong_parked
from tests.chaos.system_plan import faults, plan_of
from tests.chaos.system_run import Blow, System, system
from tests.chaos.system_users import recount_users

pytestmark = [pytest.mark.broker, pytest.mark.triton, pytest.mark.chaos]

SPEED = 30_000.0
"""Seconds of event time a second: the week of the replay takes 20 s, in which three workers die and come back."""
SLOW = 15_000.0
"""Of the long form: a worker that sleeps past its session misses a third of it."""
THROUGH_S = 150.0
LONG_S = 300.0
SHOWN = 10

log = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def at(stack_settings: Settings, kafka: str, triton_server: Callable[[Path], Addresses]) -> Settings:
    """Settings with the addresses of the real broker and the real server with the models of `shangxin models build`."""
    url = triton_server(find_repository(stack_settings.stack.models_dir)).triton_grpc
    return stack_settings.model_copy(
        update={
            "kafka": stack_settings.kafka.model_copy(update={"bootstrap_servers": kafka}),
            "triton": stack_settings.triton.model_copy(update={"url": url}),
        }
    )


def build(settings: Settings, size: Size) -> Scenario:
    return scenario.build(size, settings.topics.max_message_bytes, int(time.time() * 1000))


async def check(run: System, scene: Scenario, replay: Replay) -> None:
    """Every newest record of every output equals the recount."""
    settings = run.settings
    users = await recount_users(settings)
    wrong = [
        *await wrong_listings(settings, scene.final_states()),
        *users.wrong,
        *await wrong_items(settings),
        *await wrong_parked(settings, scene, len(replay.refused)),
    ]
    log.info("%s, %s", run.report, replace(users, wrong=users.wrong[:SHOWN]))
    assert not wrong, f"{len(wrong)} differences, {users.users} users\n" + "\n".join(wrong[:SHOWN])
    # Bounds instead of equality are for the few that the updates touched; else the test would prove less than it says.
    assert users.unchecked <= users.users // 10, users


@pytest.mark.timeout(420)  # all its own deadlines together, on a machine busy with something else
async def test_each_worker_killed_in_the_middle_and_everything_equals_a_recount(at: Settings, tmp_path: Path) -> None:
    scene = build(at, Size(products=0, events=3_000))
    blows = [
        Blow("enrich", LISTING_ENRICHED.name, 60),
        Blow("profiles", BEHAVIOUR_BY_PRODUCT.name, 900),
        Blow("features", ITEM_FEATURES.name, 700),
    ]
    async with system(at, tmp_path) as run:
        await run.ready()
        replay = await run.play(scene, SPEED, blows, THROUGH_S)
        assert sorted(run.report.restarted) == [(name, signal.SIGKILL) for name in ("enrich", "features", "profiles")]
        await check(run, scene, replay)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test a round of the long form."""
    if "seed" in metafunc.fixturenames:
        first, rounds = (metafunc.config.getoption(name) for name in ("--chaos-seed", "--chaos-rounds"))
        skip = pytest.param(0, marks=pytest.mark.skip("the long form: make chaos"))
        metafunc.parametrize("seed", list(range(first, first + rounds)) or [skip])


@pytest.mark.timeout(600)
async def test_rounds_of_kills_faults_and_sleep(at: Settings, tmp_path: Path, seed: int) -> None:
    scene, plan = build(at, Size(products=0, events=3_000, seed=seed)), plan_of(seed)
    log.info("armed %s; %s", ", ".join(faults(plan)), plan.blows)
    async with system(at, tmp_path, plan.sets, restarts=20, first=plan.first) as run:
        await run.ready()  # a fresh broker has no group coordinator before
        replay = await run.play(scene, SLOW, plan.blows, LONG_S)
        assert len(run.report.struck) == len(plan.blows)
        await check(run, scene, replay)
