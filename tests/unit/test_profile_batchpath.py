"""The batch path without a broker: what it leans on in Faust and aiokafka, stores, sends, keyed state."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.producer.producer import AIOKafkaProducer
from faust.transport.consumer import Consumer
from faust.transport.drivers import aiokafka as driver

from stream.batchpath.sends import MAX_UNCONFIRMED, Sends
from stream.batchpath.store import MemoryShelf, RocksShelf, Shelf
from stream.errors import Fenced, SendFailed
from stream.kafka.fence import Fence
from stream.kafka.gate import Refused
from stream.settings import KafkaSettings


def parameters(function: Callable[..., Any]) -> list[str]:
    """Names of a function's parameters."""
    return list(inspect.signature(function).parameters)


def test_faust_is_the_version_whose_seams_are_known() -> None:
    assert version("faust-streaming") == "0.15.3"
    assert version("aiokafka").startswith("0.14.")


def test_the_seams_are_where_they_were() -> None:
    assert parameters(Consumer._wait_next_records) == ["self", "timeout"]
    assert parameters(Consumer._commit_offsets) == ["self", "offsets", "start_new_transaction"]
    assert parameters(Consumer._new_offset) == ["self", "tp"]
    assert parameters(Consumer._filter_tps_with_pending_acks) == ["self", "topics"]
    assert parameters(Consumer.on_partitions_revoked) == ["self", "revoked"]
    assert parameters(driver.Consumer._new_consumer_thread) == ["self"]
    assert "_wait_next_records" in inspect.getsource(Consumer.getmany)
    assert "_new_offset" in inspect.getsource(Consumer._filter_committable_offsets)
    assert "_commit_offsets" in inspect.getsource(Consumer._commit_tps)
    assert "_read_offset" in inspect.getsource(Consumer.perform_seek)
    for name in ("_do_heartbeat", "_do_rejoin_group"):
        assert inspect.iscoroutinefunction(getattr(GroupCoordinator, name))
    assert parameters(AIOKafkaClient.send)[:3] == ["self", "node_id", "request"]
    assert parameters(AIOKafkaClient._wait_on_metadata) == ["self", "topic"]
    assert parameters(AIOKafkaProducer.send_batch) == ["self", "batch", "topic", "partition"]


