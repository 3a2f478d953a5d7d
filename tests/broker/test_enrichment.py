"""The enrichment worker on the real broker: what goes in comes out enriched, in order, and nothing is lost."""

from __future__ import annotations

import json
import signal
from typing import Any

import msgspec
import pytest

from schemas.deadletter import FIELD, REASON, RULE, TOPIC
from schemas.envelope import Envelope, headers_of
from schemas.errors import RecordError
from schemas.listing import EnrichmentRequest, Revision, SourceEvent
from schemas.product import RawListing
from schemas.topics import (
    ENRICHMENT_REQUESTS,
    LISTING_ENRICHED,
    LISTING_FACTS,
    PRODUCT_CREATED,
    PRODUCT_DLQ,
    PRODUCT_SIDE,
    REVIEW_REQUESTED,
)
from stream.kafka.publish import partition_of
from tests.enrichment_env import NOW, Env
from tests.worker_kit import PARTITIONS, eventually

pytestmark = pytest.mark.broker

QUICK_BUDGET: dict[str, Any] = {"TRITON__LISTING_BUDGET_S": "1", "ENRICHMENT__RETRY_DELAY_S": "1"}


async def statuses(env: Env) -> dict[str, str]:
    """Status of the newest listing of each product."""
    return {key: value["status"] if value else "withdrawn" for key, value in (await env.newest()).items()}


async def test_an_event_comes_out_enriched_with_its_facts(env: Env) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    partition, offset = await env.emit("p1", price=12.0, currency="EUR", event_id="e1", traceparent=trace)
    worker = env.start()
    await env.settled()
    (record,) = await env.records(LISTING_ENRICHED)
    assert dict(record.headers)["traceparent"] == trace.encode()
    listing = (await env.newest())["p1"]
    assert listing is not None
    assert listing["status"] == "enriched"
    assert listing["revision"] == {"epoch": 0, "offset": offset, "attempt": 0}
    assert listing["source"]["partition"] == partition
    assert listing["category"]["path"] == ["Home", "Cups"]
    facts = (await env.newest(LISTING_FACTS))["p1"]
    assert facts is not None
    assert facts["category"] == ["home", "home.cups"]
    assert facts["price_band"] == "EUR:4"
    assert len(facts["event_id"]) == 16
    worker.signal(signal.SIGTERM)
    assert await worker.ended() == 0
    assert '"event": "drained"' in worker.text()


GOOD = {"product_id": "bad", "title": "never reaches the model"}
HEADERS = headers_of(Envelope("e-bad", "product.created", "/test", NOW))


def changed(**fields: Any) -> bytes:
    """The good value with other fields."""
    return json.dumps({**GOOD, **fields}).encode()


def with_header(name: str, value: bytes) -> list[tuple[str, bytes]]:
    """The good headers with one changed."""
    return [(n, value if n == name else v) for n, v in HEADERS]


BAD: dict[str, tuple[bytes | None, bytes | None, list[tuple[str, bytes]], str, str]] = {
    # name: key, value, headers, reason, what the rule or field must say
    "not json": (b"bad", b"{nope", HEADERS, "not-json", "JSON"),
    "wrong type": (b"bad", changed(price="12"), HEADERS, "invalid-field", "$.price"),
    "missing title": (b"bad", b'{"product_id": "bad"}', HEADERS, "missing-field", "$.title"),
    "missing key": (None, changed(), HEADERS, "missing-key", "key"),
    "key mismatch": (b"other", changed(), HEADERS, "key-mismatch", "key"),
    "absurd time": (b"bad", changed(), with_header("ce_time", b"1970-01-20T00:00:00Z"), "implausible-time", "ce_time"),
    "absurd price": (b"bad", changed(price=1e12, currency="EUR"), HEADERS, "invalid-field", "$.price"),
    "900 KB title": (b"bad", changed(title="x" * 900_000), HEADERS, "invalid-field", "$.title"),
    "lone surrogate": (b"bad", b'{"product_id":"bad","title":"a\\ud800b"}', HEADERS, "bad-encoding", "surrogate"),
    "empty text": (b"bad", changed(title=" "), HEADERS, "invalid-field", "$.title"),
    "unknown language": (b"bad", changed(language="xx"), HEADERS, "invalid-field", "$.language"),
    "image is a path": (b"bad", changed(images=["/etc/passwd"]), HEADERS, "invalid-field", "$.images"),
    "no headers": (b"bad", changed(), [], "missing-header", "CloudEvents"),
    "null value": (b"bad", None, HEADERS, "missing-field", "value"),
    "deep nesting": (b"bad", b"[" * 100_000, HEADERS, "invalid-field", "object"),
}


