"""Quality of a listing as the seller gave it, by rules: each says what is missing in words."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from schemas.listing import Judgement, Producer, ProducerKind
from schemas.product import RawListing

VERSION = "1"
TITLE_MIN = 8
"""Code points. Shorter than `iPhone 15` or 男士纯棉短袖T恤 names a kind of thing, not a thing."""
DESCRIPTION_MIN = 40
"""Code points: about one sentence in either language that adds to the title."""
ATTRIBUTES_MIN = 2


class Rule(Struct, frozen=True):
    """A share of the score, given when `holds`; else `reason` is recorded."""

    share: float
    reason: str
    holds: Callable[[RawListing], bool]


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


# The shares add up to 1. Text weighs half: search and the model live on it; a picture and attributes
# decide clicks and filters; brand and price are single fields.
RULES: tuple[Rule, ...] = (
    Rule(0.2, f"the title has under {TITLE_MIN} characters", lambda x: len(x.title.strip()) >= TITLE_MIN),
    Rule(0.1, "the title is all capitals", lambda x: not x.title.isupper()),
    Rule(0.15, "there is no description", lambda x: bool(_text(x.description))),
    Rule(
        0.1,
        f"the description has under {DESCRIPTION_MIN} characters",
        lambda x: len(_text(x.description)) >= DESCRIPTION_MIN,
    ),
    Rule(0.15, "there is no picture", lambda x: bool(x.images)),
    Rule(0.15, f"fewer than {ATTRIBUTES_MIN} attributes are given", lambda x: len(x.attributes) >= ATTRIBUTES_MIN),
    # Null says that the product has no brand: that is an answer.
    Rule(0.075, "the brand is not said", lambda x: x.brand is None or bool(_text(x.brand))),
    Rule(0.075, "the price is not said", lambda x: isinstance(x.price, int | float)),
)


def quality(listing: RawListing) -> Judgement:
    """Share of the rules that hold, with a reason for each that does not."""
    missed = [rule for rule in RULES if not rule.holds(listing)]
    score = round(1.0 - sum(rule.share for rule in missed), 3)
    reasons = [rule.reason for rule in missed]
    return Judgement(score=max(0.0, score), reasons=reasons, producer=Producer(ProducerKind.RULE, "quality", VERSION))
