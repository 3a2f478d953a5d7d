"""The batch path on a real broker: exact commits, recovery, replay, rebalance, failing sends, moved sources."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import CommitFailedError

from stream.batchpath.seams import BatchConsumer
from stream.errors import SendFailed, SourceMoved
from stream.kafka.clients import group_id
from tests.broker.batch_stage import Stage, committed, newest, produce, running, stage_settings, until
from tests.conftest import MakeTopics

pytestmark = pytest.mark.broker
COMPACT = {"cleanup.policy": "compact"}


@dataclass
class Topics:
    """Names of one test, all under its own prefix."""

    prefix: str
    bootstrap: str
    source: str
    changelog: str
    sink: str

    def stage(self, index: int = 0, state_dir: Path | None = None, partitions: int = 4) -> Stage:
        """A worker; each index is a static member of its own."""
        settings = stage_settings(self.bootstrap, self.prefix, index, state_dir)
        return Stage(settings, self.source, self.changelog, self.sink, partitions)

    async def committed_all(self, end: int) -> bool:
        """Whether the group committed `end` records in total."""
        found = await committed(stage_settings(self.bootstrap, self.prefix))
        return sum(found.values()) == end

    async def counts(self) -> dict[str, int]:
        """Newest count of each key in the sink."""
        return {key.decode(): int(r.value) for key, r in (await newest(self.bootstrap, self.sink)).items()}


@pytest.fixture
def topics(kafka: str, unique: Callable[[str], str], make_topics: MakeTopics) -> Topics:
    """Four partitions each."""
    return named(kafka, unique, make_topics, 4)


def named(kafka: str, unique: Callable[[str], str], make_topics: MakeTopics, partitions: int) -> Topics:
    """Fresh topics with a partition count."""
    prefix = unique("bp") + "."
    made = Topics(prefix, kafka, f"{prefix}in", f"{prefix}log", f"{prefix}out")
    make_topics(made.source, partitions=partitions)
    make_topics(made.changelog, made.sink, partitions=partitions, config=COMPACT)
    return made


def keys(count: int) -> list[str]:
    """`count` records over 97 keys."""
    return [f"k{i % 97}" for i in range(count)]


async def test_counts_are_exact_and_offsets_committed(topics: Topics) -> None:
    await produce(topics.bootstrap, topics.source, keys(3000))
    async with running(topics.stage()) as stage:
        await until(lambda: topics.committed_all(3000), stage.task)
    assert await topics.counts() == dict(Counter(keys(3000)))


@pytest.mark.parametrize("on_disk", [False, True])
async def test_recovers_and_skips_replayed_offsets_but_writes_their_keys(
    topics: Topics, tmp_path: Path, on_disk: bool
) -> None:
    state_dir = tmp_path if on_disk else None
    await produce(topics.bootstrap, topics.source, keys(1000))
    async with running(topics.stage(state_dir=state_dir)) as stage:
        await until(lambda: topics.committed_all(1000), stage.task)
    await reset_to_start(topics)
    async with running(topics.stage(state_dir=state_dir)) as stage:
        await until(lambda: topics.committed_all(1000), stage.task)
        assert stage.handler.applied == 0
        assert stage.handler.batches > 0
    assert await topics.counts() == dict(Counter(keys(1000)))


async def test_a_failed_send_ends_the_worker_and_commits_nothing(
    topics: Topics, make_topics: MakeTopics, unique: Callable[[str], str]
) -> None:
    topics.sink = unique("refuses")
    make_topics(topics.sink, config={"max.message.bytes": "80"})
    await produce(topics.bootstrap, topics.source, keys(500))
    stage = topics.stage()
    stage.start()
    assert stage.task is not None
    with pytest.raises(SendFailed, match=r"MessageSizeTooLarge|RecordListTooLarge|MESSAGE_TOO_LARGE"):
        await asyncio.wait_for(stage.task, 60)
    assert await committed(stage_settings(topics.bootstrap, topics.prefix)) == {}


async def test_a_worker_without_partitions_is_ready_and_takes_over(
    kafka: str, unique: Callable[[str], str], make_topics: MakeTopics
) -> None:
    topics = named(kafka, unique, make_topics, 1)
    async with running(topics.stage(0, partitions=1)) as first, running(topics.stage(1, partitions=1)) as second:
        await until(lambda: first.path.announced and second.path.announced)
        owners = sorted(len(stage.handler.assigned[-1]) for stage in (first, second))
        assert owners == [0, 1]
        await produce(kafka, topics.source, keys(200))
        await until(lambda: topics.committed_all(200))
    assert await topics.counts() == dict(Counter(keys(200)))


async def test_changelog_records_that_a_rebalance_dropped_are_read_again(topics: Topics) -> None:
    """Faust throws away what a fetch from before a rebalance brings after recovery's seek, and then waits for it."""
    async with running(topics.stage(0)) as first:
        await produce(topics.bootstrap, topics.source, keys(400))
        await until(lambda: topics.committed_all(400), first.task)
    second = topics.stage(1)
    consumer = second.app.consumer
    dropped: set[tuple[Any, int]] = set()
    read_again: list[bool] = []
    assert isinstance(consumer, BatchConsumer)
    fetch = consumer._getmany

    async def dropping(active_partitions: Any, timeout: float) -> Any:  # noqa: ASYNC109 (Faust's signature)
        found = await fetch(active_partitions, timeout)
        if read_again or not any(tp.topic == second.state.topic for tp in found):
            return found
        offsets = {(tp, record.offset) for tp, records in found.items() for record in records}
        if dropped & offsets:
            read_again.append(True)
            return found
        dropped.update(offsets)  # everything is thrown away once
        return {}

    consumer._getmany = dropping  # type: ignore[method-assign]
    async with running(second):
        assert dropped
        assert read_again
        await produce(topics.bootstrap, topics.source, keys(400))
        await until(lambda: topics.committed_all(800), second.task)
    assert await topics.counts() == {key: 2 * count for key, count in Counter(keys(400)).items()}


