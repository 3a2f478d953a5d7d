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
TIME_MIN = 946_684_800_000
"""2000-01-01T00:00:00Z: earlier is a unit error (seconds read as milliseconds fall in 1970)."""
TIME_AHEAD_MS = 86_400_000
"""One day ahead of the reader's clock is still taken: time zones mistaken for UTC; more is refused."""

INT_MAX = 2**53 - 1
"""Larger integers are not exact in a consumer that reads JSON numbers as doubles (JavaScript, jq)."""
DIM_MAX = 4_096
"""Components of a vector: ten times the encoder's 384."""

# `$` alone would let a trailing line feed through in Python; `$(?!\n)` means the same in every dialect.
Id = Annotated[str, Meta(min_length=1, max_length=ID_MAX, pattern=r"^[^\x00-\x1f\x7f]+$(?!\n)")]
Text = Annotated[str, Meta(max_length=TEXT_MAX)]
ShortText = Annotated[str, Meta(min_length=1, max_length=TEXT_MAX)]
Word = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[a-z][a-z0-9_.-]*$(?!\n)")]
"""A member of an open enumeration: an unknown one is legal here and set aside by whoever must know it."""
Price = Annotated[float, Meta(ge=0, le=PRICE_MAX)]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}$(?!\n)")]
Millis = Annotated[int, Meta(ge=0, le=INT_MAX)]
EventTime = Annotated[int, Meta(ge=TIME_MIN, le=INT_MAX)]
Unit = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0, le=INT_MAX)]
Quantity = Annotated[int, Meta(ge=1, le=QUANTITY_MAX)]
