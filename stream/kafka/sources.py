"""Whether the source logs are those that the state belongs to (rules 5 and 6), and the command that repairs it.

Partition count and source epoch are recorded in the metadata of every committed offset.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import CommitFailedError, KafkaError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from msgspec import Struct

from inference.deadline import Deadline
from schemas.topics import TOPICS, Topic
from stream.errors import Fatal, NotReady, SourceMoved
from stream.kafka.admin import partition_counts, wanted_partitions
from stream.kafka.clients import REQUEST_TIMEOUT_MS, connection, make_admin, start_client
from stream.settings import Settings

RESET_RETRY_S = 0.5
RESET_MARGIN_S = 3.0
"""The broker looks for ended sessions about once a second, and the command itself takes some."""

_RECORDED = re.compile(r"^shangxin partitions=(\d+) epoch=(\d+)$")


class Recorded(Struct, frozen=True):
    """What a committed offset says of the source it belongs to."""

    partitions: int
    epoch: int

    def text(self) -> str:
        """The metadata of a commit."""
        return f"shangxin partitions={self.partitions} epoch={self.epoch}"


def recorded(metadata: str | None) -> Recorded | None:
    """What was recorded, or None where another tool committed."""
    match = _RECORDED.match(metadata or "")
    return Recorded(int(match[1]), int(match[2])) if match else None


async def check_counts(settings: Settings, topics: tuple[Topic, ...]) -> dict[str, int]:
    """Partition count of each topic by full name, all as the settings say.

    Raises NotReady when one is not there, SourceMoved when a count differs.
    """
    counts = await partition_counts(settings, topics)
    missing = [name for name, count in counts.items() if count == 0]
    if missing:
        raise NotReady(f"topics not there: {', '.join(missing)}; run `shangxin topics create`")
    for topic in topics:
        name, wanted = topic.named(settings.kafka.topic_prefix), wanted_partitions(topic, settings)
        if counts[name] != wanted:
            raise SourceMoved(
                f"topic {name} has {counts[name]} partitions, the settings say {wanted}: set "
                f"SHANGXIN_TOPICS__{topic.partitions.value.upper()}_PARTITIONS, or create topics under a new prefix"
            )
    return counts


async def check_recorded(settings: Settings, group: str, counts: Mapping[str, int]) -> None:
    """Compare what the group's commits recorded with the topics as they are (`counts` by full name).

    Raises SourceMoved when the partition count changed or the configured epoch went back.
    """
    for tp, committed in (await group_offsets(settings, group)).items():
        found = recorded(committed.metadata)
        if found is None or tp.topic not in counts:
            continue
        if found.partitions != counts[tp.topic]:
            raise SourceMoved(
                f"{tp.topic} had {found.partitions} partitions when group {group} last committed and has "
                f"{counts[tp.topic]} now: keys have moved. Create a new generation of topics under another prefix "
                "and rebuild from the source"
            )
        if found.epoch > settings.kafka.source_epoch:
            raise SourceMoved(
                f"group {group} committed under source epoch {found.epoch}, the settings say "
                f"{settings.kafka.source_epoch}: revisions would go back. Set SHANGXIN_KAFKA__SOURCE_EPOCH="
                f"{found.epoch} or higher"
            )


async def group_offsets(settings: Settings, group: str) -> dict[TopicPartition, OffsetAndMetadata]:
    """Everything that `group` has committed."""
    admin = make_admin(settings)
    await start_client(admin, settings)
    try:
        found: dict[TopicPartition, OffsetAndMetadata] = await admin.list_consumer_group_offsets(group)
    except KafkaError as error:
        raise NotReady(f"the offsets of group {group} cannot be read: {error!r}") from error
    finally:
        await admin.close()
    return found


async def start_positions(
    consumer: AIOKafkaConsumer, tps: Iterable[TopicPartition], group: str
) -> dict[TopicPartition, int]:
    """Where to read each assigned partition from: the committed offset, or the beginning of a log never read.

    Raises SourceMoved when a committed offset lies outside the log.
    """
    chosen = sorted(tps)
    begins, ends = await asyncio.gather(consumer.beginning_offsets(chosen), consumer.end_offsets(chosen))
    positions = {}
    for tp in chosen:
        committed = await consumer.committed(tp)
        if committed is not None:
            check_in_range(tp, committed, begins[tp], ends[tp], group)
        positions[tp] = begins[tp] if committed is None else committed
    return positions


def check_in_range(tp: TopicPartition, committed: int, begin: int, end: int, group: str) -> None:
    """Raises SourceMoved, with the command that repairs it, when `committed` is not in [begin, end]."""
    if begin <= committed <= end:
        return
    what = (
        f"records {committed} to {begin - 1} were deleted before they were read"
        if committed < begin
        else f"the log ends at {end}: it was recreated or rolled back"
    )
    raise SourceMoved(
        f"{tp.topic}/{tp.partition}: group {group} committed offset {committed}, but {what}. Stop the group, then "
        f"`shangxin topics reset --group {group} --topic {tp.topic} --to earliest` (or latest); after a recreated "
        "topic raise SHANGXIN_KAFKA__SOURCE_EPOCH as well"
    )


def check_stamp(tp: TopicPartition, epoch: int, offset: int, end: int, settings: Settings) -> None:
    """A stamp (newest revision in the state) must lie in the source log. Raises SourceMoved."""
    configured = settings.kafka.source_epoch
    if epoch > configured:
        raise SourceMoved(
            f"the state of {tp.topic}/{tp.partition} was made under source epoch {epoch}, the settings say "
            f"{configured}: set SHANGXIN_KAFKA__SOURCE_EPOCH={epoch} or higher"
        )
    if epoch == configured and offset >= end:
        raise SourceMoved(
            f"the state of {tp.topic}/{tp.partition} holds offset {offset}, the log ends at {end}: the topic was "
            f"recreated or rolled back. Set SHANGXIN_KAFKA__SOURCE_EPOCH={configured + 1} and run `shangxin topics "
            f"reset --topic {tp.topic} --to earliest --group GROUP`"
        )


async def reset_group(settings: Settings, group: str, topic: str, to: str) -> dict[int, int]:
    """Commit the earliest or latest offset of every partition of `topic` (full name) for a stopped group.

    Returns partition to offset. Raises Fatal when the group has live members or the topic is not there.
    """
    if to not in ("earliest", "latest"):
        raise Fatal(f"--to {to!r}: earliest or latest")
    consumer = AIOKafkaConsumer(
        group_id=group, enable_auto_commit=False, request_timeout_ms=REQUEST_TIMEOUT_MS, **connection(settings)
    )
    await start_client(consumer, settings)
    try:
        return await _commit_ends(consumer, group, await _partitions(settings, topic), to, settings)
    finally:
        await consumer.stop()


async def _partitions(settings: Settings, topic: str) -> Sequence[TopicPartition]:
    known = tuple(t for t in TOPICS if t.named(settings.kafka.topic_prefix) == topic)
    if not known:
        raise Fatal(f"topic {topic} is none of shangxin's under the prefix {settings.kafka.topic_prefix!r}")
    count = (await partition_counts(settings, known))[topic]
    if not count:
        raise Fatal(f"topic {topic} is not there; run `shangxin topics create`")
    return [TopicPartition(topic, partition) for partition in range(count)]


async def _commit_ends(
    consumer: AIOKafkaConsumer, group: str, tps: Sequence[TopicPartition], to: str, settings: Settings
) -> dict[int, int]:
    consumer.assign(tps)
    ends = await (consumer.beginning_offsets(tps) if to == "earliest" else consumer.end_offsets(tps))
    text = Recorded(len(tps), settings.kafka.source_epoch).text()
    # A static member that stopped stays in the group until its session ends.
    deadline = Deadline(settings.kafka.session_timeout_s + RESET_MARGIN_S)
    while not await _committed(consumer, group, {tp: (offset, text) for tp, offset in ends.items()}):
        if deadline.passed:
            raise Fatal(f"group {group} could not be reset: it still has members; stop its workers first")
        await asyncio.sleep(RESET_RETRY_S)
    return {tp.partition: offset for tp, offset in ends.items()}


async def _committed(consumer: AIOKafkaConsumer, group: str, offsets: dict[TopicPartition, tuple[int, str]]) -> bool:
    """Whether the broker took the commit; False when the group has members."""
    try:
        await consumer.commit(offsets)
    except CommitFailedError:
        return False
    except KafkaError as error:
        raise Fatal(f"group {group} could not be reset: {error!r}") from error
    return True
