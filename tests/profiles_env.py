"""What the profiles tests share: facts and events, the stage, and the comparison with a recount."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import ClassVar

from schemas.behaviour import BEHAVIOUR_TYPE, BehaviourEvent
from schemas.codec import Codec
from schemas.envelope import Envelope, headers_of
from schemas.listing import FACTS_TYPE, ListingFacts, Revision
from schemas.topics import LISTING_FACTS, USER_BEHAVIOUR
from schemas.vector import pack_int8
from stream.profiles.run import STAGE, TOPICS_USED
from stream.profiles.verify import verify
from tests.worker_kit import WorkerEnv, eventually

START = 1_760_000_000_000
HOUR = 3_600_000
SOURCE = "shangxin/test"
ACTIONS = ("view", "view", "view", "click", "cart_add", "cart_remove", "purchase", "favourite", "search", "consent")

_events = Codec(BehaviourEvent)
_facts = Codec(ListingFacts)

Sent = tuple[str, BehaviourEvent]
"""Event id and event."""


def make_facts(products: int = 40, seed: int = 3) -> list[ListingFacts]:
    """Facts of p0 to p{products - 1}, three levels of category, a 16-component unit vector."""
    rng = random.Random(seed)
    found = []
    for number in range(products):
        vector = [rng.gauss(0, 1) for _ in range(16)]
        length = sum(v * v for v in vector) ** 0.5
        found.append(
            ListingFacts(
                product_id=f"p{number}",
                revision=Revision(0, number),
                category=[f"c{number % 3}", f"c{number % 3}.{number % 7}", f"leaf{number % 11}"],
                brand=f"brand{number % 9}" if number % 4 else "",
                attributes=[f"colour={number % 5}", f"size={number % 3}"],
                price_band=f"CNY:{number % 10}",
                language="zh",
                embedding=pack_int8("test-space", [v / length for v in vector]),
            )
        )
    return found


def make_events(count: int, users: int = 40, products: int = 40, hours: int = 40, seed: int = 5) -> list[Sent]:
    """Events over `hours`, out of order, some hours late, one in twenty repeated under its own id."""
    rng = random.Random(seed)
    found: list[Sent] = []
    for number in range(count):
        late = rng.randrange(20 * HOUR) if rng.random() < 0.05 else rng.randrange(90_000)
        action = rng.choice(ACTIONS)
        event = BehaviourEvent(
            user_id=f"u{int(users * rng.random() ** 2)}",
            action=action,
            event_time=START + number * hours * HOUR // count - late,
            product_id=None if action in ("search", "consent") else f"p{int(products * rng.random() ** 2)}",
            channel=rng.choice(("web", "app", "store")),
            session_id=f"s{number // 30}" if rng.random() < 0.7 else None,
            price=round(rng.uniform(1, 400), 2) if rng.random() < 0.5 else None,
            currency="CNY",
            quantity=rng.randrange(1, 4),
            language=rng.choice(("zh-CN", "en", None)),
        )
        found.append((f"e{number}", event))
        if rng.random() < 0.05:
            found.append(found[-1])
    return found


class Env(WorkerEnv):
    """One test's topics, publisher and profiles workers."""

    stage = command = STAGE
    sources = (USER_BEHAVIOUR,)
    topics = TOPICS_USED
    overrides: ClassVar = {"PROFILES__MAX_BATCH": "200"}

    async def send(self, events: Sequence[Sent]) -> None:
        """Write events in order."""
        sent = []
        for id_, event in events:
            head = headers_of(Envelope(id_, BEHAVIOUR_TYPE, SOURCE, event.event_time))
            sent.append(await self.queue(event.user_id.encode(), _events.encode(event), head))
        await asyncio.gather(*sent)

    async def list(self, facts: Sequence[ListingFacts]) -> None:
        """Write facts."""
        for each in facts:
            head = headers_of(Envelope(f"f{each.product_id}", FACTS_TYPE, SOURCE, START))
            await self.publisher.publish(
                self.named(LISTING_FACTS), key=each.product_id.encode(), value=_facts.encode(each), headers=head
            )

    async def equal_to_recount(self, limit_s: float = 30.0) -> None:
        """Until every profile and every user's features are what a recount of the topics says."""
        problem: object = None

        async def equal() -> bool:
            nonlocal problem
            verdict = await verify(self.settings)
            assert verdict.users > 0
            assert verdict.ambiguous == 0
            problem = dict(list(verdict.wrong.items())[:3])
            return not verdict.wrong

        try:
            await eventually("equal to a recount", equal, limit_s)
        except AssertionError:
            raise AssertionError(problem) from None