async def test_a_rebalance_in_the_middle_of_a_batch_loses_and_doubles_nothing(topics: Topics) -> None:
    async with running(topics.stage(0)) as first:
        first.handler.gate = asyncio.Event()
        await produce(topics.bootstrap, topics.source, keys(2000))
        await asyncio.wait_for(first.handler.entered.wait(), 30)
        second = topics.stage(1)
        second.start()
        before = first.path.assignments
        await until(lambda: bool(first.app.rebalancing), first.task)
        first.handler.gate.set()
        await until(lambda: first.path.assignments > before and first.path.announced, first.task)
        try:
            await second.ready()
            await produce(topics.bootstrap, topics.source, keys(2000))
            await until(lambda: topics.committed_all(4000), first.task)
            assert first.handler.assigned[-1]
            assert second.handler.assigned[-1]
        finally:
            await second.stop()
    assert await topics.counts() == {key: 2 * count for key, count in Counter(keys(2000)).items()}


async def test_a_batch_that_outlives_the_drain_deadline_is_abandoned_to_the_new_owner(topics: Topics) -> None:
    async with running(topics.stage(0)) as first:
        first.handler.gate = asyncio.Event()  # never opened
        await produce(topics.bootstrap, topics.source, keys(500))
        await asyncio.wait_for(first.handler.entered.wait(), 30)
        second = topics.stage(1)
        second.start()
        await second.ready()
        assert first.handler.batches == 0
        first.handler.gate.set()
        try:
            await until(lambda: topics.committed_all(500), second.task)
        finally:
            await second.stop()
    assert await topics.counts() == dict(Counter(keys(500)))


async def test_offsets_that_retention_took_are_fatal(topics: Topics) -> None:
    await produce(topics.bootstrap, topics.source, keys(400))
    async with running(topics.stage()) as stage:
        await until(lambda: topics.committed_all(400), stage.task)
    await produce(topics.bootstrap, topics.source, keys(400))
    await delete_up_to_the_end(topics)
    stage = topics.stage()
    stage.start()
    assert stage.task is not None
    with pytest.raises(SourceMoved, match="topics reset"):
        await asyncio.wait_for(stage.task, 60)


async def test_another_partition_count_is_fatal(
    kafka: str, unique: Callable[[str], str], make_topics: MakeTopics
) -> None:
    topics = named(kafka, unique, make_topics, 2)
    make_topics(f"{topics.prefix}wide", partitions=4)
    topics.source = f"{topics.prefix}wide"
    stage = topics.stage(partitions=2)
    stage.start()
    assert stage.task is not None
    with pytest.raises(SourceMoved, match="partitions"):
        await asyncio.wait_for(stage.task, 60)


async def reset_to_start(topics: Topics) -> None:
    """As `shangxin topics reset --to earliest` does."""
    settings = stage_settings(topics.bootstrap, topics.prefix)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=topics.bootstrap, group_id=group_id(settings, "counting"), enable_auto_commit=False
    )
    await consumer.start()
    try:
        tps = [TopicPartition(topics.source, p) for p in range(4)]
        consumer.assign(tps)

        async def reset() -> bool:
            await asyncio.sleep(0.5)
            try:
                await consumer.commit(dict.fromkeys(tps, 0))
            except CommitFailedError:
                return False  # the static member is not expired yet
            return True

        await until(reset)
    finally:
        await consumer.stop()


async def delete_up_to_the_end(topics: Topics) -> None:
    """What retention does to a group that was away too long."""
    admin = AIOKafkaAdminClient(bootstrap_servers=topics.bootstrap)
    await admin.start()
    try:
        tps = [TopicPartition(topics.source, p) for p in range(4)]
        await admin.delete_records({tp: RecordsToDelete(before_offset=-1) for tp in tps})
    finally:
        await admin.close()
