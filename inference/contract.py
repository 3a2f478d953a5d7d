"""What the `listing` model takes and gives: one JSON document in, one out, and the embedding as a tensor.

On Triton: input `LISTING` BYTES [batch, 1] holds one encoded ListingInput a row; outputs are `RESULT`
BYTES [batch, 1] (one encoded ListingResult or ListingFault a row, told apart by the tag) and
`EMBEDDING` FP32 [batch, 384], unit length, zeros for a fault.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

LISTING_MODEL = "listing"
ENCODER_MODEL, READER_MODEL = "encoder", "reader"
EMBEDDING_DIM = 384
TASKS = ("category", "attributes", "spans", "keywords", "safety", "embedding")

Unit = Annotated[float, Meta(ge=0, le=1)]


MOST_CLAIMS = 24
"""Claims of one listing that are checked: as many names as one prompt holds; sellers fill a dozen fields."""


class Claim(Struct, frozen=True):
    """What the seller says of one attribute, beside the text."""

    name: str
    value: str


class ListingInput(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Text of one listing. ask: attribute names to look for; None: those of the category's schema. claims: to be
    compared with the text, the first MOST_CLAIMS of them."""

    title: str
    description: str = ""
    language: str = ""
    category_hint: str = ""
    ask: list[str] | None = None
    claims: list[Claim] = []


class Span(Struct, frozen=True, kw_only=True):
    """A stretch of one field: half open, in code points of that field as it was given."""

    label: str
    text: str
    score: Unit
    field: str
    start: int
    end: int


class NodeScore(Struct, frozen=True):
    """A taxonomy node, its names from the root in the listing's language, and its calibrated score.

    ids: node ids from the root to `node`, as many as names in `path`; a reader that joins on a parent
    category needs them, and only the model knows which taxonomy it was given.
    """

    node: str
    path: list[str]
    score: Unit
    ids: list[str] = []


class ClaimCheck(Struct, frozen=True, kw_only=True):
    """Whether the text bears a claim out. verdict: entailed, contradicted, or unknown where the text does not tell;
    score: its probability. evidence: the stretch that speaks to it, labelled by the claim's name."""

    name: str
    value: str
    verdict: str
    score: Unit
    evidence: Span | None = None


class ListingResult(Struct, frozen=True, kw_only=True, tag="result"):
    """Everything one forward pass gives.

    nodes: best first, never empty. attributes: label = attribute name. spans: label = brand or product.
    keywords: label is empty. claims: in the order of the input. safe: 1 is harmless.
    truncated: the text was longer than the longest bucket.
    versions: `model`, `taxonomy`, `schema`, `space` (of the embedding) to version names.
    """

    language: str
    language_score: Unit
    nodes: list[NodeScore]
    attributes: list[Span]
    spans: list[Span]
    keywords: list[Span]
    safe: Unit
    tokens: int
    truncated: bool
    versions: dict[str, str]
    claims: list[ClaimCheck] = []


class ListingFault(Struct, frozen=True, kw_only=True, tag="fault"):
    """This row cannot be answered, and another try will not change it."""

    message: str


ListingAnswer = ListingResult | ListingFault
