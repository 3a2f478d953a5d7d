"""How far the three groups are: committed offsets against the ends of what they read."""

from __future__ import annotations

from aiokafka.structs import TopicPartition

from schemas.topics import BEHAVIOUR_BY_PRODUCT, ENRICHMENT_REQUESTS, PRODUCT_CREATED, USER_BEHAVIOUR, Topic
from stream.kafka.clients import group_id
from stream.kafka.sources import group_offsets
from stream.settings import Settings

READS: dict[str, tuple[Topic, ...]] = {
    "enrichment": (PRODUCT_CREATED, ENRICHMENT_REQUESTS),
    "profiles": (USER_BEHAVIOUR,),
    "features": (BEHAVIOUR_BY_PRODUCT,),
}
"""What each group commits on. The facts that profiles join with are read whole, without commits."""

QUIET_S = 2.0
"""The lag is zero and nothing came for this long: what profiles publish after a commit is through as well.
Ten times the observer's poll, and above every linger and timer of the workers."""


async def lags(settings: Settings, ends: dict[TopicPartition, int]) -> dict[str, int]:
    """Records not finished by each group; ends: of every partition. Raises NotReady when the broker is silent."""
    found = {}
    for name, topics in READS.items():
        committed = await group_offsets(settings, group_id(settings, name))
        names = {topic.named(settings.kafka.topic_prefix) for topic in topics}
        found[name] = sum(
            max(0, end - (committed[tp].offset if tp in committed else 0))
            for tp, end in ends.items()
            if tp.topic in names
        )
    return found


def is_through(lag: dict[str, int], quiet_s: float) -> bool:
    """Whether all that was sent is finished. quiet_s: since anything was last written to any topic."""
    return quiet_s > QUIET_S and bool(lag) and not any(lag.values())
