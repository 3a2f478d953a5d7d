"""Rules 1 to 4 by force: the worker is killed, stopped and drained, and every product still comes out as it should."""

from __future__ import annotations

import json
import signal
from typing import Any

import msgspec
import pytest

from inference.client import Answer
from inference.contract import ListingResult
from schemas.listing import EnrichedListing, Revision, SourceEvent
from schemas.product import RawListing
from schemas.topics import LISTING_ENRICHED, LISTING_FACTS, PRODUCT_CREATED
from stream.enrichment.assemble import enriched_from, model_input
from stream.enrichment.facts import facts_of
from stream.enrichment.verdict import Known, event_key
from stream.enrichment.work import Work
from stream.faults import FaultPoint
from stream.settings import EnrichmentSettings
from tests.enrichment_env import NOW, Env
from tests.fake_model import embedding_of, result_of
from tests.worker_kit import eventually

pytestmark = [pytest.mark.broker, pytest.mark.chaos]

PRODUCTS = 8


class Expected:
    """What the newest records must be, computed from what was emitted, without a worker."""

    def __init__(self) -> None:
        self.listings: dict[str, dict[str, Any] | None] = {}
        self.facts: dict[str, dict[str, Any]] = {}

    def enriched(self, env: Env, product: str, title: str, place: tuple[int, int], event_id: str) -> None:
        """The newest event of a product is this snapshot."""
        partition, offset = place
        listing = RawListing(product_id=product, title=title)
        source = SourceEvent(
            id=event_id,
            type="product.created",
            source="/test",
            topic=env.named(PRODUCT_CREATED),
            partition=partition,
            offset=offset,
            time=NOW,
        )
        asked = model_input(listing)
        result = result_of(asked)
        assert isinstance(result, ListingResult)
        answer = Answer(result, embedding_of(title))
        work = Work(NoRecord(), 0, product, Revision(0, offset), source, listing, 0)
        made = enriched_from(work, listing, answer, EnrichmentSettings(), 0)
        self.listings[product] = plain(made)
        ids = (event_key(source), *self._ids(product))
        facts = facts_of(made, answer, Known(work.revision, ids, False, NOW))
        self.facts[product] = msgspec.json.decode(msgspec.json.encode(facts))

    def withdrawn(self, product: str) -> None:
        """The newest event of a product is its withdrawal."""
        self.listings[product] = None

    def _ids(self, product: str) -> list[str]:
        facts = self.facts.get(product)
        return [facts["event_id"], *facts.get("earlier_ids", [])] if facts else []


class NoRecord:
    """A record of no place: the expectation needs none."""

    topic, partition, offset, key, value = "", 0, 0, None, None
    headers: tuple[tuple[str, bytes | None], ...] = ()


def plain(listing: EnrichedListing | dict[str, Any]) -> dict[str, Any]:
    """A listing without the times of this run."""
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(listing))
    found["times"] = found["times"]["event"]
    return found


async def emit_all(env: Env) -> Expected:
    """Events, updates and a withdrawal, with no traffic after them."""
    expected = Expected()
    for number in range(PRODUCTS):
        for version in ("first", "second"):
            product, title, event_id = f"p{number}", f"{version} cup {number}", f"e-{number}-{version}"
            place = await env.emit(product, title, event_id=event_id)
            expected.enriched(env, product, title, place, event_id)
    await env.emit("p0", type_="product.withdrawn", event_id="gone")
    expected.withdrawn("p0")
    return expected


async def check(env: Env, expected: Expected) -> None:
    """The newest records equal the expectation, and no listing ever went back to an older revision."""
    newest = await env.newest()
    assert {key: value and plain(value) for key, value in newest.items()} == expected.listings
    facts = await env.newest(LISTING_FACTS)
    assert facts.keys() == expected.listings.keys()
    for product, listing in expected.listings.items():
        found = facts[product]
        assert found is not None
        assert found.get("withdrawn", False) is (listing is None)
        if listing is not None:
            assert found == expected.facts[product]
    await check_order(env)


async def check_order(env: Env) -> None:
    """Revisions of a product never fall in `listing-enriched`."""
    seen: dict[bytes, tuple[int, int, int]] = {}
    for record in await env.records(LISTING_ENRICHED):
        if record.value is None:
            continue
        revision = json.loads(record.value)["revision"]
        now = (revision["epoch"], revision["offset"], revision.get("attempt", 0))
        assert now >= seen.get(record.key, (0, -1, 0)), f"{record.key!r} went back from {seen[record.key]} to {now}"
        seen[record.key] = now


# 17 events pass each point: the first of eight products, then their updates, then a withdrawal. A loss at
# the 1st is made good by the update; at the 12th and the 17th nothing comes after it on that product.
# One commit may cover everything, so there may be no second.
KILLS = [(point, n) for point in FaultPoint for n in (1, 12, 17) if n == 1 or point is not FaultPoint.BEFORE_COMMIT]


@pytest.mark.parametrize(("point", "count"), KILLS)
async def test_killed_at_a_fault_point_every_product_comes_out(env: Env, point: FaultPoint, count: int) -> None:
    expected = await emit_all(env)
    worker = env.start(WORKER__FAULT=f"{point}:{count}")
    assert await worker.ended() == -signal.SIGKILL
    env.start()
    await env.settled()
    await check(env, expected)


