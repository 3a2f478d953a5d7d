"""What decoding may raise. Each error names the field, the value and the rule, for a person to read."""

from __future__ import annotations

import reprlib
from enum import StrEnum

VALUE_SHOWN = 80
"""Characters of an offending value that are quoted: enough to recognise it, too few to flood a header."""

TEXT_SHOWN = 400
"""Characters of a field's path or of a rule: room for three names of ordinary length and a sentence."""


class Reason(StrEnum):
    """Why a record was refused. A bounded set: it is a metric label and a dead-letter header."""

    NOT_JSON = "not-json"
    BAD_ENCODING = "bad-encoding"
    INVALID_FIELD = "invalid-field"
    MISSING_FIELD = "missing-field"
    MISSING_HEADER = "missing-header"
    INVALID_HEADER = "invalid-header"
    MISSING_KEY = "missing-key"
    KEY_MISMATCH = "key-mismatch"
    UNKNOWN_TYPE = "unknown-type"
    IMPLAUSIBLE_TIME = "implausible-time"
    TOO_LARGE = "too-large"
    UNSUPPORTED_FRAMING = "unsupported-framing"
    MODEL_REJECTED = "model-rejected"


class RecordError(Exception):
    """A record that can never be processed as it is; the remedy is to park it, not to retry.

    `field` is a path such as `$.price` or a header name, `value` what stood there (cut to
    `VALUE_SHOWN` characters), `rule` what was expected, `reason` the class for counting. All of it is
    printable and encodable, whatever the record held.
    """

    def __init__(self, reason: Reason, field: str, value: object, rule: str) -> None:
        self.reason = reason
        self.field = _printable(field)
        self.value = shown(value)
        self.rule = _printable(rule)
        super().__init__(f"{self.field}: {self.rule}; got {self.value}")


class UnknownType(RecordError):
    """A well-formed record of a type or action this version does not know: for the side topic, not damage."""

    def __init__(self, field: str, value: object, rule: str) -> None:
        super().__init__(Reason.UNKNOWN_TYPE, field, value, rule)


def shown(value: object) -> str:
    """`value` as a short, printable, encodable string (lone surrogates and controls escaped)."""
    text = repr(value[: VALUE_SHOWN * 2]) if isinstance(value, str | bytes) else _SHORT.repr(value)
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= VALUE_SHOWN else f"{text[: VALUE_SHOWN - 1]}…"


def _printable(text: str) -> str:
    """`text` cut and encodable: a path holds names that upstream chose, of any length and with half characters."""
    text = text if len(text) <= TEXT_SHOWN else f"{text[: TEXT_SHOWN - 1]}…"
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


class _Short(reprlib.Repr):
    """Writes only the first members of a container: a refused record may hold a million of them."""

    def __init__(self) -> None:
        super().__init__()
        self.maxdict = self.maxlist = self.maxtuple = 8
        self.maxstring = self.maxother = self.maxlong = VALUE_SHOWN


_SHORT = _Short()
