"""The records of the profiles stage as they go on the wire: key, value, CloudEvents headers."""

from __future__ import annotations

import msgspec

from schemas.behaviour import BY_PRODUCT_TYPE, BehaviourByProduct, BehaviourEvent
from schemas.envelope import Envelope, headers_of
from schemas.features import USER_FEATURES_TYPE
from schemas.profile import PROFILE_TYPE
from stream.batchpath.contract import Record
from stream.batchpath.sends import Headers, Outgoing
from stream.profiles.apply import Rules
from stream.profiles.publish import features_of, newest_stamp, profile_of
from stream.profiles.state import UserState

SOURCE = "shangxin/profiles"
CARRIED = frozenset({"ce_specversion", "ce_id", "ce_source", "ce_time", "content-type", "traceparent"})
_encode = msgspec.json.Encoder().encode


class Stationery:
    """The headers that the records of one publication share: all but the id and the trace."""

    def __init__(self, type_: str, now: int) -> None:
        self.now = now
        self._shared = [pair for pair in headers_of(Envelope("", type_, SOURCE, now)) if pair[0] != "ce_id"]

    def headers(self, id_: str, trace: str) -> Headers:
        """Headers of one record."""
        head: Headers = [("ce_id", id_.encode()), *self._shared]
        if trace:
            head.append(("traceparent", trace.encode()))
        return head


def profile_stationery(now: int) -> Stationery:
    """For profile records published at `now`, ms."""
    return Stationery(PROFILE_TYPE, now)


def features_stationery(now: int) -> Stationery:
    """For feature records published at `now`, ms."""
    return Stationery(USER_FEATURES_TYPE, now)


def profile_record(key: bytes, state: UserState, rules: Rules, paper: Stationery, trace: str) -> Outgoing:
    """A user's profile; its id names the newest event applied and how many events still wait."""
    profile = profile_of(state, key.decode(), rules, paper.now)
    stamp = profile.stamp
    id_ = f"{stamp.partition}.{stamp.epoch}.{stamp.offset}-{profile.unresolved}"
    return key, _encode(profile), paper.headers(id_, trace)


def features_record(key: bytes, state: UserState, as_of: int, paper: Stationery, trace: str) -> Outgoing:
    """A user's windows at a watermark."""
    features = features_of(state, key.decode(), as_of, paper.now)
    stamp = newest_stamp(state)
    id_ = f"{stamp.partition}.{stamp.epoch}.{stamp.offset}@{as_of}"
    return key, _encode(features), paper.headers(id_, trace)


def by_product_record(record: Record, event: BehaviourEvent, epoch: int) -> Outgoing:
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
    # The event's own attributes, as they came; only the type is another one.
    head: Headers = [pair for pair in record.headers if pair[0] in CARRIED]
    head.append(("ce_type", BY_PRODUCT_TYPE.encode()))
    return event.product_id.encode(), _encode(value), head
