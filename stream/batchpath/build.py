"""Makes the application of a stage from settings, with the names and times that the rules rest on."""

from __future__ import annotations

import ssl
from typing import Any

import faust

from stream.batchpath.path import BatchPath
from stream.batchpath.seams import BatchApp
from stream.kafka.clients import BATCH_BYTES, connection, group_id, instance_id
from stream.kafka.limits import request_limit
from stream.settings import Settings

FETCH_BYTES = 4 * 1024 * 1024
"""A partition's fetch: several polls of 1,000 events of a few hundred bytes."""
COMMIT_EVERY_S = 1.0
"""What a crash repeats: a second of events. Shorter waits for the broker more often than it saves."""


def build_app(settings: Settings, stage: str, path: BatchPath, max_batch: int) -> BatchApp:
    """A Faust application with nothing of Faust's own web, agents or topic creation.

    stage: names the group. max_batch: records per poll. Raises NotReady when no broker is configured.
    """
    kafka, group = settings.kafka, group_id(settings, stage)
    link = connection(settings)
    servers = ";".join(f"kafka://{server.strip()}" for server in link["bootstrap_servers"].split(","))
    return BatchApp(
        group,
        path=path,
        broker=servers,
        store="memory://",
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        broker_session_timeout=kafka.session_timeout_s,
        broker_heartbeat_interval=kafka.heartbeat_interval_s,
        broker_request_timeout=max(40.0, kafka.session_timeout_s),
        broker_rebalance_timeout=max(30.0, 2 * kafka.session_timeout_s),
        broker_commit_interval=COMMIT_EVERY_S,
        broker_max_poll_records=max_batch,
        consumer_max_fetch_size=max(FETCH_BYTES, request_limit(settings)),
        consumer_group_instance_id=instance_id(settings, group),
        consumer_auto_offset_reset="earliest",
        producer_acks=-1,
        producer_linger=0,
        producer_request_timeout=kafka.delivery_timeout_s,
        producer_max_batch_size=BATCH_BYTES,
        producer_max_request_size=request_limit(settings),
        stream_wait_empty=True,
        **_security(settings, link["ssl_context"]),
    )


def _security(settings: Settings, context: ssl.SSLContext | None) -> dict[str, Any]:
    kafka = settings.kafka
    if not kafka.security_protocol.startswith("SASL"):
        return {"broker_credentials": context} if context else {}
    credentials = faust.SASLCredentials(
        username=kafka.sasl_username,
        password=kafka.sasl_password.get_secret_value(),
        mechanism=kafka.sasl_mechanism,
        ssl_context=context,
    )
    return {"broker_credentials": credentials}
