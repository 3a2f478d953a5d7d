"""Descriptions of fields, read from the docstrings of the types: the one place where they are written.

A docstring's paragraphs hold entries of the form `field: text.` or `field, field: text.`; a paragraph
without such an entry describes the type. One that starts with `Absent` says what absence and null mean.
"""

from __future__ import annotations

import inspect
import re

import msgspec
from msgspec import Struct

_ENTRY = re.compile(r"(?:^|(?<=[.;] ))([a-z_][a-z0-9_]*): ")


class Docs(Struct, frozen=True):
    """about: what the type is. absent: what absence and null mean, or empty. fields: field to description."""

    about: str
    absent: str
    fields: dict[str, str]


def docs_of(type_: type[Struct]) -> Docs:
    """What the docstring of `type_` says."""
    names = {field.encode_name for field in msgspec.structs.fields(type_)}
    about, absent, found = list[str](), "", dict[str, str]()
    for paragraph in inspect.cleandoc(type_.__doc__ or "").split("\n\n"):
        text = " ".join(paragraph.split())
        entries = _entries(text, names)
        found.update(entries)
        if text.startswith("Absent"):
            absent = text
        elif not entries:
            about.append(text)
    return Docs(" ".join(about), absent, found)


def _entries(text: str, names: set[str]) -> dict[str, str]:
    starts = [match for match in _ENTRY.finditer(text) if match[1] in names]
    ends = [*(match.start() for match in starts[1:]), len(text)]
    return {match[1]: _sentence(text[match.end() : end].strip()) for match, end in zip(starts, ends, strict=False)}


def _sentence(text: str) -> str:
    """First letter upper case, except in a name such as `name=value`; a full stop at the end."""
    text = text if text.endswith((".", ")")) else f"{text}."
    return text[0].upper() + text[1:]
