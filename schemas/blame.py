"""Turns a decoder's complaint into a RecordError that names the field, the value that stood there and the rule."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable
from typing import Any

import msgspec

from schemas.errors import Reason, RecordError

AROUND = 24
"""Bytes shown on either side of one that is not UTF-8."""
SEARCHED_MAX = 1_000
"""Entries of a mapping searched for the one at fault: five times what any type allows, and some 10 ms."""

_AT = re.compile(r"^(?P<rule>.*?)(?: - at (?P<key>`key` in )?`(?P<path>[^`]*)`)?$", re.DOTALL)
_MISSING = re.compile(r"missing required field `([^`]+)`")
_PATTERN_WORDS = (("^https?://", "an http or https URL, not a path on some machine"),)
"""How a pattern that the decoder enforces begins, and what it says to a person."""
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")

Step = str | int


def invalid(error: msgspec.ValidationError, body: bytes, decoder: msgspec.json.Decoder[Any]) -> RecordError:
    """JSON that breaks a rule of the type. `...` in the decoder's path becomes the name of the entry at fault."""
    match = _AT.match(str(error))
    assert match is not None  # the pattern accepts any text
    path, rule = match["path"] or "$", match["rule"]
    value, steps = _locate(body, path, bool(match["key"]), str(error), decoder)
    where = _written(steps) if steps is not None else path
    if match["key"]:
        where += " (name)"
    missing = _MISSING.search(rule)
    if missing:
        return RecordError(Reason.MISSING_FIELD, f"{where}.{missing[1]}", None, "a required field is not there")
    return RecordError(Reason.INVALID_FIELD, where, value, _in_words(rule))


def _in_words(rule: str) -> str:
    """The decoder's rule, save that a pattern is told by its meaning."""
    return next((words for begins, words in _PATTERN_WORDS if f"matching regex '{begins}" in rule), rule)


def malformed(error: Exception, body: bytes) -> RecordError:
    """Bytes that are no JSON document, or not UTF-8, or hold half a character."""
    if body.startswith(codecs.BOM_UTF8):
        return RecordError(Reason.BAD_ENCODING, "$", body[:AROUND], "UTF-8 without a byte order mark")
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as wrong:
        near = body[max(0, wrong.start - AROUND) : wrong.start + AROUND]
        return RecordError(Reason.BAD_ENCODING, "$", near, f"UTF-8 text (byte {wrong.start} is not)")
    if isinstance(error, RecursionError):
        return RecordError(Reason.NOT_JSON, "$", body[:AROUND], "a JSON document that is not nested this deep")
    lone = _lone_surrogate(_lenient(body), "$")
    if lone is not None:
        return RecordError(Reason.BAD_ENCODING, *lone, "no lone surrogate: half a character cannot be stored")
    return RecordError(Reason.NOT_JSON, "$", body[:80], f"a JSON document ({error})")


def _lenient(body: bytes) -> Any:
    """What the standard library makes of it: it takes lone surrogates; None where it cannot read it either."""
    try:
        return json.loads(body, parse_int=_int_or_text, parse_float=_float_or_text)
    except (ValueError, RecursionError):
        return None


def _int_or_text(text: str) -> int | str:
    return int(text) if len(text) < 20 else text


def _float_or_text(text: str) -> float | str:
    return text if float(text) in (float("inf"), float("-inf")) else float(text)


def _lone_surrogate(value: Any, path: str) -> tuple[str, str] | None:
    if isinstance(value, str):
        return (path, value) if any("\ud800" <= c <= "\udfff" for c in value) else None
    steps: Any = ()
    if isinstance(value, dict):
        steps = [(f"{path}.{k}", v) for k, v in value.items()] + [(f"{path} (name)", k) for k in value]
    elif isinstance(value, list):
        steps = [(f"{path}[{i}]", v) for i, v in enumerate(value)]
    for where, inner in steps:
        if (found := _lone_surrogate(inner, where)) is not None:
            return found
    return None


def _locate(
    body: bytes, path: str, name: bool, said: str, decoder: msgspec.json.Decoder[Any]
) -> tuple[object, list[Step] | None]:
    """What stands at the decoder's path, and the path with every `...` resolved; ("?", None) where it cannot be read.

    name: the complaint is about a name in the mapping at `path`, not about its value.
    """
    document = _lenient(body)
    value, steps = document, list[Step]()
    try:
        for field, index in _STEP.findall(path.removeprefix("$")):
            step: Step = field or (int(index) if index != "..." else _at_fault(document, value, said, decoder))
            value = value[step]
            steps.append(step)
        return (_at_fault(document, value, said, decoder) if name else value), steps
    except (LookupError, TypeError):
        return "?" if document is None else value, None


def _at_fault(document: Any, mapping: Any, said: str, decoder: msgspec.json.Decoder[Any]) -> str:
    """The name of the entry of `mapping` (within `document`) that the decoder complains of, found by halving.

    Raises LookupError when no single entry brings the complaint back.
    """
    entries = list(mapping.items())
    if len(entries) > SEARCHED_MAX:
        raise LookupError(said)
    fails = _same_complaint(document, mapping, said, decoder)
    while len(entries) > 1:
        half = entries[: len(entries) // 2]
        entries = half if fails(half) else entries[len(half) :]
    if not entries or not fails(entries):
        raise LookupError(said)
    return str(entries[0][0])


def _same_complaint(
    document: Any, mapping: dict[str, Any], said: str, decoder: msgspec.json.Decoder[Any]
) -> Callable[[list[tuple[str, Any]]], bool]:
    whole = dict(mapping)

    def fails(entries: list[tuple[str, Any]]) -> bool:
        mapping.clear()
        mapping.update(entries)
        try:
            decoder.decode(msgspec.json.encode(document))
        except msgspec.ValidationError as error:
            return str(error) == said
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            return False
        finally:
            mapping.clear()
            mapping.update(whole)
        return False

    return fails


def _written(steps: list[Step]) -> str:
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
