"""The enriched listing from a snapshot and the model's answer, or without one. Pure: no clock, no I/O."""

from __future__ import annotations

from itertools import islice

from msgspec import UNSET, UnsetType

from inference.client import Answer
from inference.contract import MOST_CLAIMS, Claim, ListingInput, ListingResult
from inference.taxonomy.tree import primary
from schemas.listing import (
    Category,
    CategoryGuess,
    EnrichedListing,
    Judgement,
    Language,
    Status,
    Times,
    Verdict,
)
from schemas.product import RawListing
from stream.enrichment.names import plain
from stream.enrichment.quality import quality
from stream.enrichment.values import (
    MODEL_NAME,
    attributes,
    given_values,
    keywords,
    model_producer,
    seller_producer,
)
from stream.enrichment.vectors import float32_vector
from stream.enrichment.work import Work
from stream.settings import EnrichmentSettings

SURE = 0.9
"""Of a contradiction, before it is remarked on: a false alarm costs more trust than a silent one."""


def model_input(listing: RawListing) -> ListingInput:
    """What the model is asked: attribute names are those of the category's schema, claims what the seller says."""
    return ListingInput(
        title=listing.title,
        description=listing.description if isinstance(listing.description, str) else "",
        language=_primary(listing) or "",
        category_hint=listing.category_hint if isinstance(listing.category_hint, str) else "",
        claims=[Claim(name, value) for name, value in islice(given_values(listing), MOST_CLAIMS)],
    )


def enriched_from(
    work: Work, listing: RawListing, answer: Answer, settings: EnrichmentSettings, now_ms: int
) -> EnrichedListing:
    """The listing with everything the model said. Status by the safety score: enriched, in_review or rejected.

    The answer must hold a ListingResult.
    """
    result = answer.answer
    assert isinstance(result, ListingResult)  # a fault is degraded before it comes here
    judged = _safety(result, settings)
    if result.safe < settings.reject_below:
        return _rejected(work, result, judged, now_ms)
    status = Status.IN_REVIEW if result.safe < settings.review_below else Status.ENRICHED
    return EnrichedListing(
        product_id=work.product_id,
        revision=work.revision,
        status=status,
        source=work.source,
        listing=listing,
        times=_times(work, now_ms),
        reasons=_remarks(listing, result) + (judged.reasons if status is Status.IN_REVIEW else []),
        language=_language(listing, result),
        category=_category(result),
        attributes=attributes(listing, result),
        keywords=keywords(result),
        quality=quality(listing),
        safety=judged,
        embedding=float32_vector(result.versions["space"], answer.embedding),
        models=_models(result),
    )


def degraded_from(work: Work, listing: RawListing, reason: str, now_ms: int) -> EnrichedListing:
    """The listing with what the seller and the rules say, and why the model said nothing."""
    return EnrichedListing(
        product_id=work.product_id,
        revision=work.revision,
        status=Status.DEGRADED,
        source=work.source,
        listing=listing,
        times=_times(work, now_ms),
        reasons=[reason],
        language=_language(listing, None),
        attributes=attributes(listing, None),
        quality=quality(listing),
    )


def _rejected(work: Work, result: ListingResult, judged: Judgement, now_ms: int) -> EnrichedListing:
    return EnrichedListing(
        product_id=work.product_id,
        revision=work.revision,
        status=Status.REJECTED,
        source=work.source,
        times=_times(work, now_ms),
        reasons=judged.reasons,
        safety=judged,
        models=_models(result),
    )


def _times(work: Work, now_ms: int) -> Times:
    return Times(work.source.time, work.received, now_ms)


def _models(result: ListingResult) -> dict[str, str]:
    named = {name: version for name, version in result.versions.items() if name != "model"}
    return {MODEL_NAME: result.versions["model"], **named}


def _primary(listing: RawListing) -> str | None:
    return primary(listing.language) if isinstance(listing.language, str) else None


def _language(listing: RawListing, result: ListingResult | None) -> Language | UnsetType:
    given = _primary(listing)
    if given:
        return Language(given, 1.0, seller_producer(listing))
    if result is None or not result.language:
        return UNSET
    return Language(result.language, result.language_score, model_producer(result))


def _category(result: ListingResult) -> Category:
    best, *others = result.nodes
    return Category(
        taxonomy=result.versions["taxonomy"],
        node=best.node,
        path=best.path,
        score=best.score,
        producer=model_producer(result),
        runners_up=[CategoryGuess(n.node, n.path, n.score) for n in others],
    )


def _safety(result: ListingResult, settings: EnrichmentSettings) -> Judgement:
    reasons = []
    if result.safe < settings.reject_below:
        reasons.append(f"safety {result.safe:.3f} is under {settings.reject_below:g}: hidden")
    elif result.safe < settings.review_below:
        reasons.append(f"safety {result.safe:.3f} is under {settings.review_below:g}: a person must look")
    return Judgement(score=result.safe, reasons=reasons, producer=model_producer(result))


def _remarks(listing: RawListing, result: ListingResult) -> list[str]:
    remarks = []
    given, hint = _primary(listing), listing.category_hint
    if given and result.language and given != result.language:
        remarks.append(f"the seller says the language is {given}, the model reads {result.language}")
    if isinstance(hint, str) and hint.strip() and not _hinted(hint, result):
        remarks.append(f"the seller's category hint {hint!r} names none of the chosen category's steps")
    for each in result.claims:
        if each.verdict == Verdict.CONTRADICTED and each.score >= SURE:
            says = f"it says {each.evidence.text!r}" if each.evidence else "it denies it"
            remarks.append(f"the text contradicts the seller's {each.name} {each.value!r}: {says}")
    if result.truncated:
        remarks.append("the text is longer than the model reads; its end was not seen")
    return remarks


def _hinted(hint: str, result: ListingResult) -> bool:
    best = result.nodes[0]
    wanted = plain(hint)
    return any(wanted in plain(step) or plain(step) in wanted for step in [*best.path, best.node])