async def test_every_bad_record_is_parked_with_its_reason_and_never_reaches_the_model(env: Env) -> None:
    sources: dict[tuple[int, int], str] = {}
    for name, (key, value, headers, _, _) in BAD.items():
        sources[await env.raw(key, value, headers)] = name
    await env.raw(b"bad", changed(), with_header("ce_type", b"product.teleported"))
    await env.emit("good", "A good cup")
    worker = env.start()
    await env.settled()
    parked = {}
    for record in await env.records(PRODUCT_DLQ):
        found = dict(record.headers)
        place = int(found["__streams.errors.partition"]), int(found["__streams.errors.offset"])
        parked[sources[place]] = (record, {k: (v or b"").decode() for k, v in found.items() if k != "ce_id"})
    assert parked.keys() == BAD.keys()
    for name, (key, value, headers, reason, says) in BAD.items():
        record, found = parked[name]
        assert found[REASON] == reason, name
        assert says in f"{found[FIELD]} {found[RULE]}", name
        assert found[TOPIC] == env.named(PRODUCT_CREATED)
        assert (record.key, record.value) == (key, value)
        assert list(record.headers[: len(headers)]) == headers
        assert worker.metric("shangxin_parked_total", reason=reason, topic=env.named(PRODUCT_CREATED)) > 0
    (aside,) = await env.records(PRODUCT_SIDE)
    assert dict(aside.headers)[REASON] == b"unknown-type"
    assert env.titles_seen() == ["A good cup"]
    assert await statuses(env) == {"good": "enriched"}


async def test_a_record_over_the_limit_is_refused_at_the_producer(env: Env) -> None:
    with pytest.raises(RecordError, match=r"at most 1,048,576 bytes.*max\.message\.bytes"):
        await env.raw(b"p1", b"x" * 1_100_000, HEADERS)
    # The largest that is taken is parked whole: the dead-letter topic has room for the reason as well.
    await env.raw(b"p1", b"x" * 1_048_000, HEADERS)
    env.start()
    await env.settled()
    (record,) = await env.records(PRODUCT_DLQ)
    assert len(record.value) == 1_048_000


async def test_a_record_on_the_wrong_partition_is_sent_to_the_right_one(env: Env) -> None:
    right = partition_of(b"p1", PARTITIONS)
    wrong = 1 - right
    await env.raw(b"p1", json.dumps({"product_id": "p1", "title": "Cup"}).encode(), HEADERS, partition=wrong)
    worker = env.start()
    await env.settled()
    listing = (await env.newest())["p1"]
    assert listing is not None
    assert listing["source"]["partition"] == right
    assert worker.metric("shangxin_events_total", outcome="forwarded", topic=env.named(PRODUCT_CREATED)) == 1


async def test_updates_of_a_product_keep_their_order_under_concurrency(env: Env) -> None:
    worker = env.start(TRITON__MAX_BATCH="4")
    await worker.ready()
    last = {}
    for number in range(30):
        for product in ("p1", "p2", "p3", "p4"):
            last[product] = (await env.emit(product, f"Cup {number}"))[1]
    await env.settled()
    seen: dict[bytes, int] = {}
    for record in await env.records(LISTING_ENRICHED):
        offset = json.loads(record.value)["revision"]["offset"]
        assert offset > seen.get(record.key, -1)
        seen[record.key] = offset
    assert {key.decode(): offset for key, offset in seen.items()} == last


