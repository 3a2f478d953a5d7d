"""One line a record, coloured by what it says; control characters of hostile values never reach the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import UNSET
from rich.text import Text

from inference.taxonomy.tree import Taxonomy
from schemas.behaviour import BehaviourEvent
from schemas.codec import Codec
from schemas.deadletter import FIELD, REASON, RULE, VALUE
from schemas.deadletter import OFFSET as ORIGIN_OFFSET
from schemas.deadletter import PARTITION as ORIGIN_PARTITION
from schemas.deadletter import TOPIC as ORIGIN_TOPIC
from schemas.envelope import header
from schemas.errors import RecordError, shown
from schemas.features import ItemFeatures, UserFeatures
from schemas.listing import EnrichedListing, Status
from schemas.product import RawListing
from schemas.profile import UserProfile
from schemas.topics import TOPICS, Topic
from stream.view.decay import strongest

STATUS_STYLE = {
    Status.ENRICHED: "green",
    Status.DEGRADED: "yellow",
    Status.IN_REVIEW: "magenta",
    Status.REJECTED: "red",
}
TITLE_SHOWN = 60
VALUES_SHOWN = 5
GENERIC_SHOWN = 240
"""Characters of a record that has no line of its own: internal topics."""
FALLBACK_HALF_LIFE_MS = 14 * 86_400_000
"""Where a profile does not name the half-life of a kind: the default of the settings."""


class Lines:
    """Makes lines; knows the topics by their full names."""

    def __init__(self, prefix: str, taxonomy: Taxonomy) -> None:
        self._topics = {topic.named(prefix): topic for topic in TOPICS}
        self._codecs = {t.name: Codec(t.value) for t in TOPICS if t.value is not None}
        self._taxonomy = taxonomy
        self._makers: dict[type, Callable[[Any], Text]] = {
            RawListing: raw_listing,
            BehaviourEvent: action,
            EnrichedListing: enriched,
            UserProfile: self._profile,
            ItemFeatures: item_features,
            UserFeatures: user_features,
        }

    def line(self, record: Any) -> Text:
        """One line for a record as aiokafka gives it; never raises for what a record may hold."""
        topic = self._topics.get(record.topic)
        line = Text(no_wrap=True, overflow="ellipsis")
        line.append(f"{record.topic}/{record.partition}@{record.offset} ", "dim")
        line.append(f"{_text(record.key)} ", "cyan")
        if header(record.headers, REASON) is not None:
            return line.append_text(dead_letter(record))
        type_ = header(record.headers, "ce_type")
        if type_:
            line.append(f"{_text(type_)} ", "blue")
        return line.append_text(self._body(topic, record.value))

    def document(self, record: Any) -> dict[str, Any]:
        """The same record for machines: place, key, headers and the decoded value."""
        return {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "timestamp": record.timestamp,
            "key": None if record.key is None else record.key.decode("utf-8", "backslashreplace"),
            "headers": {k: None if v is None else v.decode("utf-8", "backslashreplace") for k, v in record.headers},
            "value": _decoded(record.value),
        }

    def _body(self, topic: Topic | None, value: bytes | None) -> Text:
        if value is None:
            return Text("tombstone", "red")
        if topic is None or topic.value is None or topic.value not in self._makers:
            return Text(clean(value.decode("utf-8", "backslashreplace"))[:GENERIC_SHOWN])
        try:
            return self._makers[topic.value](self._codecs[topic.name].decode(value))
        except RecordError as error:
            return Text(clean(f"not a valid {topic.value.__name__}: {error}"), "red")

    def _profile(self, profile: UserProfile) -> Text:
        text = Text()
        for kind in ("category", "brand", "attribute", "price_band"):
            half_life = profile.half_life_ms.get(kind, FALLBACK_HALF_LIFE_MS)
            top = strongest(getattr(profile.affinities, kind), profile.as_of, half_life, 3)
            if top:
                text.append(f"{kind} ", "dim")
                text.append(", ".join(f"{clean(self.name(n))} {v:.2f}" for n, v in top) + "  ")
        text.append(f"purchases {profile.rfm.purchases}", "green")
        return text

    def name(self, node: str) -> str:
        """The name of a taxonomy node, or what stands there when it is none."""
        return self._taxonomy.nodes[node].en if node in self._taxonomy else node


def raw_listing(listing: RawListing) -> Text:
    """Title, price, channels."""
    text = Text(clean(listing.title)[:TITLE_SHOWN], "bold")
    text.append(_price(listing.price, listing.currency), "yellow")
    return text.append(f"  {clean(', '.join(listing.channels))}", "dim")


def action(event: BehaviourEvent) -> Text:
    """Action, product or query, price."""
    text = Text(clean(event.action), "bold")
    text.append(f"  {clean(str(event.product_id))}" if event.product_id else "")
    text.append(f"  “{clean(str(event.query))}”" if event.query else "", "italic")
    text.append(_price(event.price, event.currency), "yellow")
    return text.append(f"  {clean(event.channel)}", "dim")


def enriched(listing: EnrichedListing) -> Text:
    """Status, category path, attributes, keywords."""
    text = Text(listing.status, STATUS_STYLE.get(Status(listing.status), "") if listing.status in set(Status) else "")
    text.append(f"  {title(listing)[:TITLE_SHOWN]}", "bold")
    if not isinstance(listing.category, msgspec.UnsetType):
        text.append(f"  {category_path(listing)} {listing.category.score:.2f}", "cyan")
    for attribute in listing.attributes[:VALUES_SHOWN]:
        text.append(f"  {clean(attribute.name)}={clean(attribute.value)}")
        text.append(f" {attribute.producer.kind}", "dim")
    if listing.keywords:
        text.append("  # " + ", ".join(clean(k.text) for k in listing.keywords[:VALUES_SHOWN]), "magenta")
    if listing.reasons:
        text.append("  " + "; ".join(map(clean, listing.reasons)), "yellow")
    return text


def title(listing: EnrichedListing) -> str:
    """The title; empty for a rejected listing, which carries none."""
    return "" if isinstance(listing.listing, msgspec.UnsetType) else clean(listing.listing.title)


def category_path(listing: EnrichedListing) -> str:
    """`Clothing > Dresses`, or empty."""
    return "" if isinstance(listing.category, msgspec.UnsetType) else clean(" > ".join(listing.category.path))


def item_features(features: ItemFeatures) -> Text:
    """Views, carts, purchases by window."""
    parts = [f"{name} {w.views}v {w.carts}c {w.purchases}p" for name, w in features.windows.items()]
    total = features.totals
    return Text("  ".join([*parts, f"ever {total.views}v {total.carts}c {total.purchases}p"]))


def user_features(features: UserFeatures) -> Text:
    """Actions by window, session."""
    parts = [
        f"{name} " + ", ".join(f"{clean(a)} {n}" for a, n in sorted(window.actions.items()))
        for name, window in features.windows.items()
    ]
    session = f"session {features.session_events} events, {features.session_ms / 60_000:.1f} min"
    return Text("  ".join([*parts, session]))


def dead_letter(record: Any) -> Text:
    """Why it was refused, where it stood, and the first of what it held."""
    reason, field, value, rule = (_text(header(record.headers, name)) for name in (REASON, FIELD, VALUE, RULE))
    text = Text(f"{reason}  ", "bold red")
    text.append(f"{field} ", "yellow").append(f"{value} ").append(f"must be: {rule}", "green")
    where = [_text(header(record.headers, name)) for name in (ORIGIN_TOPIC, ORIGIN_PARTITION, ORIGIN_OFFSET)]
    return text.append(f"  from {where[0]}/{where[1]}@{where[2]}", "dim")


def clean(text: str) -> str:
    """`text` on one line, without anything that a terminal would act on."""
    return "".join(c if c.isprintable() else "�" if c not in "\t\n\r" else " " for c in text)


def _text(raw: bytes | None) -> str:
    return "-" if raw is None else clean(raw.decode("utf-8", "backslashreplace"))


def _price(price: object, currency: object) -> str:
    return f"  {price:g} {clean(str(currency))}" if isinstance(price, float) and currency is not UNSET else ""


def _decoded(value: bytes | None) -> Any:
    if value is None:
        return None
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return {"undecodable": shown(value)}


def write_json(documents: Sequence[dict[str, Any]]) -> str:
    """JSON lines; a lone surrogate stays an escape."""
    return "\n".join(json.dumps(d, ensure_ascii=_unencodable(d)) for d in documents)


def _unencodable(document: dict[str, Any]) -> bool:
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False
