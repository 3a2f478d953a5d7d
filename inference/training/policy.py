"""Which data may be learned from. On its own, so that a command's help needs nothing else."""

from __future__ import annotations

from enum import StrEnum


class Licences(StrEnum):
    """Data sets by their licence: all, or those whose licence is stated and allows commercial use."""

    ANY = "any"
    PERMISSIVE = "permissive"
