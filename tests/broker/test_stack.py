"""The embedded stack on real brokers: state kept or dropped, the truth told, only its own processes ended."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.admin.client import AIOKafkaAdminClient

from deploy.embedded import kafka as kafka_server
from deploy.embedded.beside import fill_addresses
from deploy.embedded.client import cluster_answers, with_admin
from deploy.embedded.errors import AlreadyUp, PortTaken
from deploy.embedded.jars import Jars
from deploy.embedded.ports import listening, pick_ports
from deploy.embedded.progress import SilentReport
from deploy.embedded.stack import BROKER, Addresses, Stack
from deploy.embedded.state import StateFile
from inference.deadline import Deadline
from stream.settings import KafkaSettings, Settings

pytestmark = pytest.mark.broker

ROOT = Path(__file__).parents[2]
MakeStack = Callable[..., Stack]


def until(say: Callable[[], bool], seconds: float = 20.0) -> None:
    """Poll until it is true; fails the test when it does not become so."""
    deadline = Deadline(seconds)
    while not say():
        assert not deadline.passed, "it did not become so in time"
        time.sleep(0.05)


@pytest.fixture
def small_settings(stack_settings: Settings, tmp_path: Path) -> Callable[..., Settings]:
    """Settings of a stack of this test's own; no broker is named from outside."""

    def make(**stack: object) -> Settings:
        own = {"run_dir": tmp_path / "run", "broker": "auto", **stack}
        section = stack_settings.stack.model_copy(update=own)
        return stack_settings.model_copy(update={"stack": section, "kafka": KafkaSettings()})

    return make


@pytest.fixture
def make_stack(small_settings: Callable[..., Settings]) -> Iterator[MakeStack]:
    """A broker alone, ended when the test is over whatever happened."""
    made: list[Stack] = []

    def make(**stack: object) -> Stack:
        made.append(Stack(small_settings(**stack), parts=[BROKER], report=SilentReport()))
        return made[-1]

    yield make
    for stack in made:
        stack.down()


def topics_at(bootstrap: str) -> set[str]:
    """Names of the topics of a broker."""

    async def ask(admin: AIOKafkaAdminClient) -> list[str]:
        return list(await admin.list_topics())

    return set(with_admin(bootstrap, ask))


