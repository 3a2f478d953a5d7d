"""`review-requested` and `review-decided`: what a person must look at, and what they decided."""

from __future__ import annotations

from msgspec import Struct

from schemas.bounds import Id, Millis
from schemas.listing import Attribute, EnrichedListing, Revision

REVIEW_REQUESTED_TYPE = "review.requested"


class ReviewRequest(Struct, frozen=True, kw_only=True):
    """A listing held for a person. reasons: why, in words; listing: what they will see."""

    product_id: Id
    revision: Revision
    reasons: list[str]
    listing: EnrichedListing
    requested_at: Millis


class ReviewDecision(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A person's decision on one revision. decision: `approve`, `reject` or `correct` (with values)."""

    product_id: Id
    revision: Revision
    decision: str
    person: str
    decided_at: Millis
    category: str = ""
    attributes: list[Attribute] = []
    note: str = ""
