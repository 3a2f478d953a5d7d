"""`listing-facts` from an enriched listing: the part that joins need, and the marker of a withdrawal."""

from __future__ import annotations

from msgspec import UNSET

from inference.client import Answer
from inference.contract import ListingResult
from schemas.listing import EnrichedListing, ListingFacts, Status
from schemas.product import RawListing
from stream.enrichment.names import plain
from stream.enrichment.values import BRAND
from stream.enrichment.vectors import int8_vector
from stream.enrichment.verdict import Known
from stream.prices import price_band

ATTRIBUTES_MAX = 24
"""A record of a few hundred bytes: two dozen `name=value` of some 20 bytes."""
VALUE_MAX = 64
"""Code points; a longer value is prose, and no other listing has the same."""


def facts_of(enriched: EnrichedListing, answer: Answer | None, after: Known) -> ListingFacts:
    """Facts of a listing. A rejected one keeps its revision only: nothing of it is joined."""
    listing = enriched.listing
    shown = enriched.status != Status.REJECTED
    result = answer.answer if answer is not None and shown else None
    model = result if isinstance(result, ListingResult) else None
    brand = next((a.value for a in enriched.attributes if plain(a.name) == BRAND), "")
    return ListingFacts(
        product_id=enriched.product_id,
        revision=after.revision,
        event_id=after.ids[0],
        earlier_ids=list(after.ids[1:]),
        category=_line(model),
        brand=plain(brand),
        attributes=_pairs(enriched),
        price_band=price_band(listing.price, listing.currency) if isinstance(listing, RawListing) else "",
        language=enriched.language.code if enriched.language is not UNSET else "",
        launched_at=after.launched_at,
        embedding=int8_vector(model.versions["space"], answer.embedding)
        if model is not None and answer is not None
        else UNSET,
    )


def gone_facts(product_id: str, after: Known) -> ListingFacts:
    """The marker of a withdrawal: it stays, so that a late request cannot bring the product back."""
    return ListingFacts(
        product_id=product_id,
        revision=after.revision,
        event_id=after.ids[0],
        earlier_ids=list(after.ids[1:]),
        withdrawn=True,
        launched_at=after.launched_at,
    )


def _line(model: ListingResult | None) -> list[str]:
    if model is None:
        return []
    best = model.nodes[0]
    return best.ids or [best.node]


def _pairs(enriched: EnrichedListing) -> list[str]:
    pairs = {
        f"{plain(a.name)}={plain(a.value)}": None
        for a in enriched.attributes
        if len(a.value) <= VALUE_MAX and plain(a.name) != BRAND
    }
    return list(pairs)[:ATTRIBUTES_MAX]