async def put(bootstrap: str, topic: str, value: bytes) -> None:
    """Make the topic and write one record."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        await producer.send_and_wait(topic, value, partition=0)


async def first(bootstrap: str, topic: str) -> bytes | None:
    """The first record of the topic."""
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        value: bytes | None = (await consumer.getone()).value
    return value


async def test_state_is_kept_or_dropped_by_choice(make_stack: MakeStack) -> None:
    stack = make_stack()
    before = stack.up()
    await put(before.bootstrap, "kept", b"still here")
    assert stack.down(keep_state=True) is True
    assert not listening(int(before.bootstrap.split(":")[1]))

    # On other ports than before, as a free choice gives: the state must not hang on them.
    after = make_stack().up()
    assert after.bootstrap != before.bootstrap
    assert await first(after.bootstrap, "kept") == b"still here"
    stack.down(keep_state=False)

    assert "kept" not in topics_at(make_stack().up().bootstrap)


async def test_a_fresh_start_drops_what_was_kept(make_stack: MakeStack) -> None:
    stack = make_stack(broker="embedded")
    await put(stack.up().bootstrap, "kept", b"x")
    stack.down()
    assert "kept" not in topics_at(stack.up(fresh=True).bootstrap)


def test_status_tells_the_truth(make_stack: MakeStack) -> None:
    stack = make_stack()
    assert stack.status() == []
    stack.up()
    (part,) = stack.status()
    assert (part.state, part.ok) == ("serving", True)
    assert part.pid is not None
    assert part.rss_mb is not None
    assert part.rss_mb > 1

    os.kill(part.pid, signal.SIGSTOP)
    # Its threads stop one after the other: the last answer may still come through.
    until(lambda: stack.status()[0].state == "not answering")
    os.kill(part.pid, signal.SIGCONT)
    until(lambda: stack.status()[0].ok)

    os.kill(part.pid, signal.SIGKILL)
    until(lambda: stack.status()[0].state == "dead")
    assert stack.status()[0].pid is None
    # A stack that has died is in nobody's way, and a broker that was killed comes up on what it had written.
    assert make_stack().up().bootstrap


def test_a_broker_in_use_elsewhere_is_refused_with_its_port(make_stack: MakeStack, kafka: str) -> None:
    port = int(kafka.split(":")[1])
    stack = make_stack(broker_port=port)
    with pytest.raises(PortTaken, match=f"the broker: port {port} on 127.0.0.1 is in use"):
        stack.up()
    assert stack.status() == []
    assert cluster_answers(kafka)


def test_a_free_port_taken_meanwhile_is_replaced(
    make_stack: MakeStack, broker: Addresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    if broker.broker_kind != "maven":
        pytest.skip("needs Apache Kafka")
    taken, given = int(broker.bootstrap.split(":")[1]), []

    def pick_as_if_late(names: Sequence[str], wanted: Sequence[int]) -> list[int]:
        given.append(pick_ports(names, wanted))
        return [taken, given[-1][1]] if len(given) == 1 else given[-1]

    monkeypatch.setattr(kafka_server, "pick_ports", pick_as_if_late)
    stack = make_stack()
    assert stack.up().bootstrap == f"127.0.0.1:{given[1][0]}"
    assert len(given) == 2


def test_a_wanted_port_is_used(make_stack: MakeStack) -> None:
    (port,) = pick_ports(["test"], [0])
    assert make_stack(broker="embedded", broker_port=port).up().bootstrap == f"127.0.0.1:{port}"


def test_a_second_stack_in_the_same_place_is_refused(make_stack: MakeStack) -> None:
    first_stack, second = make_stack(broker="embedded"), make_stack(broker="embedded")
    first_stack.up()
    with pytest.raises(AlreadyUp, match="shangxin stack down"):
        second.up()
    assert first_stack.status()[0].ok


def test_two_starts_at_once_are_refused(make_stack: MakeStack) -> None:
    stack = make_stack(broker="embedded")
    with StateFile(stack.run_dir).locked():
        with pytest.raises(AlreadyUp, match="another `up` or `down` is at work"):
            stack.up()
        with pytest.raises(AlreadyUp, match="another `up` or `down` is at work"):
            stack.down()


def test_ending_an_old_stack_spares_the_one_that_followed(make_stack: MakeStack) -> None:
    old, new = make_stack(broker="embedded"), make_stack(broker="embedded")
    old.up()
    make_stack(broker="embedded").down()
    bootstrap = new.up().bootstrap
    assert old.down() is False
    assert cluster_answers(bootstrap)


def test_an_external_broker_is_used_and_left_alone(small_settings: Callable[..., Settings], kafka: str) -> None:
    named = small_settings().model_copy(update={"kafka": KafkaSettings(bootstrap_servers=kafka)})
    with Stack(named, parts=[BROKER], keep_state=False, report=SilentReport()) as stack:
        assert (stack.addresses.broker_kind, stack.addresses.bootstrap) == ("external", kafka)
        assert stack.status()[0].ok
    assert cluster_answers(kafka)


def test_without_java_the_next_choice_serves_and_says_why(
    make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    addresses = make_stack().up()
    assert addresses.broker_kind == "embedded"
    assert addresses.broker_version == "noida-db 0.2.3"
    assert addresses.broker_passed_over == (
        "external: KAFKA_BOOTSTRAP_SERVERS is not set",
        "home: KAFKA_HOME is not set",
        "maven: no java on the PATH",
        "docker: no docker on the PATH",
    )
    assert cluster_answers(addresses.bootstrap)


def test_commands_beside_the_stack_find_it(small_settings: Callable[..., Settings], make_stack: MakeStack) -> None:
    stack = make_stack(broker="embedded")
    bootstrap = stack.up().bootstrap
    assert fill_addresses(small_settings()).kafka.bootstrap_servers == bootstrap
    pid = stack.status()[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: not stack.status()[0].ok)
    assert fill_addresses(small_settings()).kafka.bootstrap_servers == ""


def test_a_distribution_of_ones_own_is_used(
    small_settings: Callable[..., Settings], broker: Addresses, tmp_path: Path
) -> None:
    if broker.broker_kind != "maven":
        pytest.skip("needs the jars that Maven fetches, laid out as a distribution")
    settings = small_settings()
    home = tmp_path / "kafka"
    home.mkdir()
    (home / "libs").symlink_to(Jars(settings.stack.cache_dir).folder / "libs")
    named = settings.model_copy(update={"kafka": KafkaSettings(home=home)})
    with Stack(named, parts=[BROKER], keep_state=False, report=SilentReport()) as stack:
        assert (stack.addresses.broker_kind, stack.addresses.broker_version) == ("home", "4.3.1")


@pytest.mark.skipif(shutil.which("mvn") is None, reason="no Maven here")
def test_a_damaged_jar_is_fetched_again(tmp_path: Path, stack_settings: Settings) -> None:
    shared = Jars(stack_settings.stack.cache_dir)
    shared.fetch(SilentReport())
    own = Jars(tmp_path)
    shutil.copytree(shared.folder, own.folder)
    assert Jars(tmp_path).ready
    jar = next((own.folder / "libs").glob("kafka-server-4*.jar"))
    jar.write_bytes(jar.read_bytes()[:1000])
    assert not Jars(tmp_path).ready
    assert own.fetch(SilentReport()) is True
    assert Jars(tmp_path).ready
    assert jar.stat().st_size > 1000


def shangxin(run_dir: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command, in a process of its own."""
    env = {**os.environ, "SHANGXIN_STACK__RUN_DIR": str(run_dir), "SHANGXIN_STACK__BROKER": "embedded"}
    command = [sys.executable, "-m", "stream.cli.main", "stack", *words]
    return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_one_shell_starts_it_and_another_ends_it(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    up = shangxin(run_dir, "up", "--only", "broker")
    try:
        assert up.returncode == 0, up.stderr
        bootstrap = up.stdout.strip().removeprefix("export KAFKA_BOOTSTRAP_SERVERS=")
        assert cluster_answers(bootstrap)
        again = shangxin(run_dir, "up", "--only", "broker")
        assert again.returncode == 1
        assert "AlreadyUp: a stack is up" in again.stderr
        status = shangxin(run_dir, "status", "--json")
        assert status.returncode == 0
        assert json.loads(status.stdout)[0]["address"] == bootstrap
    finally:
        down = shangxin(run_dir, "down", "--drop")
    assert down.returncode == 0, down.stderr
    assert not cluster_answers(bootstrap)
    assert not (run_dir / "noida").exists()
    assert shangxin(run_dir, "status").returncode == 1


def test_a_start_cut_short_leaves_nothing_that_down_does_not_end(tmp_path: Path, broker: Addresses) -> None:
    if broker.broker_kind != "maven":
        pytest.skip("needs a broker that takes seconds to start")
    run_dir = tmp_path / "run"
    env = {**os.environ, "SHANGXIN_STACK__RUN_DIR": str(run_dir), "SHANGXIN_STACK__BROKER": "maven"}
    command = [sys.executable, "-m", "stream.cli.main", "stack", "up", "--only", "broker"]
    state = StateFile(run_dir)
    with subprocess.Popen(command, env=env, cwd=ROOT, stderr=subprocess.DEVNULL) as starting:
        until(lambda: (record := state.read()) is not None and bool(record.starting))
        starting.kill()
    record = state.read()
    assert record is not None
    (child,) = record.starting
    assert child.alive
    assert "kafka   starting" in shangxin(run_dir, "status").stdout
    assert shangxin(run_dir, "down").returncode == 0
    assert not child.alive
