"""Simulated shoppers: searches, clicks, views, favourites, carts, purchases, sessions. Seeded; docs/simulator.md.

Nothing here was observed. Every record carries the `ce_source` of the simulator, and none of it is
used for a quality figure. The numbers are round ones from a shop's everyday, there to move data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import Any

import msgspec
from msgspec import Struct

from schemas.behaviour import Action, BehaviourEvent
from stream.demo.record import SOURCE_SIMULATOR, DemoRecord, behaviour
from stream.demo.shopping import Good, Shelves
from stream.demo.spread import Window

SHOPPERS = 240
"""People on the bilingual shelves: with some 6,000 events they have 25 each, enough to have a taste."""
GROUPS_EACH = (1, 3)
CHINESE = 0.5
OWN_LANGUAGE = 0.92
"""Share of a shopper's steps on shelves of their own language."""
STEPS = (2, 12)
SEARCH, FAVOURITE, CART, CART_BACK, BUY = 0.25, 0.06, 0.22, 0.12, 0.35
"""Chances: a step begins with a search; a view leads to a favourite, to the cart; a cart is emptied, is bought."""
HOUR_ZH = (2, 1, 1, 1, 1, 1, 2, 4, 6, 8, 9, 9, 10, 9, 8, 8, 8, 8, 9, 11, 13, 14, 10, 5)
HOUR_EN = (3, 2, 1, 1, 1, 1, 2, 4, 6, 7, 8, 9, 9, 9, 8, 8, 8, 9, 10, 12, 13, 12, 9, 6)
"""Sessions by hour of the local day, relative: lunch and the evening."""
UTC_OFFSET_H = {"zh": 8, "en": -5}
PAUSE_MS = (4_000, 45_000)
"""Between two actions of a session, far below the session gap of 30 minutes."""
VISIT_BEFORE_MS = (5 * 60_000, 40 * 60_000)
"""An online visit lies this long before the basket that it leads to."""
VISIT_VIEW, VISIT_CART, VISIT_OTHER = 0.8, 0.4, 0.3
REPEAT = 0.01
"""Share of records that upstream sends twice, with the same event id."""
REPEAT_AFTER_MS = (200, 2_000)
"""A retry comes within seconds: within the 64 event ids that a profile remembers."""
CHANNELS = {"zh": ("app", "mini-program", "web"), "en": ("web", "app")}


class Basket(Struct, frozen=True):
    """A real basket that a simulated online visit leads to: who, when (ms), what."""

    user_id: str
    id: str
    at: int
    goods: tuple[Good, ...]


class Shopper(Struct, frozen=True):
    """A simulated person: language, favourite groups (the first most of all), and channel."""

    user_id: str
    language: str
    groups: tuple[str, ...]
    channel: str


class Session:
    """Writes one session's actions, each a pause after the one before."""

    def __init__(self, user_id: str, id_: str, at: int, channel: str, language: str, random: Random) -> None:
        self._fields = {"user_id": user_id, "session_id": id_, "channel": channel, "language": language}
        self._id = id_
        self._random = random
        self.at = at
        self.events: list[tuple[BehaviourEvent, str]] = []

    def act(self, action: Action, good: Good | None = None, **more: Any) -> None:
        """One action, on `good` where there is one."""
        fields: dict[str, Any] = {**self._fields, **more}
        if good is not None:
            fields["product_id"] = good.product_id
            if good.price is not None and good.currency is not None:
                fields |= {"price": good.price, "currency": good.currency}
        event = BehaviourEvent(action=action, event_time=self.at, **fields)
        self.events.append((event, f"{self._id}-{len(self.events) + 1}"))
        self.at += self._random.randint(*PAUSE_MS)


def browsing(shelves: Shelves, window: Window, events: int, seed: int) -> Iterator[DemoRecord]:
    """Sessions of simulated shoppers on the bilingual shelves: `events` records, not in the order of time."""
    random = Random(f"browsing-{seed}")
    people = [_shopper(number, shelves, random) for number in range(SHOPPERS)]
    written = 0
    number = 0
    while written < events:
        number += 1
        person = random.choice(people)
        at = _start(window, person.language, random)
        session = Session(person.user_id, f"sim-{number}", at, person.channel, person.language, random)
        _browse(session, person, shelves, random)
        kept = [(e, i) for e, i in session.events if e.event_time < window.end][: events - written]
        written += len(kept)
        yield from _records(kept)