async def test_a_repeated_event_is_dropped_also_after_another_and_after_a_restart(env: Env) -> None:
    await env.emit("p1", "First", event_id="e1")
    await env.emit("p1", "Second", event_id="e2")
    await env.emit("p1", "First", event_id="e1")
    worker = env.start()
    await env.settled()
    assert worker.metric("shangxin_events_total", outcome="duplicate", topic=env.named(PRODUCT_CREATED)) == 1
    worker.signal(signal.SIGTERM)
    assert await worker.ended() == 0
    await env.emit("p1", "Second", event_id="e2")
    again = env.start()
    await env.settled()
    assert again.metric("shangxin_events_total", outcome="duplicate", topic=env.named(PRODUCT_CREATED)) == 1
    listing = (await env.newest())["p1"]
    assert listing is not None
    assert listing["listing"]["title"] == "Second"
    assert len(await env.records(LISTING_ENRICHED)) == 2


async def test_the_same_id_from_another_source_is_another_event(env: Env) -> None:
    for source, title in (("/shop/a", "First"), ("/shop/b", "Second")):
        value = json.dumps({"product_id": "p1", "title": title}).encode()
        await env.raw(b"p1", value, headers_of(Envelope("1", "product.updated", source, NOW)))
    env.start()
    await env.settled()
    listing = (await env.newest())["p1"]
    assert listing is not None
    assert listing["listing"]["title"] == "Second"


async def test_a_late_request_does_not_bring_a_withdrawn_product_back(env: Env) -> None:
    _, offset = await env.emit("p1", "Cup")
    await env.emit("p1", type_="product.withdrawn")
    worker = env.start()
    await env.settled()
    assert await env.newest() == {"p1": None}
    facts = (await env.newest(LISTING_FACTS))["p1"]
    assert facts is not None
    assert facts["withdrawn"] is True
    for revision in (Revision(0, offset, 1), Revision(0, offset + 5, 1)):
        await request(env, revision)
    await env.settled()
    assert await env.newest() == {"p1": None}
    topic = env.named(ENRICHMENT_REQUESTS)
    assert worker.metric("shangxin_events_total", outcome="superseded", topic=topic) == 2
    await env.emit("p1", "Cup again")
    await env.settled()
    assert await statuses(env) == {"p1": "enriched"}


async def request(env: Env, revision: Revision, title: str = "Cup", product: str = "p1") -> None:
    """Write a request, as an operator's tool would."""
    source = SourceEvent(
        id="e", type="product.created", source="/t", topic="t", partition=0, offset=revision.offset, time=NOW
    )
    value = EnrichmentRequest(
        product_id=product,
        kind="backfill",
        revision=revision,
        source=source,
        listing=RawListing(product_id=product, title=title),
        requested_at=NOW,
    )
    headers = headers_of(Envelope("r", "enrichment.requested", "/t", NOW))
    await env.raw(product.encode(), msgspec.json.encode(value), headers, topic=ENRICHMENT_REQUESTS)


async def test_a_request_enriches_again_and_a_bad_one_is_parked(env: Env) -> None:
    _, offset = await env.emit("p1", "Cup")
    env.start()
    await env.settled()
    await request(env, Revision(0, offset, 1), title="Cup with a new model")
    await env.raw(b"p1", b"{}", HEADERS, topic=ENRICHMENT_REQUESTS)
    await env.raw(b"p1", None, [], topic=ENRICHMENT_REQUESTS)
    await env.settled()
    listing = (await env.newest())["p1"]
    assert listing is not None
    assert listing["revision"]["attempt"] == 1
    assert listing["listing"]["title"] == "Cup with a new model"
    (aside,) = await env.records(PRODUCT_SIDE)
    assert dict(aside.headers)[TOPIC] == env.named(ENRICHMENT_REQUESTS).encode()