async def test_killed_again_and_again_every_product_is_as_it_should_be(env: Env) -> None:
    expected = await emit_all(env)
    for point in (FaultPoint.AFTER_CHANGELOG, FaultPoint.AFTER_PUBLISH, FaultPoint.AFTER_CHANGELOG):
        worker = env.start(WORKER__FAULT=f"{point}:4")
        assert await worker.ended() == -signal.SIGKILL
    env.start()
    await env.settled()
    await check(env, expected)


async def test_a_stopped_worker_that_wakes_up_writes_nothing_over_its_successor(env: Env) -> None:
    await env.emit("p1", "[slow] old cup", event_id="old")
    first = env.start(0)
    await eventually("the old one is with the model", lambda: env.titles_seen() == ["[slow] old cup"])
    place = await env.emit("p1", "new cup", event_id="new")
    expected = Expected()
    expected.enriched(env, "p1", "[slow] old cup", (place[0], place[1] - 1), "old")
    expected.enriched(env, "p1", "new cup", place, "new")
    first.signal(signal.SIGSTOP)
    second = env.start(1)
    await second.ready()
    # The first worker's session ends while it sleeps; then the second owns everything.
    await eventually("the second works on it", lambda: env.titles_seen().count("[slow] old cup") == 2)
    env.back.touch()
    await env.settled()
    await check(env, expected)
    before = len(await env.records(LISTING_ENRICHED))
    first.signal(signal.SIGCONT)
    # It ends as fenced, or joins again with nothing to do: both are right, writing is not.
    await eventually(
        "the first noticed", lambda: first.process.poll() is not None or "revoked" in first.text().split("ready")[-1]
    )
    await env.emit("p2", "another cup")
    await env.settled()
    after = [r for r in await env.records(LISTING_ENRICHED) if r.key == b"p1"]
    assert len(after) == before
    await check_order(env)
    if first.process.poll() is not None:
        assert first.process.returncode == 1
        assert '"error": "Fenced"' in first.text()


async def test_two_workers_of_one_instance_id_leave_one(env: Env) -> None:
    first = env.start(0)
    await first.ready()
    expected = Expected()
    place = await env.emit("p1", "[slow] cup", event_id="e1")
    expected.enriched(env, "p1", "[slow] cup", place, "e1")
    await eventually("it is with the model", lambda: bool(env.titles_seen()))
    second = env.start(0)
    assert await first.ended() == 1
    assert "another process runs under its kafka.instance_id" in first.text()
    await second.ready()
    env.back.touch()
    await env.settled()
    await check(env, expected)


async def test_sigterm_finishes_what_is_in_flight_and_commits_it(env: Env) -> None:
    expected = Expected()
    for number in range(40):
        place = await env.emit(f"p{number}", f"cup {number}", event_id=f"e{number}")
        expected.enriched(env, f"p{number}", f"cup {number}", place, f"e{number}")
    worker = env.start(ENRICHMENT__MAX_IN_FLIGHT="8")
    await eventually("some are with the model", lambda: len(env.titles_seen()) >= 4)
    worker.signal(signal.SIGTERM)
    assert await worker.ended() == 0
    assert '"complete": true' in worker.text()
    published = len(await env.newest())
    lag = await env.lag()
    assert published + lag == 40, "everything published was committed, everything else was not"
    env.start()
    await env.settled()
    await check(env, expected)
    assert len(await env.records(LISTING_ENRICHED)) == 40


async def test_sigterm_gives_up_at_its_deadline_and_the_rest_is_read_again(env: Env) -> None:
    place = await env.emit("p1", "[slow] cup", event_id="e1")
    worker = env.start()
    await eventually("it is with the model", lambda: bool(env.titles_seen()))
    worker.signal(signal.SIGTERM)
    assert await worker.ended(limit_s=env.settings.kafka.drain_timeout_s + 5) == 0
    assert '"complete": false' in worker.text()
    assert await env.newest() == {}
    env.back.touch()
    env.start()
    await env.settled()
    expected = Expected()
    expected.enriched(env, "p1", "[slow] cup", place, "e1")
    await check(env, expected)


async def test_workers_that_come_and_go_lose_nothing_and_never_go_back(env: Env) -> None:
    expected = Expected()

    async def emit(version: int) -> None:
        for number in range(PRODUCTS):
            product, title, event_id = f"p{number}", f"cup {number} v{version}", f"e-{number}-{version}"
            place = await env.emit(product, title, event_id=event_id)
            expected.enriched(env, product, title, place, event_id)

    first = env.start(0)
    await emit(0)
    await first.ready()
    second = env.start(1)
    await emit(1)
    await second.ready()
    await emit(2)
    first.process.kill()
    await emit(3)
    await env.settled()
    third = env.start(0)
    await emit(4)
    await third.ready()
    second.signal(signal.SIGTERM)
    await emit(5)
    assert await second.ended() == 0
    await env.settled()
    newest = await env.newest()
    assert {key: value and plain(value) for key, value in newest.items()} == expected.listings
    await check_order(env)
