"""The whole demo as one list of records in the order of event time, and what is expected to come of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from random import Random

from msgspec import Struct

from schemas.errors import Reason
from schemas.product import ProductEventType
from schemas.topics import PRODUCT_CREATED
from stream.demo import bad, catalogue, completejourney, simulator
from stream.demo.record import SOURCE_COMPLETEJOURNEY, DemoRecord, behaviour, product
from stream.demo.shopping import Good, Shelves, good
from stream.demo.spread import Window

PURCHASES, VISITS = 0.40, 0.25
"""Shares of the behaviour events: real purchases, simulated visits before them; the rest is simulated browsing."""
HOUR_MS = 3_600_000
LAUNCH_BEFORE_MS = (1 * HOUR_MS, 6 * HOUR_MS)
"""A product is announced this long before its first use: earlier than any visit leads to a basket."""
FIRST_TIME = 1_483_228_800_000
"""2017-01-01T00:00:00Z, where the transactions begin; the window of a scenario without any."""
DEFAULT_SPAN_MS = 7 * 24 * HOUR_MS


class Size(Struct, frozen=True, kw_only=True):
    """How much is replayed. products: of completejourney; events: behaviour, real and simulated, before repeats."""

    products: int = 300
    events: int = 20_000
    seed: int = 20_260_101


class Scenario(Struct, frozen=True):
    """Records in the order of event time, and the number of those that must be refused, by reason."""

    records: list[DemoRecord]
    expected: dict[str, int]

    @property
    def refused_here(self) -> int:
        """Records that the producer must refuse because the topic would not take them."""
        return self.expected.get(Reason.TOO_LARGE.value, 0)

    def final_states(self) -> dict[str, str]:
        """What each product should be when all is through: `listed` or `withdrawn`."""
        states: dict[str, str] = {}
        for record in self.records:
            if record.topic == PRODUCT_CREATED.name and not record.expect and record.key is not None:
                gone = dict(record.headers)["ce_type"] == ProductEventType.WITHDRAWN.encode()
                states[record.key.decode()] = "withdrawn" if gone else "listed"
        return states


def build(size: Size, max_message_bytes: int, now_ms: int) -> Scenario:
    """The same size gives the same records, save for the wrong times that lie ahead of `now_ms`.

    Records of one key are in the order in which they must be produced; repeats directly follow.
    """
    bought = round(size.events * PURCHASES) if size.products else 0
    subset = completejourney.load(size.products, bought) if bought else completejourney.Subset({}, [])
    window = _window(subset)
    records = [
        *catalogue.records(window, size.seed),
        *_announced(subset, window, size.seed),
        *_behaviour(subset, window, size),
        *bad.records(window, max_message_bytes, now_ms),
    ]
    records.sort(key=lambda record: record.at)
    return Scenario(records, dict(Counter(record.expect for record in records if record.expect)))


def _behaviour(subset: completejourney.Subset, window: Window, size: Size) -> Iterator[DemoRecord]:
    goods = _announced_goods(subset, window, size.seed)
    purchases = [behaviour(e, i, SOURCE_COMPLETEJOURNEY) for e, i in completejourney.events(subset)]
    visits = list(
        simulator.visits(_baskets(subset, goods), list(goods.values()), round(size.events * VISITS), size.seed)
    )
    left = max(0, size.events - len(purchases) - len(visits))
    browsing = simulator.browsing(Shelves(_shelf_goods(window, size.seed)), window, left, size.seed)
    yield from purchases
    yield from simulator.repeated([*visits, *browsing], size.seed)


def _announced(subset: completejourney.Subset, window: Window, seed: int) -> Iterator[DemoRecord]:
    for key, at in _launch_times(subset, seed).items():
        listing = subset.listings[key]
        id_ = f"{listing.product_id}-launch"
        yield product(listing, ProductEventType.CREATED, at, id_, SOURCE_COMPLETEJOURNEY)


def _launch_times(subset: completejourney.Subset, seed: int) -> dict[int, int]:
    """Event time of each product's launch: before its first use; at the start for one never bought here."""
    random = Random(f"launch-{seed}")
    first: dict[int, int] = {}
    for row in subset.purchases:
        first.setdefault(row.product, row.at)
    begin = subset.purchases[0].at if subset.purchases else FIRST_TIME
    return {key: first.get(key, begin) - random.randint(*LAUNCH_BEFORE_MS) for key in subset.listings}


def _announced_goods(subset: completejourney.Subset, window: Window, seed: int) -> dict[int, Good]:
    at = _launch_times(subset, seed)
    sold = Counter(row.product for row in subset.purchases)
    ranked = sorted(subset.listings, key=lambda key: (-sold[key], key))
    return {
        key: good(
            subset.listings[key],
            rank,
            group="grocery",
            words=tuple(subset.listings[key].title.split(", ")[:2]),
            launched=at[key],
            gone=window.end,
        )
        for rank, key in enumerate(ranked, 1)
    }


def _shelf_goods(window: Window, seed: int) -> list[Good]:
    launched, gone, labels = catalogue.launches(window, seed), catalogue.withdrawals(window), catalogue.labels()
    found = []
    for rank, listing in enumerate(catalogue.listings(), 1):
        label = labels[listing.product_id]
        words = tuple(filter(None, (label.product, label.product_outside_title, label.brand, label.group)))
        id_ = listing.product_id
        # Ranks of the file would make its first group the favourite of all: mix them by a fixed step.
        mixed = 1 + rank * 37 % 101
        end = gone.get(id_, window.end)
        found.append(good(listing, mixed, group=label.group, words=words, launched=launched[id_], gone=end))
    return found


def _baskets(subset: completejourney.Subset, goods: dict[int, Good]) -> list[simulator.Basket]:
    lines: defaultdict[tuple[int, int, int], list[Good]] = defaultdict(list)
    for row in subset.purchases:
        lines[row.household, row.basket, row.at].append(goods[row.product])
    return [
        simulator.Basket(completejourney.user_id(household), str(basket), at, tuple(found))
        for (household, basket, at), found in lines.items()
    ]


def _window(subset: completejourney.Subset) -> Window:
    if not subset.purchases:
        return Window(FIRST_TIME, FIRST_TIME + DEFAULT_SPAN_MS)
    return Window(subset.purchases[0].at, subset.purchases[-1].at + 1)
