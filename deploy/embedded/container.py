"""Apache Kafka in a container through testcontainers, where a Docker engine answers. Keeps no state once it is down."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from typing import cast

from deploy.embedded.client import cluster_answers
from deploy.embedded.context import Context
from deploy.embedded.errors import StackError
from deploy.embedded.ports import HOST, pick_ports
from deploy.embedded.process import POLL_S

IMAGE = "apache/kafka"
# A dead engine behind a socket file answers nothing at all.
ENGINE_TIMEOUT_S = 10.0
# Beyond the image's own defaults (one node, every replication factor 1).
SETTINGS = {
    "KAFKA_NODE_ID": "1",
    "KAFKA_PROCESS_ROLES": "broker,controller",
    "KAFKA_LISTENERS": "PLAINTEXT://:9092,CONTROLLER://:9093",
    "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
    "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
    "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    "KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": "4",
    "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
    "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    "KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS": "1000",
    "KAFKA_MESSAGE_MAX_BYTES": "2097152",
}


def docker_problem() -> str | None:
    """Why no container can be had here; None when one can."""
    docker = shutil.which("docker")
    if docker is None:
        return "no docker on the PATH"
    ask = [docker, "info", "--format", "{{.ServerVersion}}"]
    try:
        answer = subprocess.run(ask, capture_output=True, text=True, timeout=ENGINE_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"the Docker engine did not answer within {ENGINE_TIMEOUT_S:.0f} s"
    if answer.returncode != 0 or not answer.stdout.strip():
        return "no Docker engine answers"
    try:
        import testcontainers.core.container  # noqa: F401
    except ImportError:
        return "a Docker engine answers, but testcontainers is not installed (pip install 'testcontainers[kafka]')"
    return None


def start_container(context: Context, version: str, port: int) -> tuple[str, str]:
    """Start and wait until it serves. The container's id and the broker's `host:port`. Raises StackError."""
    from testcontainers.core.config import testcontainers_config
    from testcontainers.core.container import DockerContainer

    # The reaper removes containers when the process that started them ends.
    testcontainers_config.ryuk_disabled = context.detach
    (port,) = pick_ports(["the broker"], [port])
    container = DockerContainer(f"{IMAGE}:{version}")
    container.with_envs(**SETTINGS, KAFKA_ADVERTISED_LISTENERS=f"PLAINTEXT://{HOST}:{port}")
    # Docker's own form of "on this address only"; the library's types know only the number.
    cast(dict[str, object], container.ports)["9092/tcp"] = (HOST, port)
    with context.report.step(f"Container {IMAGE}:{version}"):
        container.start()
        try:
            _wait(f"{HOST}:{port}", context)
        except BaseException:
            container.stop()
            raise
    return container.get_wrapped_container().id, f"{HOST}:{port}"


def container_alive(container: str) -> bool:
    """Whether it runs."""
    ask = [shutil.which("docker") or "docker", "inspect", "--format", "{{.State.Running}}", container]
    try:
        answer = subprocess.run(ask, capture_output=True, text=True, timeout=ENGINE_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.stdout.strip() == "true"


def stop_container(container: str) -> None:
    """Remove it; nothing when it is gone."""
    remove = [shutil.which("docker") or "docker", "rm", "--force", container]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(remove, capture_output=True, timeout=60, check=False)


def _wait(bootstrap: str, context: Context) -> None:
    while not cluster_answers(bootstrap):
        if context.deadline.passed:
            raise StackError(f"the container at {bootstrap} was not ready in time; see: docker ps --all, docker logs")
        time.sleep(POLL_S)
