"""What the stack does before anything is started: the cache, the choice of a broker, ports, addresses."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.embedded import broker, cache
from deploy.embedded.beside import fill_addresses
from deploy.embedded.errors import PortTaken, StackError
from deploy.embedded.jars import Jars
from deploy.embedded.ports import HOST, pick_ports
from deploy.embedded.progress import SilentReport
from deploy.embedded.stack import Stack
from stream.settings import KafkaSettings, Settings, StackSettings, TritonSettings


def settings(tmp_path: Path, kind: str = "auto", kafka: KafkaSettings | None = None) -> Settings:
    """Nothing of the caller's environment."""
    stack = StackSettings(
        run_dir=tmp_path / "run", cache_dir=tmp_path / "cache", models_dir=tmp_path / "models", broker=kind
    )
    sections = {"stack": stack, "kafka": kafka or KafkaSettings(), "triton": TritonSettings()}
    return Settings().model_copy(update=sections)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that something listens on."""
    with socket.create_server((HOST, 0)) as server:
        yield server.getsockname()[1]


def test_a_folder_counts_as_filled_only_after_its_last_step(tmp_path: Path) -> None:
    folder = tmp_path / "jars"

    def cut_short() -> list[Path]:
        (folder / "a.jar").write_bytes(b"half")
        raise StackError("the line went down")

    def make() -> list[Path]:
        assert not list(folder.iterdir()), "what a cut-short fill left is in the way"
        (folder / "a.jar").write_bytes(b"whole")
        return [folder / "a.jar"]

    with pytest.raises(StackError, match="the line went down"):
        cache.fill(folder, "v1", cut_short)
    assert not cache.whole(folder, "v1")
    assert cache.fill(folder, "v1", make) is True
    assert cache.fill(folder, "v1", make) is False


@pytest.mark.parametrize("damage", ["truncated", "missing", "another version", "no marker"])
def test_a_damaged_folder_is_not_whole(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "jars"
    jar = folder / "a.jar"

    def make() -> list[Path]:
        jar.write_bytes(b"whole")
        return [jar]

    cache.fill(folder, "v1", make)
    match damage:
        case "truncated":
            jar.write_bytes(b"who")
        case "missing":
            jar.unlink()
        case "no marker":
            (folder / cache.MARKER).unlink()
    assert not cache.whole(folder, "v2" if damage == "another version" else "v1")


def test_ports_differ_and_a_taken_one_is_named(taken: int) -> None:
    assert len(set(pick_ports(list("abcdefgh"), [0] * 8))) == 8
    with pytest.raises(PortTaken, match=rf"Kafka: port {taken} on 127\.0\.0\.1 is in use"):
        pick_ports(["Kafka"], [taken])


def test_an_unknown_choice_is_refused_with_the_list(tmp_path: Path) -> None:
    with pytest.raises(
        StackError, match=r"unknown choice 'rabbit'; one of auto, external, home, maven, docker, embedded"
    ):
        broker.choose(settings(tmp_path, "rabbit"), SilentReport())


def test_the_one_asked_for_and_not_to_be_had_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(StackError, match="maven: no java on the PATH"):
        broker.choose(settings(tmp_path, "maven"), SilentReport())
    home = KafkaSettings(home=tmp_path)
    with pytest.raises(StackError, match=r"home: KAFKA_HOME=.* has no libs/kafka_\*\.jar"):
        broker.choose(settings(tmp_path, "home", home), SilentReport())


def program(folder: Path, name: str, script: str) -> None:
    """A shell script in the place of a real program."""
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_a_maven_that_fails_gives_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "java", "echo 'openjdk version \"17.0.1\"' >&2")
    program(tmp_path, "mvn", "echo no route to central; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StackError, match=r"maven: Maven could not fetch Apache Kafka[^$]*no route to central"):
        broker.choose(settings(tmp_path, "maven"), SilentReport())
    assert not Jars(tmp_path / "cache").ready


def test_an_old_java_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "java", "echo 'openjdk version \"11.0.2\" 2019-01-15' >&2")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StackError, match=r"is version 11; Apache Kafka 4 needs 17 or newer"):
        broker.choose(settings(tmp_path, "maven"), SilentReport())


def test_a_named_broker_is_chosen_before_all_others(tmp_path: Path) -> None:
    named = settings(tmp_path, kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1"))
    source, passed_over = broker.choose(named, SilentReport())
    assert (source.kind, passed_over) == ("external", [])


def test_a_named_broker_that_does_not_answer_is_an_error_not_a_reason_for_another(tmp_path: Path) -> None:
    named = settings(tmp_path, kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1"))
    stack = Stack(named, parts=["broker"], report=SilentReport())
    with pytest.raises(StackError, match=r"no broker answers at KAFKA_BOOTSTRAP_SERVERS=127\.0\.0\.1:1"):
        stack.up()
    assert stack.status() == []


def test_without_models_nothing_is_started(tmp_path: Path) -> None:
    stack = Stack(settings(tmp_path), parts=["triton"], report=SilentReport())
    with pytest.raises(StackError, match="run `shangxin models build`"):
        stack.up()


def test_without_a_stack_nothing_is_filled_in(tmp_path: Path) -> None:
    own = settings(tmp_path)
    assert fill_addresses(own) == own
    with pytest.raises(StackError, match="shangxin stack up"):
        _ = Stack(own, report=SilentReport()).addresses
    assert Stack(own, report=SilentReport()).down() is False


def test_addresses_that_are_set_are_left_as_they_are(tmp_path: Path) -> None:
    own = settings(tmp_path, kafka=KafkaSettings(bootstrap_servers="elsewhere:9092"))
    assert fill_addresses(own).kafka.bootstrap_servers == "elsewhere:9092"