async def test_unsafe_listings_go_to_review_and_harmful_ones_are_hidden(env: Env) -> None:
    await env.emit("p1", "[unsafe] cup")
    await env.emit("p2", "[harmful] cup")
    env.start()
    await env.settled()
    assert await statuses(env) == {"p1": "in_review", "p2": "rejected"}
    reviews = await env.newest(REVIEW_REQUESTED)
    assert list(reviews) == ["p1"]
    assert reviews["p1"] is not None
    assert reviews["p1"]["reasons"] == ["safety 0.300 is under 0.5: a person must look"]
    records = await env.records(LISTING_ENRICHED) + await env.records(LISTING_FACTS)
    assert not [r for r in records if r.key == b"p2" and b"harmful" in r.value]


async def test_a_listing_the_model_cannot_answer_goes_out_degraded_and_is_enriched_later(env: Env) -> None:
    await env.emit("p1", "[down-once] cup", brand="Zeta")
    worker = env.start(**QUICK_BUDGET, ENRICHMENT__MAX_TRIES="50")
    found = await eventually("degraded", lambda: statuses(env))
    assert found == {"p1": "degraded"}
    listing = (await env.newest())["p1"]
    assert listing is not None
    assert "did not answer in time" in listing["reasons"][0]
    assert [(a["name"], a["producer"]["kind"]) for a in listing["attributes"]] == [("brand", "seller")]
    # The waiting request holds back nobody's events.
    others = 1
    await env.emit("other-1", "Cup")

    async def another() -> bool:
        # On a busy machine an answer may miss the short budget of this test; the next one need not.
        nonlocal others
        found = await statuses(env)
        if found.get(f"other-{others}") == "degraded":
            others += 1
            await env.emit(f"other-{others}", "Cup")
        return "enriched" in found.values()

    await eventually("another one enriched while p1 waits", another)
    assert (await statuses(env))["p1"] == "degraded"
    env.back.touch()

    async def first() -> bool:
        return (await statuses(env))["p1"] == "enriched"

    await eventually("p1 enriched later", first)
    await env.settled()
    listing = (await env.newest())["p1"]
    assert listing is not None
    assert listing["revision"]["attempt"] >= 1
    assert worker.process.poll() is None


async def test_tries_are_bounded_and_the_listing_says_so(env: Env) -> None:
    await env.emit("p1", "[down] cup")
    env.start(**QUICK_BUDGET, ENRICHMENT__MAX_TRIES="2")

    async def given_up() -> bool:
        listing = (await env.newest()).get("p1")
        return listing is not None and "given up after 2 tries" in listing["reasons"][0]

    await eventually("given up", given_up)
    await env.settled()
    assert len(await env.records(ENRICHMENT_REQUESTS)) == 2
    assert await statuses(env) == {"p1": "degraded"}


async def test_a_failing_backfill_leaves_the_enriched_listing_alone(env: Env) -> None:
    _, offset = await env.emit("p1", "Cup")
    env.start(**QUICK_BUDGET, ENRICHMENT__MAX_TRIES="1")
    await env.settled()
    await request(env, Revision(0, offset, 1), title="[down] cup")
    await env.settled()
    assert await statuses(env) == {"p1": "enriched"}


async def test_a_listing_the_model_cannot_read_goes_out_degraded_once(env: Env) -> None:
    await env.emit("p1", "[fault] cup")
    worker = env.start()
    await env.settled()
    listing = (await env.newest())["p1"]
    assert listing is not None
    assert listing["status"] == "degraded"
    assert listing["reasons"] == ["the model cannot read the listing: the fake model cannot read this"]
    assert await env.records(ENRICHMENT_REQUESTS) == []
    assert worker.metric("shangxin_degraded_total", reason="fault") == 1


async def test_a_listing_whose_record_would_be_too_large_is_parked_with_nothing_left_behind(env: Env) -> None:
    attributes = {f"n{i}": ["v" * 100 + str(j) for j in range(50)] for i in range(150)}
    await env.emit("p1", "Cup", attributes=attributes)
    env.start(TOPICS__MAX_MESSAGE_BYTES="262144")
    await env.settled()
    (record,) = await env.records(PRODUCT_DLQ)
    assert dict(record.headers)[REASON] == b"too-large"
    assert await env.records(LISTING_FACTS) == []
