"""The bilingual listings written for this project, and the changes that sellers make to them later."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from random import Random
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

from inference.contract import ListingInput
from schemas.product import ProductEventType, RawListing
from stream.demo.record import SOURCE_LISTINGS, DemoRecord, product, withdrawal
from stream.demo.spread import Window, spread

T = TypeVar("T")

LAUNCH = (0.0, 0.45)
"""Part of the window in which the listings are launched; what follows has shoppers for all of them."""
CHANGE = (0.5, 0.8)
"""Part of the window in which sellers change prices, titles and attributes."""
WITHDRAW = (0.85, 0.98)
"""Part of the window in which goods are withdrawn, after all changes."""
REPEAT_EVERY = 20
"""Every twentieth launch is sent twice by upstream, with the same event id."""
REPEAT_AFTER_MS = 1_500


class Label(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a person reads off a listing. group: shelf word; product, brand: as they stand in the title.

    The `_outside_title` pair holds those that the title does not contain word for word.
    """

    product_id: str
    group: str
    product: str = ""
    brand: str = ""
    product_outside_title: str = ""
    brand_outside_title: str = ""


class Change(Struct, frozen=True, kw_only=True):
    """A later event of one listing: fields to replace, or the reason of its withdrawal (empty: a tombstone)."""

    product_id: str
    set: dict[str, Any] = {}
    withdraw: str | UnsetType = UNSET


def listings() -> list[RawListing]:
    """About 200 listings, half Chinese and half English, in the order of the file."""
    return _lines("listings.jsonl", RawListing)


def labels() -> dict[str, Label]:
    """The labels by product id."""
    return {label.product_id: label for label in _lines("listings.labels.jsonl", Label)}


def changes() -> list[Change]:
    """About 25 updates, then 8 withdrawals, in the order in which they happen."""
    return _lines("changes.jsonl", Change)


def launches(window: Window, seed: int) -> dict[str, int]:
    """Event time (ms) at which each listing is created."""
    found = listings()
    times = spread(window.part(*LAUNCH), len(found), seed)
    return {listing.product_id: at for listing, at in zip(_shuffled(found, seed), times, strict=True)}


def withdrawals(window: Window) -> dict[str, int]:
    """Event time (ms) at which each withdrawn listing goes."""
    gone = [change.product_id for change in changes() if change.withdraw is not UNSET]
    return dict(zip(gone, spread(window.part(*WITHDRAW), len(gone), 0), strict=True))


def records(window: Window, seed: int) -> Iterator[DemoRecord]:
    """Everything that happens to the listings, repeats included; not in the order of event time."""
    yield from _launch_records(window, seed)
    yield from _update_records(window)
    for change in changes():
        if not isinstance(change.withdraw, UnsetType):
            at = withdrawals(window)[change.product_id]
            yield withdrawal(change.product_id, change.withdraw, at, f"{change.product_id}-gone", SOURCE_LISTINGS)


def _launch_records(window: Window, seed: int) -> Iterator[DemoRecord]:
    at = launches(window, seed)
    for number, listing in enumerate(listings()):
        when, name = at[listing.product_id], f"{listing.product_id}-launch"
        record = product(listing, ProductEventType.CREATED, when, name, SOURCE_LISTINGS)
        yield record
        if number % REPEAT_EVERY == 0:
            yield msgspec.structs.replace(record, at=when + REPEAT_AFTER_MS)


def _update_records(window: Window) -> Iterator[DemoRecord]:
    state = {listing.product_id: listing for listing in listings()}
    updates = [change for change in changes() if change.withdraw is UNSET]
    times = spread(window.part(*CHANGE), len(updates), 0)
    for number, (change, at) in enumerate(zip(updates, times, strict=True), 1):
        state[change.product_id] = msgspec.structs.replace(state[change.product_id], **change.set)
        name = f"{change.product_id}-update-{number}"
        yield product(state[change.product_id], ProductEventType.UPDATED, at, name, SOURCE_LISTINGS)


def _shuffled(found: list[RawListing], seed: int) -> list[RawListing]:
    """Chinese and English launches mixed, as on any day."""
    mixed = list(found)
    Random(seed).shuffle(mixed)
    return mixed


def _lines(name: str, type_: type[T]) -> list[T]:
    decoder = msgspec.json.Decoder(type_)
    text = (resources.files("stream.demo") / name).read_bytes()
    return [decoder.decode(line) for line in text.splitlines() if line]


def sweep_texts() -> dict[str, list[ListingInput]]:
    """The listings at three lengths, for measuring a model server."""
    rows = [(each.title, each.description or "") for each in listings()]
    return {
        "title": [ListingInput(title=title) for title, _ in rows],
        "title, description": [ListingInput(title=title, description=text) for title, text in rows],
        "five descriptions": [ListingInput(title=title, description="\n".join([text] * 5)) for title, text in rows],
    }
