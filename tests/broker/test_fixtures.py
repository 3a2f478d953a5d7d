"""The suite's own fixtures on the real broker: what the other tests rest on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from deploy.embedded.stack import Addresses
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


def test_the_broker_says_what_it_is(broker: Addresses) -> None:
    assert broker.broker_kind in {"external", "home", "maven", "docker", "embedded"}
    assert len(broker.broker_passed_over) == ["external", "home", "maven", "docker", "embedded"].index(
        broker.broker_kind
    )