def visits(baskets: Sequence[Basket], others: Sequence[Good], events: int, seed: int) -> Iterator[DemoRecord]:
    """Online visits before real baskets: `events` records at most. others: goods seen on the way."""
    random = Random(f"visits-{seed}")
    order = list(baskets)
    random.shuffle(order)
    written = 0
    for basket in order:
        if written >= events:
            return
        at = basket.at - random.randint(*VISIT_BEFORE_MS)
        session = Session(basket.user_id, f"sim-visit-{basket.id}", at, "web", "en", random)
        _visit(session, basket, others, random)
        kept = [(e, i) for e, i in session.events if e.event_time < basket.at][: events - written]
        written += len(kept)
        yield from _records(kept)


def repeated(records: Iterable[DemoRecord], seed: int) -> Iterator[DemoRecord]:
    """`records`, some of them twice with the same event id and value, a moment apart, as upstream retries do."""
    random = Random(f"repeated-{seed}")
    for record in records:
        yield record
        if random.random() < REPEAT:
            yield msgspec.structs.replace(record, at=record.at + random.randint(*REPEAT_AFTER_MS))


def _records(events: Iterable[tuple[BehaviourEvent, str]]) -> Iterator[DemoRecord]:
    return (behaviour(event, id_, SOURCE_SIMULATOR) for event, id_ in events)


def _shopper(number: int, shelves: Shelves, random: Random) -> Shopper:
    language = "zh" if random.random() < CHINESE else "en"
    groups = sorted(shelves.groups[language])
    chosen = random.sample(groups, min(len(groups), random.randint(*GROUPS_EACH)))
    return Shopper(f"shopper-{language}-{number:03d}", language, tuple(chosen), random.choice(CHANNELS[language]))


def _start(window: Window, language: str, random: Random) -> int:
    """A moment of the window, by the hours in which people shop."""
    hours = HOUR_ZH if language == "zh" else HOUR_EN
    while True:  # thinning: accepted with chance hour / max, so about every second draw is
        at = random.randrange(window.start, window.end)
        hour = (at // 3_600_000 + UTC_OFFSET_H[language]) % 24
        if random.random() * max(hours) < hours[hour]:
            return at


def _browse(session: Session, person: Shopper, shelves: Shelves, random: Random) -> None:
    cart: list[Good] = []
    for _ in range(random.randint(*STEPS)):
        group = _group(person, shelves, random)
        good = shelves.pick(group, session.at, random)
        if good is None:
            continue
        if random.random() < SEARCH:
            session.act(Action.SEARCH, query=random.choice(good.words))
        session.act(Action.CLICK, good, position=random.randint(1, 20))
        session.act(Action.VIEW, good)
        if random.random() < FAVOURITE:
            session.act(Action.FAVOURITE, good)
        if random.random() < CART:
            session.act(Action.CART_ADD, good)
            cart.append(good)
    _check_out(session, cart, random)


def _check_out(session: Session, cart: list[Good], random: Random) -> None:
    kept = []
    for good in cart:
        if random.random() < CART_BACK:
            session.act(Action.CART_REMOVE, good)
        else:
            kept.append(good)
    if kept and random.random() < BUY:
        for good in kept:
            session.act(Action.PURCHASE, good, quantity=random.choice((1, 1, 1, 2)))


def _group(person: Shopper, shelves: Shelves, random: Random) -> str:
    if random.random() < OWN_LANGUAGE:
        weights = [1 / (rank + 1) for rank in range(len(person.groups))]
        return random.choices(person.groups, weights)[0]
    other = "en" if person.language == "zh" else "zh"
    return random.choice(sorted(shelves.groups[other]))


def _visit(session: Session, basket: Basket, others: Sequence[Good], random: Random) -> None:
    for good in basket.goods:
        if random.random() >= VISIT_VIEW:
            continue
        if random.random() < SEARCH:
            session.act(Action.SEARCH, query=random.choice(good.words))
        session.act(Action.VIEW, good)
        if random.random() < VISIT_OTHER and others:
            other = random.choice(others)
            if other.launched <= session.at:
                session.act(Action.VIEW, other)
        if random.random() < VISIT_CART:
            session.act(Action.CART_ADD, good)
