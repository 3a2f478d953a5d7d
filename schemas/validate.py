"""One call from a record to a value: envelope, codec, and the rules that a type alone cannot say."""

from __future__ import annotations

import re

import msgspec
from msgspec import UnsetType

from schemas.behaviour import BEHAVIOUR_TYPE, Action, BehaviourEvent
from schemas.bounds import CURRENCY_PATTERN, ID_PATTERN, TIME_AHEAD_MS, TIME_MIN, WORD_PATTERN
from schemas.codec import Codec
from schemas.envelope import Envelope, Headers, check_time, read_envelope
from schemas.errors import Reason, RecordError, UnknownType, shown
from schemas.product import LANGUAGES, ProductEventType, RawListing, Withdrawal

ACTIONS = frozenset(action.value for action in Action)

_LISTING = Codec(RawListing)
_WITHDRAWAL = Codec(Withdrawal)
_BEHAVIOUR = Codec(BehaviourEvent)
_ID = re.compile(ID_PATTERN.rstrip("$"))
_WORD = re.compile(WORD_PATTERN.rstrip("$"))
_CURRENCY = re.compile(CURRENCY_PATTERN.rstrip("$"))
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
    check_id(listing.product_id, "$.product_id")
    if isinstance(listing.seller, str):
        check_id(listing.seller, "$.seller")
    if not listing.title.strip():
        raise RecordError(Reason.INVALID_FIELD, "$.title", listing.title, "a title that is not blank")
    if isinstance(listing.language, str):
        check_language(listing.language, "$.language")
    check_money(listing.price, listing.currency)


def check_behaviour(event: BehaviourEvent, key: bytes | None, now_ms: int) -> None:
    """The rules of an action: key equals user_id, a known action, a plausible time, a price with currency.

    A language not known here is taken: it is the user's, and no text is understood by it. Raises
    UnknownType for the action, RecordError for the rest. The common case is tested inline: this
    runs once an action, and a call costs as much as the test.
    """
    if key != event.user_id.encode():
        check_key(key, event.user_id, "user_id")
    if event.action not in ACTIONS:
        _unknown_action(event.action)
    if not TIME_MIN <= event.event_time <= now_ms + TIME_AHEAD_MS:
        check_time(event.event_time, now_ms, "$.event_time")
    if not event.user_id.isprintable():
        check_id(event.user_id, "$.user_id")
    product, session = event.product_id, event.session_id
    if product.__class__ is str and not product.isprintable():
        check_id(str(product), "$.product_id")
    if session.__class__ is str and not session.isprintable():
        check_id(str(session), "$.session_id")
    if event.linked_user_id.__class__ is str:
        check_id(str(event.linked_user_id), "$.linked_user_id")
    if event.price.__class__ is float or event.currency.__class__ is str:
        check_money(event.price, event.currency)


def _unknown_action(action: str) -> None:
    if _WORD.fullmatch(action) is None:
        raise RecordError(Reason.INVALID_FIELD, "$.action", action, "a word in lower case (a-z, 0-9, _, ., -)")
    raise UnknownType("$.action", action, f"one of {', '.join(Action)}")


def check_id(id_: str, field: str) -> None:
    """An id holds no control characters. Raises RecordError."""
    if _ID.fullmatch(id_) is None:
        raise RecordError(Reason.INVALID_FIELD, field, id_, "an id without control characters")


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


def check_money(price: float | UnsetType | None, currency: str | UnsetType | None) -> None:
    """A currency is a code, a price is finite and has one. Raises RecordError."""
    if isinstance(currency, str) and _CURRENCY.fullmatch(currency) is None:
        raise RecordError(Reason.INVALID_FIELD, "$.currency", currency, "three capital letters (ISO 4217)")
    if not isinstance(price, float | int):
        return
    if not 0 <= price < float("inf"):
        raise RecordError(Reason.INVALID_FIELD, "$.price", price, "a finite number, not below 0")
    if not isinstance(currency, str):
        raise RecordError(Reason.MISSING_FIELD, "$.currency", None, f"a currency (ISO 4217) with the price {price:g}")


def _read_withdrawal(key: bytes | None, value: bytes | None) -> Withdrawal:
    if not value or value == b"null":
        value = msgspec.json.encode({"product_id": read_key(key, "product_id")})
    withdrawal = _WITHDRAWAL.decode(value)
    check_key(key, withdrawal.product_id, "product_id")
    check_id(withdrawal.product_id, "$.product_id")
    return withdrawal
