"""The records of the profiles stage as they go on the wire: key, value, CloudEvents headers."""

from __future__ import annotations

import msgspec

from schemas.behaviour import BY_PRODUCT_TYPE, BehaviourByProduct, BehaviourEvent
from schemas.envelope import Envelope, headers_of
from schemas.features import USER_FEATURES_TYPE
from schemas.profile import PROFILE_TYPE
from stream.batchpath.contract import Record
from stream.batchpath.sends import Outgoing
from stream.profiles.apply import Rules
from stream.profiles.publish import features_of, newest_stamp, profile_of
from stream.profiles.state import UserState

SOURCE = "shangxin/profiles"
_encode = msgspec.json.Encoder().encode


def profile_record(key: bytes, state: UserState, rules: Rules, now: int, trace: str) -> Outgoing:
    """A user's profile; its id names the newest event applied and how many events still wait."""
    profile = profile_of(state, key.decode(), rules, now)
    stamp = profile.stamp
    id_ = f"{stamp.partition}.{stamp.epoch}.{stamp.offset}-{profile.unresolved}"
    return key, _encode(profile), [*headers_of(Envelope(id_, PROFILE_TYPE, SOURCE, now, trace))]


def features_record(key: bytes, state: UserState, as_of: int, now: int, trace: str) -> Outgoing:
    """A user's windows at a watermark."""
    features = features_of(state, key.decode(), as_of, now)
    stamp = newest_stamp(state)
    id_ = f"{stamp.partition}.{stamp.epoch}.{stamp.offset}@{as_of}"
    return key, _encode(features), [*headers_of(Envelope(id_, USER_FEATURES_TYPE, SOURCE, now, trace))]


def by_product_record(record: Record, envelope: Envelope, event: BehaviourEvent, epoch: int) -> Outgoing:
    """The event, keyed by its product, with where it stood. Keeps the event's own id and source."""
    assert isinstance(event.product_id, str)
    value = BehaviourByProduct(
        product_id=event.product_id,
        user_id=event.user_id,
        action=event.action,
        event_time=event.event_time,
        origin_partition=record.partition,
        origin_offset=record.offset,
        origin_epoch=epoch,
        appended_at=record.timestamp,
        channel=event.channel,
        quantity=event.quantity,
        price=event.price,
        currency=event.currency,
    )
    head = headers_of(Envelope(envelope.id, BY_PRODUCT_TYPE, envelope.source, envelope.time, envelope.traceparent))
    return event.product_id.encode(), _encode(value), [*head]
