"""What becomes of a piece of work, given what was applied to its product before (rules 1, 7 and 9)."""

from __future__ import annotations

import hashlib
from enum import StrEnum

from msgspec import Struct

from schemas.listing import ListingFacts, Revision, SourceEvent
from schemas.product import Withdrawal
from stream.enrichment.work import Work

EARLIER_IDS = 3
"""Event ids kept beside the newest. An upstream retry comes within a few events of its product; each id
costs some 20 bytes in a record of a few hundred."""


class Known(Struct, frozen=True, gc=False):
    """What the worker remembers of one product. ids: `event_key` of the newest source events, newest first."""

    revision: Revision
    ids: tuple[str, ...]
    withdrawn: bool
    launched_at: int


class Verdict(StrEnum):
    """What to do. The value is the metric's outcome."""

    APPLY = "applied"
    REPLAY = "replayed"
    DUPLICATE = "duplicate"
    SUPERSEDED = "superseded"


def judge(known: Known | None, work: Work) -> Verdict:
    """Lower revision: superseded. Equal: published again, for the crash may have come between facts and
    listing. An event id that was applied already: a duplicate. A withdrawn product is not brought back by
    a request, only by a newer event.
    """
    if known is None:
        return Verdict.APPLY
    if work.revision == known.revision:
        return Verdict.REPLAY
    if work.revision < known.revision:
        return Verdict.SUPERSEDED
    if work.request is not None:
        return Verdict.SUPERSEDED if known.withdrawn else Verdict.APPLY
    return Verdict.DUPLICATE if event_key(work.source) in known.ids else Verdict.APPLY


def event_key(source: SourceEvent) -> str:
    """What an event is known by: CloudEvents makes id unique within a source only. 64 bits are plenty for four."""
    return hashlib.blake2b(f"{source.source}\0{source.id}".encode(), digest_size=8).hexdigest()


def known_after(known: Known | None, work: Work) -> Known:
    """What is remembered once the work was applied. The same work applied twice gives the same."""
    ids = known.ids if known is not None else ()
    key = event_key(work.source)
    ids = (key, *(i for i in ids if i != key))[: EARLIER_IDS + 1]
    gone = isinstance(work.listing, Withdrawal)
    again = known is not None and (not known.withdrawn or gone)
    launched = known.launched_at if known is not None and again else work.source.time
    return Known(work.revision, ids, gone, launched)


def known_from(facts: FactsStamp | ListingFacts) -> Known:
    """What the state says."""
    ids = (facts.event_id, *facts.earlier_ids) if facts.event_id else ()
    return Known(facts.revision, ids, facts.withdrawn, facts.launched_at)


class FactsStamp(Struct, frozen=True):
    """The part of ListingFacts that the worker reads back; the rest is skipped unread."""

    revision: Revision
    event_id: str = ""
    earlier_ids: list[str] = []
    withdrawn: bool = False
    launched_at: int = 0
