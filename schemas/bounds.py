"""Bounds shared by the types, each with its reason. Lengths are in code points, times in ms since 1970 UTC."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

ID_MAX = 128
"""Ids are keys in RocksDB, changelogs and Prometheus-free logs; UUIDs and SKUs are far shorter."""
TITLE_MAX = 1_024
"""Longest title any large marketplace takes is 255 characters; four times that leaves room for two scripts."""
DESCRIPTION_MAX = 20_000
"""20,000 characters fill the encoder's window many times over; more is a pasted page."""
TEXT_MAX = 512
"""Names, values, queries, hints."""
URL_MAX = 2_048
ATTRIBUTES_MAX = 200
VALUES_MAX = 50
IMAGES_MAX = 50
CHANNELS_MAX = 50
PRICE_MAX = 1e9
"""Major units. Above a thousand million the field holds something else (a timestamp, an id)."""
QUANTITY_MAX = 1_000_000
WORD_MAX = 64
TIME_MIN = 946_684_800_000
"""2000-01-01T00:00:00Z: earlier is a unit error (seconds read as milliseconds fall in 1970)."""
TIME_AHEAD_MS = 86_400_000
"""One day ahead of the reader's clock is still taken: time zones mistaken for UTC; more is refused."""

INT_MAX = 2**53 - 1
"""Larger integers are not exact in a consumer that reads JSON numbers as doubles (JavaScript, jq)."""
DIM_MAX = 4_096
"""Components of a vector: ten times the encoder's 384."""

ID_PATTERN = r"^[^\x00-\x1f\x7f]+$"
WORD_PATTERN = r"^[a-z][a-z0-9_.-]*$"
CURRENCY_PATTERN = r"^[A-Z]{3}$"


def _published(pattern: str) -> dict[str, str]:
    """A pattern that the JSON Schema shows and schemas.validate enforces on what comes in.

    Left out of the decoder: five patterns take 2.8 of the 3.3 us that decoding an action then costs.
    """
    return {"pattern": pattern}


Id = Annotated[
    str, Meta(min_length=1, max_length=ID_MAX, extra_json_schema=_published(ID_PATTERN), description="Id, no controls.")
]
Text = Annotated[str, Meta(max_length=TEXT_MAX)]
ShortText = Annotated[str, Meta(min_length=1, max_length=TEXT_MAX)]
Word = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=WORD_MAX,
        extra_json_schema=_published(WORD_PATTERN),
        description="Member of an open enumeration: set aside by a reader that does not know it.",
    ),
]
Price = Annotated[float, Meta(ge=0, le=PRICE_MAX, description="Major units of the currency, not negative.")]
Currency = Annotated[
    str, Meta(min_length=3, max_length=3, extra_json_schema=_published(CURRENCY_PATTERN), description="ISO 4217 code.")
]
Millis = Annotated[int, Meta(ge=0, le=INT_MAX, description="Milliseconds since 1970-01-01 UTC.")]
EventTime = Annotated[
    int, Meta(ge=TIME_MIN, le=INT_MAX, description="Milliseconds since 1970-01-01 UTC, from 2000 on.")
]
Duration = Annotated[int, Meta(ge=0, le=INT_MAX, description="Milliseconds.")]
Unit = Annotated[float, Meta(ge=0, le=1, description="Score from 0 to 1.")]
Count = Annotated[int, Meta(ge=0, le=INT_MAX, description="Whole number from 0.")]
Quantity = Annotated[int, Meta(ge=1, le=QUANTITY_MAX, description="Pieces.")]
