"""The next try of a listing that the model did not answer: a request that carries the whole snapshot."""

from __future__ import annotations

from msgspec.structs import replace

from schemas.listing import EnrichmentRequest, RequestKind
from schemas.product import RawListing
from stream.enrichment.work import Work
from stream.settings import EnrichmentSettings


def next_request(
    work: Work, listing: RawListing, now_ms: int, settings: EnrichmentSettings
) -> EnrichmentRequest | None:
    """The request for the next try, one attempt higher; None when `max_tries` are used up.

    The delay is the same each time: the requests of a partition then stand in the order in which they
    fall due, and one that waits holds back only others that wait (see stream.enrichment.held).
    """
    tries = work.request.tries + 1 if work.request is not None else 1
    if tries > settings.max_tries:
        return None
    return EnrichmentRequest(
        product_id=work.product_id,
        kind=work.request.kind if work.request is not None else RequestKind.RETRY,
        revision=replace(work.revision, attempt=work.revision.attempt + 1),
        source=work.source,
        listing=listing,
        requested_at=now_ms,
        not_before=now_ms + round(settings.retry_delay_s * 1000),
        tries=tries,
    )
