"""The suite's own fixtures on the real broker: what the other tests rest on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from deploy.embedded.client import with_admin
from deploy.embedded.stack import Addresses
from stream.settings import Settings
from tests.conftest import MakeTopics

pytestmark = pytest.mark.broker


async def test_records_go_through(kafka: str, make_topics: MakeTopics, unique: Callable[[str], str]) -> None:
    topic = unique("through")
    make_topics(topic, partitions=2)
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        await producer.send_and_wait(topic, b"value", key=b"key", partition=1)
    async with AIOKafkaConsumer(bootstrap_servers=kafka, group_id=None, auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(topic, 0), TopicPartition(topic, 1)])
        record = await consumer.getone()
    assert (record.key, record.value, record.partition, record.offset) == (b"key", b"value", 1, 0)


def test_the_broker_says_what_it_is_and_what_it_is_not(broker: Addresses, stack_settings: Settings) -> None:
    order = ["external", "home", "maven", "docker", "embedded"]
    assert broker.broker_kind in order
    if stack_settings.stack.broker == "auto":
        assert [line.partition(":")[0] for line in broker.broker_passed_over] == order[
            : order.index(broker.broker_kind)
        ]


def test_a_refused_topic_is_an_error(broker: Addresses, make_topics: MakeTopics, unique: Callable[[str], str]) -> None:
    if broker.broker_kind == "embedded":
        pytest.skip("noida-db takes any topic setting")
    with pytest.raises(AssertionError, match=r"no\.such\.setting"):
        make_topics(unique("odd"), config={"no.such.setting": "1"})


def test_topic_settings_are_applied(kafka: str, make_topics: MakeTopics, unique: Callable[[str], str]) -> None:
    topic = unique("compacted")
    make_topics(topic, partitions=3, config={"cleanup.policy": "compact"})

    async def ask(admin: AIOKafkaAdminClient) -> tuple[int, str]:
        (found,) = await admin.describe_topics([topic])
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        config = {entry[0]: entry[1] for entry in answer.resources[0][4]}
        return len(found["partitions"]), config["cleanup.policy"]

    assert with_admin(kafka, ask) == (3, "compact")
