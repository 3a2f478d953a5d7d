"""How a listing becomes one text for the encoder, and how a place in that text leads back to a field.

The fields stand one after the other as they were given, a line feed between them: title, the seller's
category hint, description. The description is last because it is what a long listing loses first.
Training composes its texts with the same function, so that both see the same thing.
"""

from __future__ import annotations

from dataclasses import dataclass

TITLE, HINT, DESCRIPTION = "title", "category_hint", "description"
BETWEEN = "\n"


@dataclass(frozen=True)
class Part:
    """Where a field stands in the text: half open, in code points."""

    field: str
    start: int
    end: int


@dataclass(frozen=True)
class Composed:
    """One listing's text and the places of its fields, in order."""

    text: str
    parts: tuple[Part, ...]

    def locate(self, start: int, end: int) -> Part | None:
        """A stretch of the text as a stretch of the field in which it starts; None between fields."""
        for part in self.parts:
            if part.start <= start < part.end and start < end:
                return Part(part.field, start - part.start, min(end, part.end) - part.start)
        return None


def compose(title: str, description: str = "", category_hint: str = "") -> Composed:
    """Put the fields together; empty ones take no place."""
    text, parts = "", []
    for field, value in ((TITLE, title), (HINT, category_hint), (DESCRIPTION, description)):
        if value.strip():
            text += BETWEEN if text else ""
            parts.append(Part(field, len(text), len(text) + len(value)))
            text += value
    return Composed(text, tuple(parts))
