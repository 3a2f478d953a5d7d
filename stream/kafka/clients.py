"""Kafka clients made from the settings: one place for acks, timeouts, assignors, security and sizes."""

from __future__ import annotations

import socket
import ssl
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaConnectionError

from stream.errors import NotReady
from stream.kafka.limits import request_limit
from stream.settings import KafkaSettings, Settings

LINGER_MS = 2
"""Collects the sends of one loop turn into a request; well under the 10 ms that a model batch waits."""
BATCH_BYTES = 262_144
"""A partition's batch. The default (16 KiB) holds two enriched listings; this holds some fifty."""
MAX_POLL_INTERVAL_MS = 900_000
"""aiokafka leaves the group after this long without a fetch; loading a projection may take
`RECOVERY_DEADLINE_S` (300 s), so three times that."""
REQUEST_TIMEOUT_MS = 15_000
"""Of consumers and admin calls: longer than a leader election (a few seconds), short enough to see."""


def group_id(settings: Settings, name: str) -> str:
    """Consumer group of one process kind."""
    return f"{settings.kafka.topic_prefix}{settings.kafka.group_prefix}-{name}"


def instance_id(settings: Settings, group: str) -> str:
    """Static membership id: the configured one, else group, host and worker index."""
    kafka = settings.kafka
    return kafka.instance_id or f"{group}-{socket.gethostname()}-{kafka.worker_index}"


def connection(settings: Settings) -> dict[str, Any]:
    """Arguments that every aiokafka client takes. Raises NotReady when no broker is configured."""
    kafka = settings.kafka
    if not kafka.bootstrap_servers:
        raise NotReady("no broker is configured: set SHANGXIN_KAFKA__BOOTSTRAP_SERVERS or run `shangxin stack up`")
    return {
        "bootstrap_servers": kafka.bootstrap_servers,
        "security_protocol": kafka.security_protocol,
        "ssl_context": _ssl_context(kafka),
        "sasl_mechanism": kafka.sasl_mechanism,
        "sasl_plain_username": kafka.sasl_username or None,
        "sasl_plain_password": kafka.sasl_password.get_secret_value() or None,
    }


def make_producer(settings: Settings, client_id: str = "shangxin") -> AIOKafkaProducer:
    """Idempotent, acks=all, murmur2; a request is given up after the delivery timeout.

    aiokafka never expires a batch of an idempotent producer: whoever awaits an acknowledgement must
    bound it, as `stream.kafka.publish.Publisher` does.
    """
    return AIOKafkaProducer(
        client_id=client_id,
        acks="all",
        enable_idempotence=True,
        linger_ms=LINGER_MS,
        max_batch_size=BATCH_BYTES,
        max_request_size=request_limit(settings),
        request_timeout_ms=round(settings.kafka.delivery_timeout_s * 1000),
        compression_type="lz4",
        **connection(settings),
    )


def make_consumer(settings: Settings, group: str, client_id: str = "shangxin") -> AIOKafkaConsumer:
    """A static member of `group` with range assignment; no topics yet: attach a fence, then subscribe.

    Nothing is committed by itself, and there is no reset: an offset that is not there or out of range
    is for `stream.kafka.sources` to judge.
    """
    kafka = settings.kafka
    return AIOKafkaConsumer(
        client_id=client_id,
        group_id=group,
        group_instance_id=instance_id(settings, group),
        enable_auto_commit=False,
        auto_offset_reset="none",
        # An upstream that writes in transactions and aborts one did not mean those events.
        isolation_level="read_committed",
        partition_assignment_strategy=(RangePartitionAssignor,),
        session_timeout_ms=round(kafka.session_timeout_s * 1000),
        heartbeat_interval_ms=round(kafka.heartbeat_interval_s * 1000),
        max_poll_interval_ms=MAX_POLL_INTERVAL_MS,
        max_partition_fetch_bytes=request_limit(settings),
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        **connection(settings),
    )


def make_reader(settings: Settings, client_id: str = "shangxin-reader") -> AIOKafkaConsumer:
    """A consumer of no group: assign partitions and seek. For projections, watching and scans."""
    return AIOKafkaConsumer(
        client_id=client_id,
        enable_auto_commit=False,
        auto_offset_reset="none",
        max_partition_fetch_bytes=request_limit(settings),
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        **connection(settings),
    )


def make_admin(settings: Settings) -> AIOKafkaAdminClient:
    """An admin client; not started."""
    return AIOKafkaAdminClient(
        client_id="shangxin-admin", request_timeout_ms=REQUEST_TIMEOUT_MS, **connection(settings)
    )


async def start_client(client: AIOKafkaConsumer | AIOKafkaProducer | AIOKafkaAdminClient, settings: Settings) -> None:
    """Start any of the above. Raises NotReady that names the broker when it cannot be reached."""
    try:
        await client.start()
    except (KafkaConnectionError, OSError) as error:
        where = settings.kafka.bootstrap_servers
        raise NotReady(f"no Kafka broker answers at {where} ({error})") from error


def _ssl_context(kafka: KafkaSettings) -> ssl.SSLContext | None:
    if "SSL" not in kafka.security_protocol.replace("SASL_PLAINTEXT", "").upper():
        return None
    return ssl.create_default_context(cafile=str(kafka.ssl_cafile) if kafka.ssl_cafile else None)
