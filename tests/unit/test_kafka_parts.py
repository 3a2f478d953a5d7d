"""Shared Kafka parts without a broker: offsets, fence, progress, sizes, dead letters' fitting, partitions, sources."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from schemas.deadletter import MESSAGE, REASON, TOPIC
from schemas.errors import Reason, RecordError
from schemas.topics import LISTING_ENRICHED, PRODUCT_CREATED, PRODUCT_DLQ
from stream.errors import Fenced, SourceMoved, Stuck
from stream.kafka.clients import group_id, instance_id
from stream.kafka.fence import HEARTBEAT, REJOIN, RESET, Fence
from stream.kafka.limits import check_size, record_size, request_limit, topic_limit
from stream.kafka.offsets import Offsets
from stream.kafka.park import HEADERS_KEPT, NOTE, fitted
from stream.kafka.progress import ProgressWatch
from stream.kafka.publish import Header, partition_of
from stream.kafka.sources import Recorded, check_in_range, check_stamp, recorded
from stream.settings import KafkaSettings, Settings

TP = TopicPartition("t", 0)
OTHER = TopicPartition("t", 1)


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


# --- offsets ---------------------------------------------------------------------------


def test_the_smallest_unfinished_offset_is_committed() -> None:
    offsets = Offsets()
    generation = offsets.assign({TP: 5})
    for offset in (5, 6, 9):
        offsets.start(TP, offset)
    offsets.finish(TP, 6, generation)
    offsets.finish(TP, 9, generation)
    assert offsets.committable() == {}
    assert offsets.positions() == {TP: 5}
    offsets.finish(TP, 5, generation)
    assert offsets.committable() == {TP: 10}
    offsets.committed({TP: 10}, generation)
    assert offsets.committable() == {}


def test_work_of_an_old_generation_does_not_count() -> None:
    offsets = Offsets()
    old = offsets.assign({TP: 0})
    offsets.start(TP, 0)
    new = offsets.assign({TP: 0, OTHER: 3})
    offsets.start(TP, 0)
    offsets.finish(TP, 0, old)
    assert not offsets.owns(TP, old)
    assert offsets.committable() == {}
    offsets.finish(TP, 0, new)
    assert offsets.committable() == {TP: 1}
    offsets.committed({TP: 1}, old)
    assert offsets.committable() == {TP: 1}


def test_offsets_of_a_partition_must_rise() -> None:
    offsets = Offsets()
    offsets.assign({TP: 4})
    with pytest.raises(ValueError, match="offset 3"):
        offsets.start(TP, 3)


@given(st.permutations(list(range(12))), st.integers(0, 12))
def test_whatever_the_order_nothing_unfinished_is_committed(order: list[int], done: int) -> None:
    offsets = Offsets()
    generation = offsets.assign({TP: 0})
    for offset in range(12):
        offsets.start(TP, offset)
    for offset in order[:done]:
        offsets.finish(TP, offset, generation)
    assert offsets.positions()[TP] == min(order[done:], default=12)
    assert offsets.unfinished() == 12 - done


# --- fence -----------------------------------------------------------------------------


def kafka_settings(**changes: Any) -> KafkaSettings:
    """Session 10 s, delivery 4 s: the limit is 6 s."""
    return KafkaSettings(
        **{"session_timeout_s": 10.0, "delivery_timeout_s": 4.0, "heartbeat_interval_s": 1.0, **changes}
    )


def test_the_fence_closes_when_the_heartbeat_is_too_old() -> None:
    clock = Clock()
    fence = Fence(kafka_settings(), clock)
    with pytest.raises(Fenced):
        fence.check()
    fence.beat(clock.now)
    clock.now += 6.0
    fence.check()
    clock.now += 0.01
    with pytest.raises(Fenced, match=r"6\.0 s old"):
        fence.check()


async def test_a_member_put_out_with_good_heartbeats_never_produces_again() -> None:
    clock, consumer = Clock(), Consumer()
    fence = Fence(kafka_settings(), clock)
    fence.attach(consumer)
    coordinator = consumer._coordinator
    await coordinator._do_rejoin_group(None)
    fence.check()
    coordinator.reset_generation()
    with pytest.raises(Fenced, match="instance_id"):
        fence.check()
    with pytest.raises(Fenced):
        await coordinator._do_rejoin_group(None)


async def test_a_member_put_out_after_its_session_may_join_again() -> None:
    clock, consumer = Clock(), Consumer()
    fence = Fence(kafka_settings(), clock)
    fence.attach(consumer)
    coordinator = consumer._coordinator
    await coordinator._do_rejoin_group(None)
    clock.now += 10.1
    coordinator.reset_generation()
    coordinator.good = False
    await coordinator._do_rejoin_group(None)
    coordinator.good = True
    await coordinator._do_rejoin_group(None)
    fence.check()
    coordinator._closing.set_result(None)
    coordinator.reset_generation()
    assert not fence.displaced


async def test_silence_counts_from_the_start_and_then_from_the_heartbeat() -> None:
    clock = Clock()
    fence = Fence(kafka_settings(), clock)
    fence.attach(Consumer())
    clock.now += 5
    assert fence.age == float("inf")
    assert fence.silence == 5
    fence.beat(clock.now)
    clock.now += 2
    assert fence.silence == fence.age == 2


def test_an_earlier_heartbeat_does_not_take_the_fence_back() -> None:
    clock = Clock()
    fence = Fence(kafka_settings(), clock)
    fence.beat(clock.now)
    fence.beat(clock.now - 100)
    assert fence.age == 0


def test_settings_that_leave_no_time_to_produce_are_refused() -> None:
    with pytest.raises(Fenced, match="two heartbeat intervals"):
        Fence(kafka_settings(delivery_timeout_s=8.5))


class Coordinator:
    """Has what the fence listens to."""

    def __init__(self) -> None:
        self.good = True
        self.beats = 0
        self._closing: asyncio.Future[None] = asyncio.Future()

    async def _do_heartbeat(self) -> bool:
        self.beats += 1
        return self.good

    async def _do_rejoin_group(self, subscription: object) -> bool:
        if not self.good:
            self.reset_generation()
        return self.good

    def reset_generation(self) -> None:
        """Forget the place in the group."""


@dataclass
class Consumer:
    """Has a coordinator."""

    _coordinator: Coordinator = field(default_factory=Coordinator)


async def test_only_good_heartbeats_count_and_a_join_is_dated_by_one() -> None:
    clock, consumer = Clock(), Consumer()
    fence = Fence(kafka_settings(), clock)
    fence.attach(consumer)
    coordinator = consumer._coordinator
    assert await coordinator._do_rejoin_group(None)
    assert coordinator.beats == 1
    assert fence.age == 0
    clock.now += 7
    coordinator.good = False
    assert not await coordinator._do_heartbeat()
    assert fence.age == 7


def test_aiokafka_still_has_what_the_fence_wraps() -> None:
    heartbeat, rejoin = getattr(GroupCoordinator, HEARTBEAT), getattr(GroupCoordinator, REJOIN)
    assert inspect.iscoroutinefunction(heartbeat)
    assert list(inspect.signature(heartbeat).parameters) == ["self"]
    reset = getattr(GroupCoordinator, RESET)
    assert list(inspect.signature(reset).parameters) == ["self"]
    assert f"self.{RESET}()" in inspect.getsource(GroupCoordinator._do_heartbeat)
    assert f"self.{RESET}()" in inspect.getsource(GroupCoordinator._do_commit_offsets)
    assert "self._closing = create_future()" in inspect.getsource(GroupCoordinator.__init__)
    assert inspect.iscoroutinefunction(rejoin)
    assert list(inspect.signature(rejoin).parameters) == ["self", "subscription"]
    assert f"self.{HEARTBEAT}()" in inspect.getsource(GroupCoordinator._heartbeat_routine)
    assert f"self.{REJOIN}(subscription)" in inspect.getsource(GroupCoordinator.ensure_active_group)


# --- progress --------------------------------------------------------------------------


def test_lag_without_progress_is_stuck() -> None:
    clock = Clock()
    watch = ProgressWatch(60, clock)
    watch.observe(3, 0)
    clock.now += 59
    watch.observe(3, 0)
    clock.now += 1
    with pytest.raises(Stuck, match="3 records wait and none was finished for 60 s"):
        watch.observe(3, 0)


def test_progress_or_no_lag_starts_the_watch_again() -> None:
    clock = Clock()
    watch = ProgressWatch(60, clock)
    for finished in range(5):
        clock.now += 59
        watch.observe(3, finished)
    clock.now += 59
    watch.observe(0, 4)
    clock.now += 59
    watch.observe(3, 4)


# --- sizes and parking -----------------------------------------------------------------


@dataclass
class Raw:
    """A record as the broker gave it."""

    value: bytes | None
    key: bytes | None = b"k"
    headers: list[Header] = field(default_factory=list)
    topic: str = "product-created"
    partition: int = 1
    offset: int = 7


ERROR = RecordError(Reason.NOT_JSON, "$", b"xx", "a JSON document")


def test_limits_leave_room_for_what_is_added() -> None:
    settings = Settings()
    source = topic_limit(PRODUCT_CREATED, settings)
    assert source == settings.topics.max_message_bytes
    assert topic_limit(PRODUCT_DLQ, settings) > source
    assert topic_limit(LISTING_ENRICHED, settings) > source
    assert request_limit(settings) >= max(topic_limit(t, settings) for t in (PRODUCT_DLQ, LISTING_ENRICHED))


def test_a_record_over_the_limit_is_refused_with_its_size() -> None:
    with pytest.raises(RecordError, match=r"at most 1,000 bytes.*got \"1,116 bytes, key b'k'\"") as caught:
        check_size("t", 1000, b"k", b"x" * 990, [])
    assert caught.value.reason is Reason.TOO_LARGE


def test_a_parked_record_is_as_it_came_with_the_reason_behind() -> None:
    record = Raw(b"\x00\xffgarbage", headers=[("ce_id", b"\xff"), ("null", None)])
    key, value, headers = fitted(record, ERROR, 10_000)
    assert (key, value) == (b"k", b"\x00\xffgarbage")
    assert headers[:2] == record.headers
    found = dict(headers)
    assert found[REASON] == b"not-json"
    assert found[TOPIC] == b"product-created"
    assert b"a JSON document" in (found[MESSAGE] or b"")
    assert NOTE not in found


def test_a_record_that_cannot_fit_keeps_its_headers_and_says_where_it_stands() -> None:
    record = Raw(b"x" * 5_000, headers=[("ce_id", b"e1"), *[(f"h{i}", b"y") for i in range(50)]])
    key, value, headers = fitted(record, ERROR, 4_000)
    assert (key, value) == (b"k", b"")
    found = dict(headers)
    assert found["ce_id"] == b"e1"
    assert found[NOTE] == b"the value of 5000 bytes does not fit here; it stands at product-created/1@7"
    assert record_size(key, value, headers) <= 4_000
    assert sum(name.startswith("h") for name, _ in headers) == HEADERS_KEPT - 1


def test_a_record_with_neither_key_nor_value_can_be_parked() -> None:
    key, value, _ = fitted(Raw(None, key=None), ERROR, 10_000)
    assert (key, value) == (None, b"")


# --- names, partitions, sources --------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "partition"),
    # org.apache.kafka.common.utils.Utils.toPositive(murmur2(key)) % 10, printed by the Java client 4.3.1.
    [(b"21", 0), (b"foobar", 6), (b"p1", 0), ("上新".encode(), 2)],
)
def test_partitions_are_javas(key: bytes, partition: int) -> None:
    assert partition_of(key, 10) == partition


def test_names_carry_the_prefix() -> None:
    settings = Settings(kafka=KafkaSettings(topic_prefix="eu."))
    group = group_id(settings, "enrichment")
    assert group == "eu.shangxin-enrichment"
    assert instance_id(settings, group).startswith(f"{group}-")
    assert instance_id(Settings(kafka=KafkaSettings(instance_id="me")), group) == "me"


def test_what_a_commit_records_is_read_back() -> None:
    assert recorded(Recorded(8, 2).text()) == Recorded(8, 2)
    assert recorded("") is None
    assert recorded(None) is None


def test_a_committed_offset_must_lie_in_the_log() -> None:
    check_in_range(TP, 5, 5, 9, "g")
    check_in_range(TP, 9, 5, 9, "g")
    with pytest.raises(
        SourceMoved, match=r"records 4 to 4 were deleted.*topics reset --group g --topic t --to earliest"
    ):
        check_in_range(TP, 4, 5, 9, "g")
    with pytest.raises(SourceMoved, match="the log ends at 9"):
        check_in_range(TP, 10, 5, 9, "g")


def test_a_stamp_must_lie_in_the_log_of_its_epoch() -> None:
    settings = Settings(kafka=KafkaSettings(source_epoch=1))
    check_stamp(TP, 1, 8, 9, settings)
    check_stamp(TP, 0, 500, 9, settings)
    with pytest.raises(SourceMoved, match="SOURCE_EPOCH=2"):
        check_stamp(TP, 1, 9, 9, settings)
    with pytest.raises(SourceMoved, match="SOURCE_EPOCH=2 or higher"):
        check_stamp(TP, 2, 0, 9, settings)
