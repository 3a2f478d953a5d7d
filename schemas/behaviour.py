"""`user-behaviour`: one action of one user; and `behaviour-by-product`, the same keyed by product."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from schemas.bounds import Count, Currency, EventTime, Id, Millis, Price, Quantity, ShortText, Text, Word

BEHAVIOUR_TYPE = "user.behaviour"
"""`ce_type` of the topic; the action is a field of the value."""
BY_PRODUCT_TYPE = "user.behaviour.by-product"
PURPOSES_MAX = 50
"""Purposes of one consent event: laws and platforms name about ten."""


class Action(StrEnum):
    """Known actions. Open: an unknown one is counted and goes to the side topic."""

    VIEW = "view"
    SEARCH = "search"
    CLICK = "click"
    FAVOURITE = "favourite"
    CART_ADD = "cart_add"
    CART_REMOVE = "cart_remove"
    PURCHASE = "purchase"
    REVIEW = "review"
    AD_IMPRESSION = "ad_impression"
    AD_CLICK = "ad_click"
    VOICE_SEARCH = "voice_search"
    IDENTITY_LINK = "identity_link"
    CONSENT = "consent"
    ERASURE = "erasure"


class BehaviourEvent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One action. The event id is the header `ce_id`.

    action: one of Action; another word sets the record aside. event_time: ms since 1970 UTC, not before
    2000 and at most a day ahead of the reader's clock. product_id: the product acted on. query: what
    was searched for. channel: where (web, app, mini-program, store). session_id: upstream's session.
    price: unit price in major units of `currency`, which it needs. currency: ISO 4217. quantity: pieces.
    language: BCP 47 tag of the user's surface, any. position: place in the list shown, from 0.
    linked_user_id: for identity_link, the other id of the same person. consent: for consent, purpose to
    given or withdrawn.

    Absent and null both mean not known here, for no action gives null a meaning of its own.
    """

    user_id: Id
    action: Word
    event_time: EventTime
    product_id: Id | UnsetType | None = UNSET
    query: Text | UnsetType | None = UNSET
    channel: ShortText = "web"
    session_id: Id | UnsetType | None = UNSET
    price: Price | UnsetType | None = UNSET
    currency: Currency | UnsetType | None = UNSET
    quantity: Quantity = 1
    language: Text | UnsetType | None = UNSET
    position: Count | UnsetType | None = UNSET
    linked_user_id: Id | UnsetType | None = UNSET
    consent: Annotated[dict[ShortText, bool], Meta(max_length=PURPOSES_MAX)] | UnsetType | None = UNSET


class BehaviourByProduct(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A behaviour event that names a product, re-keyed by it.

    (origin_partition, origin_offset) identify the event in `user-behaviour`; offsets of one origin
    partition never decrease within a product, save for replays, which the reader drops.

    action: as in the origin. event_time: ms since 1970 UTC, as in the origin. origin_partition:
    partition in `user-behaviour`. origin_offset: offset there. origin_epoch: the configured source epoch.
    appended_at: the broker's append time of the origin record, ms since 1970 UTC; for freshness.
    channel: as in the origin. quantity: pieces. price: unit price in major units of `currency`.

    Absent and null both mean that the origin did not say.
    """

    product_id: Id
    user_id: Id
    action: Word
    event_time: EventTime
    origin_partition: Count
    origin_offset: Count
    origin_epoch: Count = 0
    appended_at: Millis = 0
    channel: ShortText = "web"
    quantity: Quantity = 1
    price: Price | UnsetType | None = UNSET
    currency: Currency | UnsetType | None = UNSET
