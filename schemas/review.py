"""`review-requested` and `review-decided`: what a person must look at, and what they decided."""

from __future__ import annotations

from msgspec import Struct

from schemas.bounds import Id, Millis, ShortText, Text, Word
from schemas.listing import Attribute, EnrichedListing, Revision

REVIEW_REQUESTED_TYPE = "review.requested"
REVIEW_DECIDED_TYPE = "review.decided"


class ReviewRequest(Struct, frozen=True, kw_only=True):
    """A listing held for a person.

    revision: of the record held. reasons: why, in words. listing: what they will see. requested_at: ms
    since 1970 UTC.
    """

    product_id: Id
    revision: Revision
    reasons: list[str]
    listing: EnrichedListing
    requested_at: Millis


class ReviewDecision(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A person's decision on one revision.

    revision: the one looked at; a decision on an older one is void. decision: `approve`, `reject` or
    `correct`. person: who. decided_at: ms since 1970 UTC. category: with correct, the right node id;
    empty keeps it. attributes: with correct, the values that hold from now on. note: free text.
    """

    product_id: Id
    revision: Revision
    decision: Word
    person: ShortText
    decided_at: Millis
    category: Text = ""
    attributes: list[Attribute] = []
    note: Text = ""
