"""The demo's tally, summary and screen, on records as the broker gives them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from rich.console import Console

from inference.taxonomy.tree import load_taxonomy
from schemas.deadletter import parked_headers
from schemas.errors import Reason, RecordError
from schemas.listing import Category, EnrichedListing, Producer, Revision, SourceEvent, Times
from schemas.product import RawListing
from schemas.topics import LISTING_ENRICHED, PRODUCT_CREATED, PRODUCT_DLQ, PRODUCT_SIDE, TOPICS, Topic
from stream.demo import screen as screens
from stream.demo.latency import Latencies
from stream.demo.scenario import Scenario, Size, build
from stream.demo.summary import Summary, records_out, shortfalls, table
from stream.demo.tally import Tally

NOW = 1_760_000_000_000
SUMMARY_FIELDS = [
    "events_in", "records_out", "dead_letters", "lag", "latency_ms", "seconds", "broker", "triton", "model_version",
]  # fmt: skip


def kafka_record(
    topic: Topic, key: str, value: bytes | None, *, offset: int = 0, at: int = NOW, headers: Any = ()
) -> Any:
    return SimpleNamespace(
        topic=topic.name, partition=1, offset=offset, key=key.encode(), value=value, headers=headers, timestamp=at
    )


def enriched(product: str, offset: int, received: int, published: int, title: str = "Mug") -> bytes:
    model = Producer("model", "listing", "v0")
    listing = EnrichedListing(
        product_id=product,
        revision=Revision(0, offset),
        status="enriched",
        source=SourceEvent(
            id="e", type="product.created", source="s", topic="product-created", partition=1, offset=offset, time=NOW
        ),
        listing=RawListing(product_id=product, title=title),
        times=Times(NOW, received, published),
        category=Category(taxonomy="t", node="kitchen", path=["Kitchen", "Mugs"], score=0.9, producer=model),
        models={"listing": "v0-abc"},
    )
    return msgspec.json.encode(listing)


@pytest.fixture
def tally() -> Tally:
    found = Tally()
    found.add(PRODUCT_CREATED, kafka_record(PRODUCT_CREATED, "p1", b"{}", offset=7, at=NOW), NOW)
    value = enriched("p1", 7, NOW + 10, NOW + 110)
    found.add(LISTING_ENRICHED, kafka_record(LISTING_ENRICHED, "p1", value, at=NOW + 115), NOW + 120)
    return found


def test_latency_runs_from_the_events_append_to_each_stage(tally: Tally) -> None:
    p50 = {stage: q["p50"] for stage, q in tally.latencies.summary().items()}
    assert p50 == {
        "enrichment": 115.0,
        "enrichment.queue": 10.0,
        "enrichment.work": 100.0,
        "enrichment.publish": 5.0,
        "enrichment.seen": 120.0,
    }


def test_quantiles_are_those_of_the_observations() -> None:
    found = Latencies()
    for ms in range(101):
        found.add("x", ms)
    assert found.summary() == {"x": {"p50": 50.0, "p99": 99.0}}


def test_dead_letters_and_side_records_are_counted_apart_by_reason(tally: Tally) -> None:
    for topic, reason in (
        (PRODUCT_DLQ, Reason.NOT_JSON),
        (PRODUCT_DLQ, Reason.NOT_JSON),
        (PRODUCT_SIDE, Reason.UNKNOWN_TYPE),
    ):
        headers = parked_headers([], RecordError(reason, "$", b"x", "a rule"), "product-created", 1, 2)
        tally.add(topic, kafka_record(topic, "p", b"x", headers=headers), NOW)
    assert (dict(tally.dead), dict(tally.aside)) == ({"not-json": 2}, {"unknown-type": 1})


def test_a_tombstone_withdraws(tally: Tally) -> None:
    tally.add(LISTING_ENRICHED, kafka_record(LISTING_ENRICHED, "p1", None), NOW)
    assert tally.status == {"p1": "withdrawn"}
    assert not tally.listings


def complete(scene: Scenario) -> Tally:
    found = Tally()
    found.status = {p: "withdrawn" if s == "withdrawn" else "enriched" for p, s in scene.final_states().items()}
    found.dead.update({r: n for r, n in scene.expected.items() if r not in ("unknown-type", "too-large")})
    found.aside["unknown-type"] = scene.expected["unknown-type"]
    return found


def test_a_shortfall_names_what_is_missing_and_nothing_else() -> None:
    scene = build(Size(products=0, events=50), 1_048_576, NOW)
    assert shortfalls(scene, complete(scene), scene.refused_here) == []
    lost = complete(scene)
    lost.dead["not-json"] -= 1
    lost.status["sx-zh-0001"] = "nothing"
    lost.status["sx-zh-0005"] = "enriched"
    assert shortfalls(scene, lost, 0) == [
        f"{scene.expected['not-json']} records should have been refused as not-json, {lost.dead['not-json']} were",
        "1 records should have been refused as too-large, 0 were",
        "sx-zh-0001 should be listed, the newest record says nothing",
        "sx-zh-0005 should be withdrawn, the newest record says enriched",
    ]


def test_a_record_parked_twice_after_a_kill_is_no_shortfall() -> None:
    scene = build(Size(products=0, events=50), 1_048_576, NOW)
    twice = complete(scene)
    twice.dead["not-json"] += 1
    assert shortfalls(scene, twice, scene.refused_here) == []


def test_the_summary_has_exactly_its_fields(tally: Tally, tmp_path: Path) -> None:
    summary = Summary(
        events_in=1,
        records_out=records_out(tally),
        dead_letters={},
        lag=0,
        latency_ms=tally.latencies.summary(),
        seconds={"setup": 1.0, "first_enriched": 2.0, "replay": 3.0},
        broker="maven 4.3.1",
        triton="pip 2.51.0",
        model_version="v0-abc",
    )
    file = tmp_path / "new" / "summary.json"
    summary.write(file)
    read = json.loads(file.read_text())
    assert list(read) == SUMMARY_FIELDS
    assert read["records_out"]["listing-enriched"] == 1
    assert read["records_out"]["user-profile-updated"] == 0
    assert "product-created" not in read["records_out"]
    console = Console(file=io.StringIO(), width=120)
    console.print(table(summary, aside=1, refused=1))


class State:
    """What the run gives the screen."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.total, self.sent, self.at = 10, 4, NOW
        self.lag = {"enrichment": 3}
        self.where = "here"