@pytest.fixture(params=["memory", "disk"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Shelf]:
    """Opens the same shelf each time; in memory there is only one opening."""
    return MemoryShelf if request.param == "memory" else lambda: RocksShelf(tmp_path / "table" / "0")


def test_a_shelf_puts_deletes_lists_and_remembers_its_offset(make: Callable[[], Shelf]) -> None:
    shelf = make()
    assert shelf.offset is None
    shelf.write([(b"a", b"1"), (b"b", b""), (b"c", b"3")], 41)
    shelf.write([(b"a", None), (b"c", b"4")], None)
    assert dict(shelf.items()) == {b"b": b"", b"c": b"4"}
    assert shelf.get(b"a") is None
    assert [shelf.offset] == [41]
    shelf.close()


def test_a_shelf_on_disk_outlives_its_process(tmp_path: Path) -> None:
    first = RocksShelf(tmp_path / "t" / "0")
    first.write([(b"a", b"1")], 7)
    first.close()
    again = RocksShelf(tmp_path / "t" / "0")
    assert (again.get(b"a"), again.offset) == (b"1", 7)
    again.close()


class Builder:
    """At the transport seam: a batch that takes three records."""

    def __init__(self) -> None:
        self.records: list[bytes | None] = []

    def append(self, *, timestamp: int, key: bytes | None, value: bytes | None, headers: list[Any]) -> object | None:
        """None when full."""
        if len(self.records) == 3:
            return None
        self.records.append(key)
        return object()

    def record_count(self) -> int:
        """Records."""
        return len(self.records)


class Metadata:
    """As aiokafka's: the base offset."""

    def __init__(self, offset: int) -> None:
        self.offset = offset


class Producer:
    """At the transport seam: futures that the test settles."""

    def __init__(self) -> None:
        self.sent: list[tuple[list[bytes | None], asyncio.Future[Metadata]]] = []

    def create_batch(self) -> Builder:
        """An empty batch."""
        return Builder()

    async def send_batch(self, builder: Builder, topic: str, *, partition: int) -> asyncio.Future[Metadata]:
        """Remember it."""
        future: asyncio.Future[Metadata] = asyncio.get_running_loop().create_future()
        self.sent.append((builder.records, future))
        return future


class Clock:
    """Seconds that the test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def fresh_sends(timeout_s: float = 1.0) -> tuple[Sends, Producer, Clock, Fence]:
    """Sends over the fake producer, with a heartbeat just now."""
    producer, clock = Producer(), Clock()
    fence = Fence(KafkaSettings(), clock)
    fence.beat(clock.now)
    sends = Sends(lambda: producer, fence, timeout_s)
    return sends, producer, clock, fence


async def test_sends_are_batched_in_order_and_confirmed_up_to_a_mark() -> None:
    sends, producer, _, _ = fresh_sends()
    mark = await sends.send_many("t", 0, [(b"%d" % n, b"v", []) for n in range(7)], 0, keep=True)
    assert [records for records, _ in producer.sent] == [[b"0", b"1", b"2"], [b"3", b"4", b"5"], [b"6"]]
    assert mark == 3
    confirming = asyncio.ensure_future(sends.confirm())
    await asyncio.sleep(0)
    assert not confirming.done()
    for base, (_, future) in zip((10, 13, 16), producer.sent, strict=True):
        future.set_result(Metadata(base))
    assert await confirming == 3
    assert sends.take_offset(mark) == 16
    assert not sends.waiting


async def test_after_a_failed_send_everything_refuses_and_nothing_is_forgotten() -> None:
    sends, producer, _, _ = fresh_sends()
    await sends.send_many("t", 0, [(b"k", b"v", [])], 0)
    producer.sent[0][1].set_exception(OSError("gone"))
    for _ in range(2):
        with pytest.raises(SendFailed, match="gone"):
            await sends.confirm()
    with pytest.raises(SendFailed):
        await sends.send_many("t", 0, [(b"k", b"v", [])], 0)
    assert sends.waiting
    assert len(producer.sent) == 1


async def test_a_send_without_an_answer_fails_by_the_delivery_timeout() -> None:
    sends, _, _, _ = fresh_sends(timeout_s=0.05)
    await sends.send_many("t", 0, [(b"k", b"v", [])], 0)
    with pytest.raises(SendFailed, match=r"within 0\.05 s"):
        await sends.confirm()


async def test_an_old_heartbeat_refuses_before_the_producer_is_asked() -> None:
    sends, producer, clock, fence = fresh_sends()
    clock.now += fence.limit + 0.1
    with pytest.raises(Fenced):
        await sends.send_many("t", 0, [(b"k", b"v", [])], 0)
    assert not producer.sent


async def test_a_refusal_at_the_wire_is_a_fence_not_a_failed_broker() -> None:
    sends, producer, _, _ = fresh_sends()
    await sends.send_many("t", 0, [(b"k", b"v", [])], 0)
    producer.sent[0][1].set_exception(Refused("too old"))
    with pytest.raises(Fenced, match="too old"):
        await sends.confirm()


async def test_too_many_unconfirmed_batches_make_the_sender_wait() -> None:
    sends, producer, _, _ = fresh_sends()
    for _ in range(MAX_UNCONFIRMED):
        await sends.send_many("t", 0, [(b"k", b"v", [])], 0)
    one_more = asyncio.ensure_future(sends.send_many("t", 0, [(b"k", b"v", [])], 0))
    await asyncio.sleep(0.01)
    assert not one_more.done()
    producer.sent[0][1].set_result(Metadata(0))
    assert await one_more == MAX_UNCONFIRMED + 1
