"""Plans of blows for the long form: seeded, so that a round that fails can be run again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from schemas.topics import BEHAVIOUR_BY_PRODUCT, ITEM_FEATURES, LISTING_ENRICHED
from stream.faults import FaultPoint
from tests.chaos.system_run import Blow

FAULT = "SHANGXIN_WORKER__FAULT"
OUTPUT: dict[str, tuple[str, int]] = {
    "enrich": (LISTING_ENRICHED.name, 200),
    "profiles": (BEHAVIOUR_BY_PRODUCT.name, 2_400),
    "features": (ITEM_FEATURES.name, 1_200),
}
"""By what a worker's progress is seen, and how much of it a replay of 3,000 events makes at least: enriched
listings are 243, the others 2,700 and 1,700 on an idle machine, where batches are small."""
PASSES = {"enrich": 60, "profiles": 30, "features": 30}
"""A fault is due within so many passes of its point: once an event, or once a batch."""
COMMITS = 8
"""Commits come once a second or so."""


@dataclass(frozen=True)
class Plan:
    """sets: of workers. first: environment of each worker's first start. blows: in no order."""

    sets: int
    first: dict[str, dict[str, str]]
    blows: list[Blow]


def plan_of(seed: int) -> Plan:
    """Each worker dies twice or more: at a fault point from its first start, then in mid-stream, the next start armed
    again. Odd seeds run two sets of workers, and one worker sleeps past its session while its successor works."""
    rng = Random(f"chaos-{seed}")
    sets = 1 + seed % 2
    first = {name: _fault(rng, name) for name in OUTPUT}
    blows = [_blow(rng, name, rng.randrange(sets)) for name in OUTPUT]
    if sets > 1:
        blows.append(_stop(rng, rng.choice(list(OUTPUT))))
    return Plan(sets, first, blows)


def faults(plan: Plan) -> Iterator[str]:
    """The armed points, for the log."""
    for name, environment in plan.first.items():
        yield f"{name} {environment[FAULT]}"


def _fault(rng: Random, name: str) -> dict[str, str]:
    point = rng.choice(list(FaultPoint))
    passes = COMMITS if point is FaultPoint.BEFORE_COMMIT else PASSES[name]
    return {FAULT: f"{point}:{rng.randint(1, passes)}"}


def _blow(rng: Random, name: str, number: int) -> Blow:
    topic, whole = OUTPUT[name]
    then = _fault(rng, name) if rng.random() < 0.5 else {}
    return Blow(name, topic, rng.randrange(whole // 10, whole // 2), then=then, number=number)


def _stop(rng: Random, name: str) -> Blow:
    topic, whole = OUTPUT[name]
    return Blow(name, topic, rng.randrange(whole // 10, whole // 3), stop=True, number=1)
