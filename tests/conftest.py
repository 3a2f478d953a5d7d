"""Fixtures of the whole suite: one real broker and the real model server a session, fresh names, topics."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from aiokafka.admin import NewTopic
from aiokafka.admin.client import AIOKafkaAdminClient

from deploy.embedded.client import with_admin
from deploy.embedded.progress import ConsoleReport
from deploy.embedded.stack import BROKER, TRITON, Addresses, Stack
from inference.deadline import Deadline
from stream.settings import Settings, load_settings
from tests.worker_kit import WorkerEnv

# A controller on this machine elects leaders in milliseconds.
TOPIC_TIMEOUT_S = 20.0
ECHO_REPOSITORY = Path(__file__).parent / "triton" / "echo_repository"


class MakeTopics(Protocol):
    """Makes topics and waits until they can be used; callable from a test of either colour."""

    def __call__(self, *names: str, partitions: int = 4, config: dict[str, str] | None = None) -> None:
        """config: topic settings, e.g. {"cleanup.policy": "compact"}."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The long form of the chaos test: `make chaos`."""
    parser.addoption("--chaos-rounds", type=int, default=0, help="rounds of tests/chaos/test_whole_system.py")
    parser.addoption("--chaos-seed", type=int, default=1, help="of the first round; the next ones follow")


@pytest.fixture(scope="session")
def stack_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The caller's settings with a run directory of this session's own; jars and environment stay shared."""
    settings = load_settings()
    stack = settings.stack.model_copy(update={"run_dir": tmp_path_factory.mktemp("stack")})
    return settings.model_copy(update={"stack": stack})


@pytest.fixture(scope="session")
def broker(stack_settings: Settings) -> Iterator[Addresses]:
    """The one broker of the session: Apache Kafka wherever it can be had (KAFKA_BOOTSTRAP_SERVERS wins)."""
    with Stack(stack_settings, parts=[BROKER], keep_state=False, report=ConsoleReport()) as stack:
        yield stack.addresses


@pytest.fixture(scope="session")
def kafka(broker: Addresses) -> str:
    """`host:port` of the session's broker."""
    return broker.bootstrap


@pytest.fixture(scope="session")
def triton_server(stack_settings: Settings) -> Iterator[Callable[[Path], Addresses]]:
    """Gives the addresses of a real server on a model repository: one server for each repository a session."""
    running: dict[Path, Stack] = {}

    def serve(repository: Path) -> Addresses:
        key = repository.resolve()
        if key not in running:
            run_dir = stack_settings.stack.run_dir / f"triton-{len(running)}"
            stack = stack_settings.stack.model_copy(update={"run_dir": run_dir})
            settings = stack_settings.model_copy(update={"stack": stack})
            server = Stack(settings, parts=[TRITON], models=key, keep_state=False, report=ConsoleReport())
            server.up()
            running[key] = server
        return running[key].addresses

    yield serve
    for server in running.values():
        server.down()


@pytest.fixture(scope="session")
def echo_server(triton_server: Callable[[Path], Addresses]) -> Addresses:
    """A real server with one model, `echo`, that gives its input back."""
    return triton_server(ECHO_REPOSITORY)


@pytest.fixture
def unique() -> Callable[[str], str]:
    """Fresh names for topics and groups: `unique("orders")` gives `orders-4f1c2a9b`, another one each call."""
    return lambda name: f"{name}-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="session")
def make_topics(kafka: str, stack_settings: Settings) -> Iterator[MakeTopics]:
    """Creates topics. On a broker that is not the session's own they are deleted at the end."""
    made: list[str] = []

    def make(*names: str, partitions: int = 4, config: dict[str, str] | None = None) -> None:
        wanted = [NewTopic(name, partitions, 1, topic_configs=config or {}) for name in names]
        with_admin(kafka, lambda admin: _create(admin, wanted))
        made.extend(names)

    yield make
    if stack_settings.kafka.bootstrap_servers and made:
        with_admin(kafka, lambda admin: admin.delete_topics(made))


async def _create(admin: AIOKafkaAdminClient, wanted: list[NewTopic]) -> None:
    """Create and wait until every partition has a leader; the client itself lets refusals pass."""
    response = await admin.create_topics(wanted)
    refused = [error for error in response.topic_errors if error[1] != 0]
    assert not refused, f"topics refused: {refused}"
    deadline = Deadline(TOPIC_TIMEOUT_S)
    while not all(_led(topic) for topic in await admin.describe_topics([topic.name for topic in wanted])):
        assert not deadline.passed, "topics without leaders"
        await asyncio.sleep(0.05)


def _led(topic: dict[str, Any]) -> bool:
    return topic["error_code"] == 0 and all(partition["leader"] >= 0 for partition in topic["partitions"])


@pytest.fixture
async def env(kafka: str, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[WorkerEnv]:
    """Fresh topics and no worker yet, of the stage whose `Env` the test's module imports."""
    kind: type[WorkerEnv] = request.module.Env
    async with kind.open(kafka, tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of public data sets; a test that needs it is skipped where there is none."""
    folder = load_settings().data
    if folder is None or not folder.is_dir():
        pytest.skip("SHANGXIN_DATA does not name the folder of public data sets")
    return folder
