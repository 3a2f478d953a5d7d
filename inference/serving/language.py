"""Language of a listing's text from its script and, among Latin scripts, from function words.

Rules and not a model: product titles are brand names and numbers, on which trained identifiers guess
(they take "Nike Air Max 90" for German), and the model server's environment stays small.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

UNKNOWN = "und"
"""BCP 47 for a text that says nothing about its language."""
LOOKED_AT = 2_000
"""Code points; more does not change the answer."""
HAN_PER_WORD = 1.5
"""Chinese words have 1.5 to 2 characters: a character counts as two thirds of a Latin word."""
LATIN_LEAST = 2
"""Letters of a Latin word: single ones are sizes and classes ("class a")."""
WORDS_LEAST = 2
"""Different function words that another language than English takes: one may be part of a name ("Van Heusen") or of an
English title ("maillot de bain"). Of the English titles of the data sets (attributes, fashion, pricerunner) 4.5, 2.0
and 19% were taken for others when single letters, letters of model codes and single words counted; 0.2, 0.1 and 0.4%
are."""
UNSURE = 0.5
"""Score of English for Latin words without a single function word, which is how titles are written."""

_RANGES: tuple[tuple[int, int, str], ...] = (
    (0x3040, 0x30FF, "ja"),
    (0x3400, 0x4DBF, "zh"),
    (0x4E00, 0x9FFF, "zh"),
    (0xF900, 0xFAFF, "zh"),
    (0x20000, 0x323AF, "zh"),
    (0xAC00, 0xD7AF, "ko"),
    (0x1100, 0x11FF, "ko"),
    (0x0400, 0x052F, "ru"),
    (0x0370, 0x03FF, "el"),
    (0x0590, 0x05FF, "he"),
    (0x0600, 0x06FF, "ar"),
    (0x0E00, 0x0E7F, "th"),
    (0x0900, 0x097F, "hi"),
)
_TOKEN = re.compile(r"[^\W_]+")
_WORDS = {
    "en": "the and for with of in to is this your you our from on are by it that can or as at",
    "de": "und der die das für mit von den ist ein eine im auf zu nicht auch aus bei oder sie",
    "fr": "le la les et pour avec de des du en un une dans sur est au aux ce votre vous ou",
    "es": "el la los las para con de del en un una es por su al que tu más sin",
    "it": "il lo la gli per con di del della in un una da che su al non più",
    "pt": "os as para com de do da em um uma por no na seu que ou mais sem",
    "nl": "de het een en voor met van in op is te aan uit bij niet ook of uw je zijn",
}
FUNCTION_WORDS: Mapping[str, frozenset[str]] = {code: frozenset(words.split()) for code, words in _WORDS.items()}


@dataclass(frozen=True)
class LanguageGuess:
    """Primary subtag, and the share of the text's evidence that speaks for it."""

    code: str
    score: float


def detect(text: str, given: str = "") -> LanguageGuess:
    """The language of `text`; `given` (what the seller said) is the answer where the text says nothing."""
    weights: defaultdict[str, float] = defaultdict(float)
    latin: list[str] = []
    for token in _TOKEN.findall(unicodedata.normalize("NFKC", text[:LOOKED_AT])):
        letters = [character for character in token if character.isalpha()]
        scripts = Counter(_script(character) for character in letters)
        if len(letters) == len(token) >= LATIN_LEAST and scripts["latin"] * 2 > len(token):  # no digit: no model code
            latin.append(token.casefold())
        for code, count in scripts.items():
            if code != "latin":
                weights[code] += count / HAN_PER_WORD if code in ("zh", "ja") else count / len(letters)
    if "ja" in weights:
        weights["ja"] += weights.pop("zh", 0.0)  # kana appears in Japanese only, which also writes Han
    latin_code, share = _latin(latin)
    weights[latin_code] += len(latin)
    total = sum(weights.values())
    if not total:
        return LanguageGuess(given.split("-")[0].lower() or UNKNOWN, 0.0)
    code, weight = max(weights.items(), key=lambda item: item[1])
    return LanguageGuess(code, weight / total * (share if code == latin_code else 1.0))


def _script(character: str) -> str:
    point = ord(character)
    for first, last, code in _RANGES:
        if first <= point <= last:
            return code
    return "latin"


def _latin(words: list[str]) -> tuple[str, float]:
    """Language with the most function words, English where no other has WORDS_LEAST and more than it; its share."""
    seen = set(words)
    counts = {code: len(seen & found) for code, found in FUNCTION_WORDS.items()}
    code = max(counts, key=lambda c: counts[c] if c == "en" or counts[c] >= WORDS_LEAST else -1)
    total = sum(counts.values())
    return (code, max(UNSURE, counts[code] / total)) if total else ("en", UNSURE)
