"""Rules 5 and 6 and the watches, on the real broker: what ends a worker, with which words, and what repairs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewPartitions, RecordsToDelete
from aiokafka.structs import TopicPartition

from schemas.topics import LISTING_ENRICHED, PRODUCT_CREATED
from stream.errors import Fatal, Fenced, SourceMoved
from stream.kafka.admin import create_topics
from stream.kafka.clients import connection, make_admin, make_consumer
from stream.kafka.fence import Fence
from stream.kafka.publish import Publisher
from stream.kafka.sources import check_counts, reset_group
from stream.settings import TopicSettings
from tests.broker.test_enrichment import HEADERS
from tests.enrichment_env import PRODUCT_TOPICS, Env
from tests.worker_kit import PARTITIONS, ROOT, eventually

pytestmark = pytest.mark.broker


async def enriched_and_stopped(env: Env, products: int) -> None:
    """Run a worker over some events and stop it cleanly."""
    for number in range(products):
        await env.emit(f"p{number}", "Cup")
    worker = env.start()
    await env.settled()
    worker.signal(signal.SIGTERM)
    assert await worker.ended() == 0


async def test_records_deleted_unread_are_fatal_and_the_named_command_repairs(env: Env) -> None:
    await enriched_and_stopped(env, 6)
    for number in range(20):
        await env.emit(f"p{number}", "Newer cup")
    admin = make_admin(env.settings)
    await admin.start()
    topic = env.named(PRODUCT_CREATED)
    tps = {TopicPartition(topic, p): RecordsToDelete(-1) for p in range(PARTITIONS)}
    await admin.delete_records(tps)
    await admin.close()
    worker = env.start()
    assert await worker.ended() == 1
    assert "were deleted before they were read" in worker.text()
    command = f"topics reset --group {env.group} --topic {topic} --to earliest"
    assert command in worker.text()
    environ = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "SHANGXIN_KAFKA__BOOTSTRAP_SERVERS": env.settings.kafka.bootstrap_servers,
        "SHANGXIN_KAFKA__TOPIC_PREFIX": env.settings.kafka.topic_prefix,
    }
    # Another program would do; this runs the very words that the message gave.
    done = subprocess.run(  # noqa: ASYNC221
        [sys.executable, "-m", "stream.cli.main", *command.split()],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "reads on from" in done.stdout
    await env.emit("after", "Cup")
    env.start()
    await env.settled()
    assert "after" in await env.newest()


async def test_state_beyond_the_end_of_the_log_is_fatal_and_a_higher_epoch_repairs(env: Env) -> None:
    await enriched_and_stopped(env, 12)
    admin = make_admin(env.settings)
    await admin.start()
    await admin.delete_topics([env.named(PRODUCT_CREATED)])

    async def gone() -> bool:
        return env.named(PRODUCT_CREATED) not in await admin.list_topics()

    await eventually("topic deleted", gone)
    await admin.close()
    await create_topics(env.settings, PRODUCT_TOPICS)
    await reset_group(env.settings, env.group, env.named(PRODUCT_CREATED), "earliest")
    worker = env.start()
    assert await worker.ended() == 1
    assert "the topic was recreated or rolled back" in worker.text()
    assert "SHANGXIN_KAFKA__SOURCE_EPOCH=1" in worker.text()
    publisher = Publisher(env.settings)
    await publisher.start()
    env.publisher, old = publisher, env.publisher
    await old.stop()
    await env.emit("p1", "After")
    env.start(KAFKA__SOURCE_EPOCH="1")
    await env.settled()
    listing = (await env.newest())["p1"]
    assert listing is not None
    assert listing["revision"]["epoch"] == 1
    assert listing["listing"]["title"] == "After"
    back = env.start(1)
    assert await back.ended() == 1
    assert "committed under source epoch 1, the settings say 0" in back.text()


async def test_a_changed_partition_count_is_fatal(env: Env) -> None:
    await enriched_and_stopped(env, 2)
    admin = make_admin(env.settings)
    await admin.start()
    await admin.create_partitions({env.named(t): NewPartitions(total_count=PARTITIONS + 1) for t in PRODUCT_TOPICS})
    await admin.close()
    worker = env.start()
    assert await worker.ended() == 1
    assert f"has {PARTITIONS + 1} partitions, the settings say {PARTITIONS}" in worker.text()
    worker = env.start(TOPICS__PRODUCT_PARTITIONS=str(PARTITIONS + 1))
    assert await worker.ended() == 1
    assert f"had {PARTITIONS} partitions when group {env.group} last committed" in worker.text()


async def test_topics_are_made_once_and_another_count_is_named(env: Env) -> None:
    again = await create_topics(env.settings, PRODUCT_TOPICS)
    assert not any(state.created for state in again)
    by_name = {state.name: state for state in again}
    enriched = by_name[env.named(LISTING_ENRICHED)]
    assert enriched.config["cleanup.policy"] == "compact"
    assert by_name[env.named(PRODUCT_CREATED)].config["max.message.bytes"] == "1048576"
    other = env.settings.model_copy(update={"topics": TopicSettings(product_partitions=7, user_partitions=7)})
    with pytest.raises(SourceMoved, match=rf"has {PARTITIONS} partitions, the settings say 7.*PARTITIONS={PARTITIONS}"):
        await create_topics(other, PRODUCT_TOPICS)
    with pytest.raises(SourceMoved, match="the settings say 7"):
        await check_counts(other, (PRODUCT_CREATED,))


async def test_a_group_with_live_members_is_not_reset(env: Env) -> None:
    worker = env.start()
    await worker.ready()
    # The command waits for stopped members whose session may still run; this one does not stop, however long.
    impatient = env.settings.model_copy(
        update={"kafka": env.settings.kafka.model_copy(update={"session_timeout_s": 0.5})}
    )
    with pytest.raises(Fatal, match="still has members; stop its workers first"):
        await reset_group(impatient, env.group, env.named(PRODUCT_CREATED), "latest")
    with pytest.raises(Fatal, match="earliest or latest"):
        await reset_group(env.settings, env.group, env.named(PRODUCT_CREATED), "yesterday")
    with pytest.raises(Fatal, match="none of shangxin's"):
        await reset_group(env.settings, env.group, "other", "latest")


async def test_lag_and_no_progress_ends_the_worker(env: Env) -> None:
    worker = env.start(WORKER__STUCK_AFTER_S="4")
    await worker.ready()
    await env.emit("p1", "[slow] cup")
    assert await worker.ended() == 1
    assert '"error": "Stuck"' in worker.text()
    assert "1 records wait and none was finished" in worker.text()


async def test_a_waiting_request_and_an_idle_topic_are_not_stuck(env: Env) -> None:
    await env.emit("p1", "[down-once] cup")
    worker = env.start(WORKER__STUCK_AFTER_S="3", TRITON__LISTING_BUDGET_S="1", ENRICHMENT__RETRY_DELAY_S="8")

    async def degraded() -> bool:
        return bool(await env.newest())

    await eventually("degraded", degraded)
    env.back.touch()

    async def enriched() -> bool:
        assert worker.process.poll() is None, worker.text()
        listing = (await env.newest())["p1"]
        return listing is not None and listing["status"] == "enriched"

    await eventually("enriched after the wait", enriched)


async def test_aborted_transactions_of_upstream_are_not_read_and_do_not_count_as_lag(env: Env) -> None:
    producer = AIOKafkaProducer(transactional_id=f"{env.group}-up", **connection(env.settings))
    await producer.start()
    try:
        value = b'{"product_id": "%s", "title": "Cup"}'
        for key, keep in ((b"kept", True), (b"aborted", False)):
            await producer.begin_transaction()
            await producer.send_and_wait(env.named(PRODUCT_CREATED), value % key, key=key, headers=HEADERS)
            await (producer.commit_transaction() if keep else producer.abort_transaction())
    finally:
        await producer.stop()
    worker = env.start(WORKER__STUCK_AFTER_S="3")

    async def enriched() -> bool:
        return bool(await env.newest())

    await eventually("the committed one is enriched", enriched)
    topic = env.named(PRODUCT_CREATED)
    await eventually("lag is zero", lambda: lag_known(worker.get("/metrics")[1], topic))
    assert list(await env.newest()) == ["kept"]
    assert worker.process.poll() is None


def lag_known(metrics: str, topic: str) -> bool:
    """Whether the lag of a topic is exported and zero."""
    return f'shangxin_lag_records{{topic="{topic}"}} 0.0' in metrics


async def test_the_model_server_not_there_is_waited_for_and_said(env: Env) -> None:
    worker = env.start(real=True, TRITON__URL="127.0.0.1:1")
    says = "the model server at 127.0.0.1:1 is not there yet"
    await eventually("the log says what is waited for", lambda: says in worker.text())
    status, body = worker.get("/readyz")
    assert status == 503
    assert says in body
    assert worker.get("/healthz")[0] == 200
    worker.signal(signal.SIGTERM)
    assert await worker.ended() == 0


async def test_the_fence_follows_the_heartbeats_of_a_real_group(env: Env) -> None:
    fence = Fence(env.settings.kafka)
    consumer = make_consumer(env.settings, f"{env.group}-fence")
    await consumer.start()
    try:
        fence.attach(consumer)
        consumer.subscribe([env.named(PRODUCT_CREATED)])
        await eventually("joined", lambda: bool(consumer.assignment()))
        fence.check()
        ages = []

        def watched() -> bool:
            ages.append(fence.age)
            return len(ages) > 20

        await eventually("two seconds of heartbeats", watched)
        assert max(ages) < 3 * env.settings.kafka.heartbeat_interval_s
        assert ages != sorted(ages), "a heartbeat brings the age down"
    finally:
        await consumer.stop()


async def test_a_record_queued_before_a_pause_does_not_go_out_after_it(env: Env) -> None:
    now = [100.0]
    fence = Fence(env.settings.kafka, lambda: now[0])
    publisher = Publisher(env.settings, fence=fence)
    await publisher.start()
    try:
        fence.beat(now[0])
        topic = env.named(LISTING_ENRICHED)
        await publisher.publish(topic, key=b"p1", value=b"before")
        queued = await publisher.send(topic, key=b"p1", value=b"after")
        now[0] += fence.limit + 1
        with pytest.raises(Fenced):
            await queued
        with pytest.raises(Fenced):
            await publisher.send(topic, key=b"p1", value=b"later")
    finally:
        await publisher.stop(flush=False)
    assert [record.value for record in await env.records(LISTING_ENRICHED)] == [b"before"]
