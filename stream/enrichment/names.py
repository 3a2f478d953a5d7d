"""Names and values as they are compared: case, width and spacing do not make a difference."""

from __future__ import annotations

import unicodedata


def plain(text: str) -> str:
    """NFKC, case folded, runs of space as one."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