def test_without_a_terminal_there_are_plain_lines(tally: Tally) -> None:
    out = io.StringIO()
    with screens.screen(Console(file=out, width=200), load_taxonomy()) as shown:
        shown.draw(State(tally))
        shown.draw(State(tally))  # too soon for a second line
    lines = out.getvalue().splitlines()
    assert len(lines) == 2
    assert "sent 4/10  enriched 1" in lines[0]
    assert "lag: enrichment 3" in lines[0]
    assert lines[1].strip() == "Kitchen > Mugs  |  Mug  |  enriched  |  115 ms"
    assert "\x1b" not in out.getvalue()


def test_on_a_terminal_there_is_a_table_with_all_parts(tally: Tally) -> None:
    out = io.StringIO()
    console = Console(file=out, width=160, height=50, force_terminal=True)
    with screens.screen(console, load_taxonomy()) as shown:
        shown.draw(State(tally))
    for part in ("replay", "listings", "profiles", "item features", "Kitchen > Mugs", "115 ms", "dead", "lag"):
        assert part in out.getvalue()


def test_a_hostile_title_reaches_the_screen_harmless(tally: Tally) -> None:
    value = enriched("p2", 8, NOW, NOW, title="mug\x1b[2J[bold]\x07")
    tally.add(LISTING_ENRICHED, kafka_record(LISTING_ENRICHED, "p2", value), NOW)
    out = io.StringIO()
    with screens.screen(Console(file=out, width=200), load_taxonomy()) as shown:
        shown.draw(State(tally))
    assert "\x1b" not in out.getvalue()
    assert "mug�[2J[bold]�" in out.getvalue()


def test_every_topic_can_be_tallied() -> None:
    found = Tally()
    for topic in TOPICS:
        if topic.value is None or topic is PRODUCT_CREATED:
            found.add(topic, kafka_record(topic, "k", b"x"), NOW)
    assert sum(found.seen.values()) > 3
