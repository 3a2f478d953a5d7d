"""Recount of what was refused: every bad record, by its place, once or more, as it came, for the right reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from schemas.deadletter import OFFSET, PARTITION, REASON, TOPIC
from schemas.envelope import header
from schemas.errors import Reason
from schemas.topics import BEHAVIOUR_DLQ, BEHAVIOUR_SIDE, PRODUCT_CREATED, PRODUCT_DLQ, PRODUCT_SIDE, USER_BEHAVIOUR
from stream.demo.scenario import Scenario
from stream.profiles.verify import read_all
from stream.settings import Settings

Place = tuple[str, int, int]


async def wrong_parked(settings: Settings, scene: Scenario, refused_here: int) -> list[str]:
    """Every way in which dead letters and side topics are not what the scenario says."""
    wrong: list[str] = []
    reasons: dict[Place, str] = {}
    for source, dead, aside in (
        (PRODUCT_CREATED, PRODUCT_DLQ, PRODUCT_SIDE),
        (USER_BEHAVIOUR, BEHAVIOUR_DLQ, BEHAVIOUR_SIDE),
    ):
        origins = {(r.topic, r.partition, r.offset): r for r in await read_all(settings, source)}
        for topic in (dead, aside):
            for record in await read_all(settings, topic):
                place, reason = _place(record), _text(record, REASON)
                # A worker that was killed between parking and commit parks again: the same place, the same reason.
                if reasons.setdefault(place, reason) != reason:
                    wrong.append(f"{place} was refused as {reasons[place]} and as {reason}")
                if (reason == Reason.UNKNOWN_TYPE) != (topic is aside):
                    wrong.append(f"{place}, refused as {reason}, is in {topic.name}")
                wrong += _as_it_came(record, origins.get(place), place)
    counted = Counter(reasons.values())
    counted[Reason.TOO_LARGE.value] += refused_here
    if counted != Counter(scene.expected):
        wrong.append(f"refused {dict(counted)}, the scenario holds {scene.expected}")
    return wrong


def _as_it_came(record: Any, origin: Any, place: Place) -> Sequence[str]:
    if origin is None:
        return [f"{place} does not exist"]
    # A record with neither key nor value cannot be sent: an empty value stands for none.
    same = record.key == origin.key and (record.value or b"") == (origin.value or b"")
    carried = list(record.headers)[: len(origin.headers)] == list(origin.headers)
    return [] if same and carried else [f"{place} was not parked as it came"]


def _place(record: Any) -> Place:
    return _text(record, TOPIC), int(_text(record, PARTITION)), int(_text(record, OFFSET))


def _text(record: Any, name: str) -> str:
    return (header(record.headers, name) or b"").decode()
