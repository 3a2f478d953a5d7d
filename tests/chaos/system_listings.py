"""Recount of the enrichment: what every newest listing and facts must be, from `product-created` and the model."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from inference.client import Answer
from inference.deadline import Deadline
from schemas.codec import Codec
from schemas.envelope import Envelope
from schemas.errors import RecordError
from schemas.listing import EnrichedListing, EnrichmentRequest, ListingFacts, Revision, SourceEvent
from schemas.product import RawListing, Withdrawal
from schemas.review import ReviewRequest
from schemas.topics import ENRICHMENT_REQUESTS, LISTING_ENRICHED, LISTING_FACTS, PRODUCT_CREATED, REVIEW_REQUESTED
from schemas.validate import read_product
from stream.enrichment.assemble import enriched_from, model_input
from stream.enrichment.facts import facts_of, gone_facts
from stream.enrichment.run import make_scheduler, triton_transport
from stream.enrichment.verdict import EARLIER_IDS, Known, event_key
from stream.enrichment.work import Work
from stream.metrics import Meters
from stream.profiles.verify import read_all
from stream.settings import Settings
from tests.chaos.system_plain import plain, unequal

SCORES = 1e-3
"""Rule 10: scores of the same listing among other batch mates."""
ASK_S = 120.0

_enriched = Codec(EnrichedListing)
_facts = Codec(ListingFacts)
_requests = Codec(EnrichmentRequest)
_reviews = Codec(ReviewRequest)


@dataclass
class Product:
    """What the source says of one product: its valid events in order, repetitions left out."""

    events: list[tuple[Any, Envelope, RawListing | Withdrawal]] = field(default_factory=list)

    def ids(self) -> tuple[str, ...]:
        """Of the newest events, newest first, as the facts carry them."""
        keys = [event_key(self._source(record, envelope)) for record, envelope, _ in reversed(self.events)]
        return tuple(dict.fromkeys(keys))[: EARLIER_IDS + 1]

    def launched_at(self) -> int:
        """Time of the first event, and of the first listing after each withdrawal."""
        launched, gone = 0, True
        for _, envelope, listing in self.events:
            if gone and not isinstance(listing, Withdrawal):
                launched = envelope.time
            gone = isinstance(listing, Withdrawal)
        return launched or self.events[0][1].time

    def work(self, attempt: int) -> Work:
        """The newest event as the worker sees it."""
        record, envelope, listing = self.events[-1]
        revision = Revision(0, record.offset, attempt)
        source = self._source(record, envelope)
        return Work(record, 0, listing.product_id, revision, source, listing, received=0)

    def known(self, work: Work) -> Known:
        """What the facts remember."""
        return Known(work.revision, self.ids(), isinstance(work.listing, Withdrawal), self.launched_at())

    @staticmethod
    def _source(record: Any, envelope: Envelope) -> SourceEvent:
        place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        return SourceEvent(id=envelope.id, type=envelope.type, source=envelope.source, time=envelope.time, **place)


def products(records: Iterable[Any]) -> dict[str, Product]:
    """From the records of product-created in order; what is none is left out, as the worker parks it."""
    found: defaultdict[str, Product] = defaultdict(Product)
    seen: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for record in records:
        try:
            envelope, listing = read_product(record.headers, record.key, record.value, record.timestamp)
        except RecordError:
            continue
        id_ = (envelope.source, envelope.id)
        if id_ not in seen[listing.product_id]:
            seen[listing.product_id].add(id_)
            found[listing.product_id].events.append((record, envelope, listing))
    return dict(found)


async def wrong_listings(settings: Settings, states: dict[str, str]) -> list[str]:
    """Every way in which listings and facts are not what a recount gives. states: of Scenario.final_states."""
    source = products(await read_all(settings, PRODUCT_CREATED))
    listings = await newest(settings, LISTING_ENRICHED)
    facts = await newest(settings, LISTING_FACTS)
    attempts = await _attempts(settings)
    works = {name: p.work(attempts.get((name, p.events[-1][0].offset), 0)) for name, p in source.items()}
    answers = await _ask(settings, [w for w in works.values() if isinstance(w.listing, RawListing)])
    wrong = [f"{name}: the products that came in are others" for name in source.keys() ^ states.keys()]
    wrong += [f"{name}: comes from no source" for name in (listings.keys() | facts.keys()) - source.keys()]
    in_review = set()
    for name, work in works.items():
        gone = isinstance(work.listing, Withdrawal)
        wrong += [f"{name}: should be {states.get(name)}"] if gone != (states.get(name) == "withdrawn") else []
        known = source[name].known(work)
        if isinstance(work.listing, Withdrawal):
            expected, told = None, gone_facts(name, known)
        else:
            expected = enriched_from(work, work.listing, answers[name], settings.enrichment, 0)
            told = facts_of(expected, answers[name], known)
            in_review |= {(name, work.revision)} if expected.status == "in_review" else set()
        wrong += [f"{name} listing {why}" for why in _listing(listings.get(name), expected)]
        wrong += [f"{name} facts {why}" for why in _same_facts(facts.get(name), told)]
    asked = [_reviews.decode(record.value) for record in await read_all(settings, REVIEW_REQUESTED)]
    wrong += [f"{name}: nobody was asked" for name, _ in in_review - {(r.product_id, r.revision) for r in asked}]
    return wrong + _went_back(await read_all(settings, LISTING_ENRICHED))


async def newest(settings: Settings, topic: Any) -> dict[str, bytes | None]:
    """The newest value of every key."""
    return {record.key.decode(): record.value for record in await read_all(settings, topic)}


async def _attempts(settings: Settings) -> dict[tuple[str, int], int]:
    """Attempts of each snapshot: the model may have been too slow once, then a retry gave the newest revision."""
    found: dict[tuple[str, int], int] = {}
    for record in await read_all(settings, ENRICHMENT_REQUESTS):
        request = _requests.decode(record.value)
        snapshot = (request.product_id, request.revision.offset)
        found[snapshot] = max(request.revision.attempt, found.get(snapshot, 0))
    return found


async def _ask(settings: Settings, works: Sequence[Work]) -> dict[str, Answer]:
    """The model's answers, asked again and all at once: in other batches than the worker's."""
    scheduler = make_scheduler(settings, Meters(), triton_transport(settings))
    await scheduler.start()
    try:
        deadline = Deadline(ASK_S)
        inputs = [model_input(work.listing) for work in works if isinstance(work.listing, RawListing)]
        answers = await asyncio.gather(*(scheduler.answer(each, deadline) for each in inputs))
        return {work.product_id: answer for work, answer in zip(works, answers, strict=True)}
    finally:
        await scheduler.close(Deadline(0.0))


def _listing(value: bytes | None, expected: EnrichedListing | None) -> list[str]:
    if value is None or expected is None:
        return [] if value is None and expected is None else [f"is {value!r:.80}, recounted {expected!r:.80}"]
    found = _enriched.decode(value)
    # Wall clock: when this run received and published it. Everything else is a function of the source.
    times = replace(found.times, event=expected.times.event)
    return list(unequal(plain(found), plain(replace(expected, times=times)), SCORES)) + (
        [] if found.times.event == expected.times.event else ["has another event time"]
    )


def _same_facts(value: bytes | None, expected: ListingFacts) -> list[str]:
    if value is None:
        return ["are not there"]
    return list(unequal(plain(_facts.decode(value)), plain(expected), SCORES))


def _went_back(records: Iterable[Any]) -> list[str]:
    """Revisions of a product never fall in the log."""
    wrong, seen = [], dict[bytes, Revision]()
    for record in records:
        if record.value is not None:
            revision = _enriched.decode(record.value).revision
            if record.key in seen and revision < seen[record.key]:
                wrong.append(f"{record.key!r} went back from {seen[record.key]} to {revision}")
            seen[record.key] = revision
    return wrong
