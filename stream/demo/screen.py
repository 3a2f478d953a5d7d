"""What the demo shows while it runs: a live table on a terminal, plain lines without one."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from inference.taxonomy.tree import Taxonomy
from schemas.envelope import rfc3339
from schemas.features import ItemFeatures
from schemas.profile import UserProfile
from stream.demo.tally import ShownListing, Tally
from stream.view.decay import strongest
from stream.view.lines import FALLBACK_HALF_LIFE_MS, STATUS_STYLE, category_path, clean, title

REFRESH_PER_S = 4
PLAIN_EVERY_S = 3.0
PLAIN_LISTINGS = 4
"""Listings printed at most with each plain line: a log that shows life, not all of it."""
LISTINGS, PROFILES, ITEMS = 8, 4, 4
TITLE, VALUES = 34, 4
STATUS_WIDTH, LATENCY_WIDTH = 9, 9
"""`in_review` and `99,999 ms` are whole on a narrow terminal; the other columns share what is left."""


class State(Protocol):
    """What the screen reads; the run keeps it up to date."""

    tally: Tally
    total: int
    lag: dict[str, int]
    where: str

    @property
    def sent(self) -> int:
        """Records that the replay has sent."""

    @property
    def at(self) -> int:
        """Event time of the newest record sent, ms."""


class Screen(Protocol):
    """Draws a state, as often as it likes."""

    def draw(self, state: State) -> None:
        """Called a few times a second."""

    def say(self, text: str) -> None:
        """One line that stays."""


@contextlib.contextmanager
def screen(console: Console, taxonomy: Taxonomy) -> Iterator[Screen]:
    """The one that suits the console."""
    if not console.is_terminal:
        yield Plain(console)
        return
    with Live(console=console, refresh_per_second=REFRESH_PER_S, transient=True) as live:
        yield LiveTable(console, live, taxonomy)


class Plain:
    """A line every few seconds, and some of the listings that came meanwhile."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._next = self._began
        self._shown: set[str] = set()

    def draw(self, state: State) -> None:
        """A line when it is time for one."""
        if (now := time.monotonic()) < self._next:
            return
        self._next = now + PLAIN_EVERY_S
        seen = state.tally.seen
        lag = " ".join(f"{name} {n:,}" for name, n in state.lag.items())
        self.say(
            f"{now - self._began:5.1f} s  sent {state.sent:,}/{state.total:,}  enriched {seen['listing-enriched']:,}  "
            f"profiles {seen['user-profile-updated']:,}  item features {seen['item-features']:,}  "
            f"dead letters {sum(state.tally.dead.values())}  lag: {lag or 'not known yet'}"
        )
        fresh = [s for p, s in state.tally.listings.items() if p not in self._shown]
        for shown in fresh[-PLAIN_LISTINGS:]:
            self._shown.add(shown.listing.product_id)
            cells = listing_cells(shown)
            self.say("         " + "  |  ".join(cell.plain for cell in cells if cell.plain))

    def say(self, text: str) -> None:
        """One line."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class LiveTable:
    """The live table."""

    def __init__(self, console: Console, live: Live, taxonomy: Taxonomy) -> None:
        self._console = console
        self._live = live
        self._taxonomy = taxonomy

    def draw(self, state: State) -> None:
        """Replace what is on the screen."""
        tally = state.tally
        parts = (_progress(state), _listings(tally), self._profiles(tally.profiles()), _items(tally.items()))
        self._live.update(Group(*parts, _counters(state)))

    def say(self, text: str) -> None:
        """One line above the table."""
        self._console.print(text, markup=False, highlight=False)

    def _profiles(self, profiles: list[UserProfile]) -> Panel:
        table = _columns("user", "categories", "brands", "price bands", "purchases")
        for profile in profiles[:PROFILES]:
            table.add_row(
                Text(clean(profile.user_id), "cyan"),
                _top(profile, "category", self._taxonomy),
                _top(profile, "brand"),
                _top(profile, "price_band"),
                Text(str(profile.rfm.purchases), justify="right"),
            )
        return _panel(table, "profiles, newest (affinities at the profile's own time)")


def listing_cells(shown: ShownListing) -> list[Text]:
    """Category path, title, attributes, keywords, status, latency."""
    listing = shown.listing
    values = ", ".join(f"{clean(a.name)}={clean(a.value)}" for a in listing.attributes[:VALUES])
    keywords = ", ".join(clean(keyword.text) for keyword in listing.keywords[:VALUES])
    style = STATUS_STYLE.get(listing.status, "")  # type: ignore[call-overload]
    took = "" if shown.latency_ms is None else f"{shown.latency_ms:,} ms"
    return [
        Text(category_path(listing), "cyan"),
        Text(title(listing)[:TITLE]),
        Text(values),
        Text(keywords, "magenta"),
        Text(listing.status, style),
        Text(took, justify="right"),
    ]


def _progress(state: State) -> Table:
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column()
    grid.add_column(ratio=1)
    grid.add_column(justify="right")
    at = rfc3339(state.at)[:16].replace("T", " ") if state.at else ""
    bar = ProgressBar(total=max(1, state.total), completed=state.sent)
    grid.add_row(Text("replay", "bold"), bar, Text(f"{state.sent:,}/{state.total:,}  event time {at}"))
    grid.add_row(Text("on", "bold"), Text(clean(state.where), "dim"), Text(""))
    return grid


def _listings(tally: Tally) -> Panel:
    table = _columns("category", "title", "attributes", "keywords")
    table.add_column("status", no_wrap=True, header_style="dim", min_width=STATUS_WIDTH)
    table.add_column("latency", no_wrap=True, header_style="dim", min_width=LATENCY_WIDTH, justify="right")
    for shown in list(tally.listings.values())[-LISTINGS:]:
        table.add_row(*listing_cells(shown))
    return _panel(table, "listings, newest last")


def _items(items: list[ItemFeatures]) -> Panel:
    table = _columns("item", "last hour: views carts purchases", "last 24 hours", "ever")
    for item in items[:ITEMS]:
        windows = [item.windows.get("1h"), item.windows.get("24h"), item.totals]
        cells = [Text("" if w is None else f"{w.views:>4} {w.carts:>4} {w.purchases:>4}") for w in windows]
        table.add_row(Text(clean(item.product_id), "cyan"), *cells)
    return _panel(table, "item features, newest (windows end at the watermark)")


def _counters(state: State) -> Text:
    seen, text = state.tally.seen, Text()
    text.append("out  ", "bold").append(
        "  ".join(f"{name} {seen[name]:,}" for name in ("listing-enriched", "user-profile-updated", "item-features"))
    )
    text.append("\ndead ", "bold").append(
        "  ".join(f"{reason} {n}" for reason, n in sorted(state.tally.dead.items())) or "none", "red"
    )
    return text.append("\nlag  ", "bold").append("  ".join(f"{name} {n:,}" for name, n in state.lag.items()))


def _top(profile: UserProfile, kind: str, taxonomy: Taxonomy | None = None) -> Text:
    half_life = profile.half_life_ms.get(kind, FALLBACK_HALF_LIFE_MS)
    top = strongest(getattr(profile.affinities, kind), profile.as_of, half_life, 3)
    named = [(taxonomy.nodes[n].en if taxonomy is not None and n in taxonomy else n, value) for n, value in top]
    return Text(", ".join(f"{clean(name)} {value:.1f}" for name, value in named))


def _columns(*names: str) -> Table:
    table = Table(box=None, expand=True, pad_edge=False)
    for name in names:
        table.add_column(name, no_wrap=True, overflow="ellipsis", header_style="dim", ratio=1)
    return table


def _panel(table: Table, title: str) -> Panel:
    return Panel(table, title=title, title_align="left", border_style="dim")
