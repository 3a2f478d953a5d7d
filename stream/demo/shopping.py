"""What the simulator's shoppers know: goods with a popularity, shelves by group, the words they search with."""

from __future__ import annotations

from collections import defaultdict
from itertools import accumulate
from random import Random

from msgspec import Struct

from schemas.product import RawListing

ZIPF = 0.8
"""Popularity falls with the rank as rank ** -ZIPF; shops lie between 0.6 and 1.0."""
NEW_MS = 24 * 3_600_000
NEW_BOOST = 3.0
"""A product is this much more visible in its first day: launch pages and pushes."""


class Good(Struct, frozen=True, kw_only=True):
    """A product on the simulated shelves, from its launch to its withdrawal (ms). popularity: relative."""

    product_id: str
    group: str
    language: str
    words: tuple[str, ...]
    price: float | None
    currency: str | None
    launched: int
    gone: int
    popularity: float

    def weight(self, at: int) -> float:
        """Relative chance of being seen at `at`; 0 while it is not for sale."""
        if not self.launched <= at < self.gone:
            return 0.0
        return self.popularity * (NEW_BOOST if at - self.launched < NEW_MS else 1.0)


class Shelves:
    """Goods by group; picks one that is for sale at a moment."""

    def __init__(self, goods: list[Good]) -> None:
        self._by_group: defaultdict[str, list[Good]] = defaultdict(list)
        for good in goods:
            self._by_group[good.group].append(good)
        self.groups: dict[str, list[str]] = defaultdict(list)
        for group, found in self._by_group.items():
            self.groups[found[0].language].append(group)

    def pick(self, group: str, at: int, random: Random) -> Good | None:
        """A good of `group` by its weight at `at`; None when none is for sale."""
        goods = self._by_group[group]
        reach = list(accumulate(good.weight(at) for good in goods))
        if not reach or reach[-1] == 0.0:
            return None
        return random.choices(goods, cum_weights=reach)[0]


def good(listing: RawListing, rank: int, *, group: str, words: tuple[str, ...], launched: int, gone: int) -> Good:
    """A listing as the simulator sees it; `rank` from 1."""
    return Good(
        product_id=listing.product_id,
        group=group,
        language=listing.language[:2] if isinstance(listing.language, str) else script(listing.title),
        words=words,
        price=listing.price if isinstance(listing.price, float) else None,
        currency=listing.currency if isinstance(listing.currency, str) else None,
        launched=launched,
        gone=gone,
        popularity=rank**-ZIPF,
    )


def script(text: str) -> str:
    """`zh` for text with Chinese characters, else `en`."""
    return "zh" if any("\u4e00" <= c <= "\u9fff" for c in text) else "en"
