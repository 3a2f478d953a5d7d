"""Makes the application of a stage from settings, with the names and times that the rules rest on."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import faust

from stream.batchpath.path import BatchPath
from stream.batchpath.seams import BatchApp
from stream.settings import Settings

MAX_BATCH_BYTES = 256 * 1024
"""One produced batch: a quarter of the default max.message.bytes, about 200 profiles; larger saves no more requests."""
FETCH_BYTES = 4 * 1024 * 1024
COMMIT_EVERY_S = 1.0
"""What a crash repeats: a second of events. Shorter waits for the broker more often than it saves."""


def group_of(settings: Settings, stage: str) -> str:
    """Consumer group of a stage. A raised source epoch is a new group: it starts at the beginning."""
    kafka = settings.kafka
    epoch = f"-e{kafka.source_epoch}" if kafka.source_epoch else ""
    return f"{kafka.topic_prefix}{kafka.group_prefix}-{stage}{epoch}"


def build_app(settings: Settings, stage: str, path: BatchPath, max_batch: int, instance_id: str) -> BatchApp:
    """A Faust application with nothing of Faust's own web, agents or topic creation.

    instance_id: static membership, unique per process. max_batch: records per poll.
    """
    kafka = settings.kafka
    servers = ";".join(f"kafka://{server.strip()}" for server in kafka.bootstrap_servers.split(","))
    return BatchApp(
        group_of(settings, stage),
        path=path,
        broker=servers,
        store="memory://",
        datadir=str(Path(settings.stack.run_dir) / "faust"),
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        broker_session_timeout=kafka.session_timeout_s,
        broker_heartbeat_interval=kafka.heartbeat_interval_s,
        broker_request_timeout=max(40.0, kafka.session_timeout_s),
        broker_rebalance_timeout=max(30.0, 2 * kafka.session_timeout_s),
        broker_commit_interval=COMMIT_EVERY_S,
        broker_max_poll_records=max_batch,
        consumer_max_fetch_size=FETCH_BYTES,
        consumer_group_instance_id=instance_id,
        consumer_auto_offset_reset="earliest",
        producer_acks=-1,
        producer_linger=0,
        producer_request_timeout=kafka.delivery_timeout_s,
        producer_max_batch_size=MAX_BATCH_BYTES,
        stream_wait_empty=True,
        **_security(settings),
    )


def _security(settings: Settings) -> dict[str, Any]:
    kafka = settings.kafka
    if kafka.security_protocol == "PLAINTEXT":
        return {}
    context = None
    if kafka.security_protocol.endswith("SSL"):
        context = ssl.create_default_context(cafile=str(kafka.ssl_cafile) if kafka.ssl_cafile else None)
    if not kafka.security_protocol.startswith("SASL"):
        return {"broker_credentials": context}
    credentials = faust.SASLCredentials(
        username=kafka.sasl_username,
        password=kafka.sasl_password.get_secret_value(),
        mechanism=kafka.sasl_mechanism,
        ssl_context=context,
    )
    return {"broker_credentials": credentials}
