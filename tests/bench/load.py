"""Seeded input of the benchmark: listings, their facts, and behaviour, produced once and counted."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from aiokafka import AIOKafkaProducer

from schemas.behaviour import BEHAVIOUR_TYPE, BY_PRODUCT_TYPE, BehaviourByProduct, BehaviourEvent
from schemas.codec import Codec
from schemas.envelope import Envelope, headers_of
from schemas.listing import FACTS_TYPE, ListingFacts, Revision
from schemas.product import ProductEventType, RawListing
from schemas.vector import pack_int8

START_MS = 1_760_000_000_000
STEP_MS = 250
"""Event time between two events: 100,000 events span seven hours, so windows of one hour do roll."""
USERS = 5_000
PRODUCTS = 2_000
ACTIONS = ("view", "view", "view", "click", "click", "cart_add", "purchase")
SOURCE = "shangxin/bench"
DIM = 384

Record = tuple[bytes, bytes, list[tuple[str, bytes]]]


def behaviour(count: int, seed: int = 7) -> Iterator[Record]:
    """`count` events of 5,000 users on 2,000 products, users and products drawn unevenly."""
    rng, codec = random.Random(seed), Codec(BehaviourEvent)
    for index in range(count):
        event = BehaviourEvent(
            user_id=f"u{int(USERS * rng.random() ** 2)}",
            action=rng.choice(ACTIONS),
            event_time=START_MS + index * STEP_MS,
            product_id=f"p{int(PRODUCTS * rng.random() ** 2)}",
            session_id=f"s{index // 50}",
            price=round(rng.uniform(1, 500), 2),
            currency="CNY",
        )
        head = headers_of(Envelope(f"b{index}", BEHAVIOUR_TYPE, SOURCE, event.event_time))
        yield event.user_id.encode(), codec.encode(event), head


def by_product(count: int, partitions: int, seed: int = 7) -> Iterator[Record]:
    """The same behaviour as the features worker reads it."""
    rng, codec = random.Random(seed), Codec(BehaviourByProduct)
    for index in range(count):
        event = BehaviourByProduct(
            product_id=f"p{int(PRODUCTS * rng.random() ** 2)}",
            user_id=f"u{int(USERS * rng.random() ** 2)}",
            action=rng.choice(ACTIONS),
            event_time=START_MS + index * STEP_MS,
            origin_partition=index % partitions,
            origin_offset=index // partitions,
            appended_at=START_MS + index * STEP_MS,
        )
        head = headers_of(Envelope(f"b{index}", BY_PRODUCT_TYPE, SOURCE, event.event_time))
        yield event.product_id.encode(), codec.encode(event), head


def facts(seed: int = 7) -> Iterator[Record]:
    """Facts of every product: three levels of category, a brand, three attributes, an int8 embedding."""
    rng, codec = random.Random(seed), Codec(ListingFacts)
    for index in range(PRODUCTS):
        vector = [rng.gauss(0, 1) for _ in range(DIM)]
        norm = sum(v * v for v in vector) ** 0.5
        record = ListingFacts(
            product_id=f"p{index}",
            revision=Revision(0, index),
            category=[f"c{index % 9}", f"c{index % 9}.{index % 31}", f"c{index % 9}.{index % 31}.{index % 97}"],
            brand=f"brand-{index % 211}",
            attributes=[f"colour={index % 12}", f"material={index % 17}", f"size={index % 7}"],
            price_band=f"CNY:{index % 12}",
            language="zh" if index % 2 else "en",
            launched_at=START_MS,
            embedding=pack_int8("bench", [v / norm for v in vector]),
        )
        head = headers_of(Envelope(f"f{index}", FACTS_TYPE, SOURCE, START_MS))
        yield record.product_id.encode(), codec.encode(record), head


async def produce(bootstrap: str, topic: str, records: Iterator[Record]) -> int:
    """Send everything, await every acknowledgement, return the number of records."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, linger_ms=20)
    await producer.start()
    try:
        pending = [await producer.send(topic, value, key, headers=head) for key, value, head in records]
        for sent in pending:
            await sent
        return len(pending)
    finally:
        await producer.stop()


def median(values: Sequence[float]) -> float:
    """Middle value; the mean of the two middle ones where the number is even."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


COLOURS = ("red", "black", "navy", "beige", "olive", "white")
THINGS = ("running shoes", "rain jacket", "desk lamp", "phone case", "tea set", "yoga mat", "dog bed", "water bottle")


def listings(count: int, seed: int = 7) -> Iterator[Record]:
    """`count` short English listings; for moving data, never for a quality figure."""
    rng, codec = random.Random(seed), Codec(RawListing)
    for index in range(count):
        listing = RawListing(
            product_id=f"l{index}",
            title=f"{rng.choice(COLOURS)} {rng.choice(THINGS)} model {rng.randrange(900)} for daily use",
            language="en",
            price=round(rng.uniform(5, 300), 2),
            currency="USD",
            attributes={"Color": rng.choice(COLOURS)},
        )
        head = headers_of(Envelope(f"l{index}", ProductEventType.CREATED, SOURCE, START_MS + index))
        yield listing.product_id.encode(), codec.encode(listing), head
