"""What a listing's wording alone says of a seller's value: that it stands there, is denied, or that another of its kind
stands in its place. Plain text work; no model."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from inference.model.tokenizer import IDEOGRAPH
from inference.tasks.words import CHINESE, words_of

NUMBER = re.compile(r"\d+(?:\.\d+)?")
MEASURE = re.compile(rf"(?P<before>[a-z]+)?[ -]?(?P<number>{NUMBER.pattern})[ -]?(?P<unit>[a-z%\"]+|[{IDEOGRAPH}])?")
"""A number with the letters before it (`SPF 50`, `E27`) and its unit (`20 oz`, `1.8米`)."""
NEGATIONS = (
    *("不含", "不支持", "不可", "不带", "不", "无", "非", "未", "没有", "免"),
    *("not ", "no ", "non-", "non ", "without ", "free of "),
)
"""What before a word denies it."""
FREED = (" free", "-free", " less", "less")
"""What after a word denies it."""
YES = frozenset(["yes", "y", "true", "是", "有", "支持", "可", "含"])
NO = frozenset(["no", "n", "false", "none", "否", "无", "没有", "不支持", "不可", "不含", "非"])
POLAR = re.compile(r"^(?P<no>不支持|不含|不可|没有|无|非|不)?(?P<yes>支持|含有|含|带|有|可)?(?P<rest>.{2,})$")
"""A Chinese value that says whether there is something: 无钢圈, 含酒精, 支持快充."""
KINDS = tuple(
    tuple(frozenset(same.split()) for same in kind.split("|"))
    for kind in (
        "black|white|grey gray|silver|red|blue|green|yellow|orange|purple|pink|brown|beige cream ivory|navy|khaki|teal"
        "|turquoise|burgundy maroon|gold|charcoal|tan|lilac lavender|coral|olive",
        "zipper zip|lace-up|buckle|button buttons|velcro hook-and-loop|snap snaps|drawstring|slip-on pull-on",
        "men men's mens male|women women's womens ladies female|boys boys' boy|girls girls' girl|unisex",
        "adult adults|baby babies newborn newborns infant|toddler toddlers|kids kid children child",
    )
)
"""Words of which a listing has one at a time, synonyms together: colours, closures, whom and what age it is for. A
listing in two colours is not that rare, so this is a sign among others and not the answer."""
SHORTEST, LONGEST = 2, 6
"""Characters of a Chinese value that others of its kind are looked for."""


Place = tuple[int, int]
"""Code points of the text, half open."""


def folded(text: str) -> str:
    """Width and case folded, code point by code point, so that places stay what they are."""
    return "".join(low if len(low := unicodedata.normalize("NFKC", each).casefold()) == 1 else each for each in text)


def place_of(text: str, value: str) -> Place | None:
    """Where the value first stands. A word may go on where the value ends (`Hood`, `hooded`) but begins with it, and a
    number is a whole one."""
    plain = folded(value).strip()
    match = _standing(plain).search(folded(text)) if plain else None
    return match.span() if match else None


def occurrence(text: str, value: str) -> tuple[float, float]:
    """Whether the value stands in the text (see `place_of`), and whether each time it does it is denied."""
    low, plain = folded(text), folded(value).strip()
    places = [match.start() for match in _standing(plain).finditer(low)] if plain else []
    if not places:
        return 0.0, 0.0
    denied = all(
        low[:at].endswith(NEGATIONS) or low[at + len(plain) :].startswith(FREED) for at in places
    ) and not plain.endswith("free")
    return 1.0, float(denied)


def _standing(value: str) -> re.Pattern[str]:
    before = r"(?<![a-z0-9.])" if value[0].isascii() and value[0].isalnum() else ""
    return re.compile(before + re.escape(value) + (r"(?!\.?\d)" if value[-1].isdigit() else ""))


def measured(text: str, value: str) -> tuple[Place | None, Place | None]:
    """Where the text has the value's number with its unit (or the letters before it), however they are spaced; and
    where it has another number with them and not this one. Nothing for a value without number, or with a bare one."""
    own = MEASURE.search(folded(value))
    if own is None or not (own["unit"] or own["before"]):
        return None, None
    side = "unit" if own["unit"] else "before"
    other = None
    for each in MEASURE.finditer(folded(text)):
        if each[side] != own[side]:
            continue
        place = min(each.start("number"), each.start(side)), max(each.end("number"), each.end(side))
        if float(each["number"]) == float(own["number"]):
            return place, None
        other = other or place
    return None, other


def rival(text: str, value: str) -> Place | None:
    """Where the text has another of the value's kind and not the value: `dark chocolate` for `Milk chocolate`,
    `wireless` for `Wired`, `red` for `Blue`, 短袖 for 长袖. A kind is one of KINDS, or told by the last
    word or the last character."""
    low, plain = folded(text), folded(value).strip()
    if not plain or NUMBER.search(plain) or place_of(text, value):
        return None
    if CHINESE.search(plain):
        return _alike(low, plain) if SHORTEST <= len(plain) <= LONGEST else None
    words = plain.split()
    if kind := next((each for each in KINDS if any(plain in same for same in each)), None):
        own, others = ([same for same in kind if (plain in same) is wanted] for wanted in (True, False))
        return None if _one_of(low, own) else _one_of(low, others)
    if len(words) > 1:
        pattern = rf"\b(?!{re.escape(words[-2])}\b)[a-z]+ {re.escape(words[-1])}s?\b"
    elif len(stem := re.sub(r"e?(ed|less|y)$", "", plain)) <= 2:
        return None
    elif plain.endswith("less"):
        pattern = rf"\b{re.escape(stem)}(?:ed|y)\b"
    else:
        pattern = rf"\b{re.escape(stem)}e?less\b|\bun{re.escape(plain)}\b"
    match = re.search(pattern, low)
    return match.span() if match else None


def _one_of(text: str, alternatives: Iterable[frozenset[str]]) -> Place | None:
    """Where the first of the words stands."""
    words = sorted((word for same in alternatives for word in same), key=lambda word: (-len(word), word))
    match = re.search(rf"\b(?:{'|'.join(map(re.escape, words))})(?!\w)", text)
    return match.span() if match else None


def _alike(text: str, value: str) -> Place | None:
    """The first stretch of whole words that has the value's length and its last character."""
    edges = {edge for word in words_of(text) for edge in (word.start, word.end)}
    for match in re.finditer(re.escape(value[-1]), text):
        start, end = match.end() - len(value), match.end()
        if start in edges and end in edges and text[start:end].isalnum():
            return start, end
    return None


def polarity(text: str, name: str, value: str) -> tuple[Place | None, Place | None]:
    """Of a value that says whether there is something (`Yes`; 无钢圈): where the text agrees, and where it says the
    opposite. What there is or is not: the attribute's name, or the rest of the value."""
    plain = folded(value).strip()
    if plain in YES | NO:
        thing, wanted = re.sub(r"^(?:is |has |with |是否|有无)|[?？]$", "", folded(name).strip()), plain in YES
    else:
        match = POLAR.match(plain) if CHINESE.search(plain) else None
        if match is None or not (match["no"] or match["yes"]):
            return None, None
        thing, wanted = match["rest"], match["no"] is None
    place = place_of(text, thing)
    return (None, place) if wanted == bool(occurrence(text, thing)[1]) else (place, None)
