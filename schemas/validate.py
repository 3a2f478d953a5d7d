"""One call from a record to a value: envelope, codec, and the rules that a type alone cannot say."""

from __future__ import annotations

import re

import msgspec
from msgspec import UnsetType

from schemas.behaviour import BEHAVIOUR_TYPE, Action, BehaviourEvent
from schemas.bounds import TIME_AHEAD_MS, TIME_MIN
from schemas.codec import Codec
from schemas.envelope import Envelope, Headers, check_time, read_envelope
from schemas.errors import Reason, RecordError, UnknownType, shown
from schemas.product import LANGUAGES, ProductEventType, RawListing, Withdrawal

ACTIONS = frozenset(action.value for action in Action)

_LISTING = Codec(RawListing)
_WITHDRAWAL = Codec(Withdrawal)
_BEHAVIOUR = Codec(BehaviourEvent)
_SUBTAG = re.compile(r"[A-Za-z]{2,8}(?=[-_]|\Z)")


def read_product(
    headers: Headers, key: bytes | None, value: bytes | None, now_ms: int
) -> tuple[Envelope, RawListing | Withdrawal]:
    """A record of `product-created`. A withdrawal without a value takes its id from the key.

    Raises UnknownType for another `ce_type` (side topic), RecordError for everything that is wrong
    (dead letter): the headers, the key, the value, or their not belonging together.
    """
    envelope = read_envelope(headers, now_ms)
    if envelope.type == ProductEventType.WITHDRAWN:
        return envelope, _read_withdrawal(key, value)
    if envelope.type not in (ProductEventType.CREATED, ProductEventType.UPDATED):
        raise UnknownType("ce_type", envelope.type, f"one of {', '.join(ProductEventType)}")
    if not value:
        raise RecordError(
            Reason.MISSING_FIELD, "value", value, f"a whole listing; only {ProductEventType.WITHDRAWN} may have none"
        )
    listing = _LISTING.decode(value)
    check_listing(listing, key)
    return envelope, listing


def read_behaviour(
    headers: Headers, key: bytes | None, value: bytes | None, now_ms: int
) -> tuple[Envelope, BehaviourEvent]:
    """A record of `user-behaviour`. Errors as `read_product`; an unknown action raises UnknownType as well."""
    envelope = read_envelope(headers, now_ms)
    if envelope.type != BEHAVIOUR_TYPE:
        raise UnknownType("ce_type", envelope.type, BEHAVIOUR_TYPE)
    if not value:
        raise RecordError(Reason.MISSING_FIELD, "value", value, "one action of one user")
    event = _BEHAVIOUR.decode(value)
    check_behaviour(event, key, now_ms)
    return envelope, event


def check_listing(listing: RawListing, key: bytes | None) -> None:
    """The rules of a snapshot: key equals product_id, title not blank, a known language, a price with currency.

    Raises RecordError.
    """
    check_key(key, listing.product_id, "product_id")
    if not listing.title.strip():
        raise RecordError(Reason.INVALID_FIELD, "$.title", listing.title, "a title that is not blank")
    if isinstance(listing.language, str):
        check_language(listing.language, "$.language")
    check_price(listing.price, listing.currency)


def check_behaviour(event: BehaviourEvent, key: bytes | None, now_ms: int) -> None:
    """The rules of an action: key equals user_id, a known action, a plausible time, a price with currency.

    A language not known here is taken: it is the user's, and no text is understood by it. Raises
    UnknownType for the action, RecordError for the rest.
    """
    if key != event.user_id.encode():
        check_key(key, event.user_id, "user_id")
    if event.action not in ACTIONS:
        raise UnknownType("$.action", event.action, f"one of {', '.join(Action)}")
    if not TIME_MIN <= event.event_time <= now_ms + TIME_AHEAD_MS:
        check_time(event.event_time, now_ms, "$.event_time")
    if event.price.__class__ is float:
        check_price(event.price, event.currency)


def check_key(key: bytes | None, expected: str, field: str) -> None:
    """The record's key is there, is UTF-8, and equals the value's id. Raises RecordError."""
    found = read_key(key, field)
    if found != expected:
        raise RecordError(Reason.KEY_MISMATCH, "key", found, f"the value's {field}, {shown(expected)}")


def read_key(key: bytes | None, field: str) -> str:
    """The key as text. Raises RecordError: missing-key, bad-encoding."""
    if not key:
        raise RecordError(Reason.MISSING_KEY, "key", key, f"the record's key is its {field}")
    try:
        return key.decode("utf-8")
    except UnicodeDecodeError:
        raise RecordError(Reason.BAD_ENCODING, "key", key, f"the {field} as UTF-8 text") from None


def check_language(language: str, field: str) -> None:
    """A BCP 47 tag whose primary subtag the models know, in any case. Raises RecordError."""
    subtag = _SUBTAG.match(language)
    if subtag is None or subtag[0].lower() not in LANGUAGES:
        rule = f"a language tag that starts with {' or '.join(LANGUAGES)}; leave it out to have it detected"
        raise RecordError(Reason.INVALID_FIELD, field, language, rule)


def check_price(price: float | UnsetType | None, currency: str | UnsetType | None) -> None:
    """A price is a finite number and has a currency. Raises RecordError."""
    if not isinstance(price, float | int):
        return
    if not 0 <= price < float("inf"):
        raise RecordError(Reason.INVALID_FIELD, "$.price", price, "a finite number, not below 0")
    if not isinstance(currency, str):
        raise RecordError(Reason.MISSING_FIELD, "$.currency", None, f"a currency (ISO 4217) with the price {price:g}")


def _read_withdrawal(key: bytes | None, value: bytes | None) -> Withdrawal:
    if value and value != b"null":
        withdrawal = _WITHDRAWAL.decode(value)
        check_key(key, withdrawal.product_id, "product_id")
        return withdrawal
    return _checked(Withdrawal(product_id=read_key(key, "product_id")), "key")


def _checked(withdrawal: Withdrawal, field: str) -> Withdrawal:
    try:
        return msgspec.convert(msgspec.to_builtins(withdrawal), Withdrawal)
    except msgspec.ValidationError as error:
        raise RecordError(Reason.INVALID_FIELD, field, withdrawal.product_id, str(error)) from None
