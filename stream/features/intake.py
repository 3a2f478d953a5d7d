"""From a record of behaviour-by-product to an event, or to the reason why it is none."""

from __future__ import annotations

from schemas.behaviour import BehaviourByProduct
from schemas.codec import Codec
from schemas.errors import Reason, RecordError
from schemas.validate import check_id, check_key
from stream.batchpath.contract import Record

_codec = Codec(BehaviourByProduct)


def read_event(record: Record) -> BehaviourByProduct:
    """Raises RecordError: missing-key, key-mismatch, and what schemas.codec says of the value."""
    if record.value is None:
        raise RecordError(Reason.NOT_JSON, "$", None, "a behaviour event; this topic has no tombstones")
    event = _codec.decode(record.value)
    if record.key != event.product_id.encode():
        check_key(record.key, event.product_id, "product_id")
    check_id(event.product_id, "$.product_id")
    return event
