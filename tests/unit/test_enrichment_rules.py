"""The rules of enrichment without Kafka: verdicts, values, status, facts, retries, lanes, held requests, file mode."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from inference.client import Answer
from inference.contract import MOST_CLAIMS, ListingInput, ListingResult, Span
from schemas.envelope import Envelope, headers_of
from schemas.errors import Reason, RecordError, UnknownType
from schemas.listing import EnrichmentRequest, RequestKind, Revision, SourceEvent, Status
from schemas.product import RawListing, Withdrawal
from schemas.vector import pack_float32, pack_int8, unpack
from stream.enrichment.assemble import degraded_from, enriched_from, model_input
from stream.enrichment.facts import facts_of, gone_facts
from stream.enrichment.held import Held
from stream.enrichment.intake import Intake, WrongPartition, read_request
from stream.enrichment.quality import RULES, quality
from stream.enrichment.retry import next_request
from stream.enrichment.values import attributes
from stream.enrichment.vectors import float32_vector, int8_vector
from stream.enrichment.verdict import EARLIER_IDS, Known, Verdict, event_key, judge, known_after, known_from
from stream.enrichment.work import Work
from stream.kafka.publish import partition_of
from stream.prices import price_band
from stream.settings import EnrichmentSettings, Settings
from tests.fake_model import WRONG, embedding_of, result_of
from tests.unit.test_kafka_parts import Raw

NOW = 1_780_000_000_000
SETTINGS = EnrichmentSettings()


def listing(**fields: Any) -> RawListing:
    """A snapshot."""
    return RawListing(**{"product_id": "p1", "title": "Blue ceramic cup", **fields})


def work(
    offset: int = 5,
    attempt: int = 0,
    event_id: str = "e5",
    *,
    value: RawListing | Withdrawal | None = None,
    **more: Any,
) -> Work:
    """Work of p1 at an offset."""
    source = SourceEvent(
        id=event_id, type="product.created", source="/t", topic="product-created", partition=0, offset=offset, time=NOW
    )
    return Work(
        Raw(b"{}", key=b"p1", partition=0, offset=offset),
        1,
        "p1",
        Revision(0, offset, attempt),
        source,
        value or listing(),
        NOW + 1,
        **more,
    )


def request(tries: int = 1, kind: str = RequestKind.RETRY, **more: Any) -> EnrichmentRequest:
    """A request for p1."""
    base = work()
    fields = {"revision": Revision(0, 5, tries), "source": base.source, "listing": listing(), "requested_at": NOW}
    return EnrichmentRequest(product_id="p1", kind=kind, tries=tries, **{**fields, **more})


def known(offset: int = 5, attempt: int = 0, ids: tuple[str, ...] = ("e5",), withdrawn: bool = False) -> Known:
    """What was applied; ids of the events of `work`."""
    return Known(Revision(0, offset, attempt), keys(*ids), withdrawn, NOW)


def keys(*ids: str) -> tuple[str, ...]:
    """What events of these ids are known by."""
    return tuple(event_key(work(event_id=each).source) for each in ids)


# --- verdicts --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "what", "verdict"),
    [
        (None, work(), Verdict.APPLY),
        (known(), work(), Verdict.REPLAY),
        (known(attempt=1), work(), Verdict.SUPERSEDED),
        (known(offset=9, ids=("e9",)), work(), Verdict.SUPERSEDED),
        (known(offset=4, ids=("e4",)), work(), Verdict.APPLY),
        (known(offset=4, ids=("e5",)), work(), Verdict.DUPLICATE),
        (known(offset=4, ids=("e4", "e5")), work(), Verdict.DUPLICATE),
        (known(), work(attempt=1, request=request()), Verdict.APPLY),
        (known(withdrawn=True), work(attempt=1, request=request()), Verdict.SUPERSEDED),
        (known(offset=4, ids=("e4",), withdrawn=True), work(), Verdict.APPLY),
    ],
)
def test_the_verdict_on_work(before: Known | None, what: Work, verdict: Verdict) -> None:
    assert judge(before, what) is verdict


def test_a_higher_epoch_wins_over_any_offset() -> None:
    assert (
        judge(Known(Revision(0, 900), ("x",), False, NOW), replace_revision(work(3), Revision(1, 3))) is Verdict.APPLY
    )


def replace_revision(what: Work, revision: Revision) -> Work:
    """The same work under another revision."""
    return Work(what.record, what.generation, what.product_id, revision, what.source, what.listing, what.received)


def test_ids_are_remembered_within_a_bound_and_the_same_after_a_replay() -> None:
    state: Known | None = None
    for offset in range(8):
        state = known_after(state, work(offset, event_id=f"e{offset}"))
    assert state is not None
    assert state.ids == keys("e7", "e6", "e5", "e4")
    assert len(state.ids) == EARLIER_IDS + 1
    assert known_after(state, work(7, event_id="e7")) == state


def test_the_launch_is_the_first_event_since_the_last_withdrawal() -> None:
    first = known_after(None, work(1))
    gone = known_after(first, work(2, event_id="e2", value=Withdrawal(product_id="p1")))
    assert gone.withdrawn
    assert gone.launched_at == first.launched_at
    later = work(3, event_id="e3")
    again = known_after(gone, Work(**{**vars(later), "source": replace(later.source, time=NOW + 99)}))
    assert again.launched_at == NOW + 99


def test_the_state_gives_back_what_was_known() -> None:
    after = known_after(known_after(None, work(4, event_id="e4")), work(5))
    enriched = enriched_from(work(), listing(), answer(), SETTINGS, NOW)
    assert known_from(facts_of(enriched, answer(), after)) == after
    gone = known_after(after, work(6, event_id="e6", value=Withdrawal(product_id="p1")))
    assert known_from(gone_facts("p1", gone)) == gone


# --- values ----------------------------------------------------------------------------


def answer(title: str = "Blue ceramic cup", **changes: Any) -> Answer:
    """The fake model's answer, with changes."""
    result = result_of(ListingInput(title=title))
    assert isinstance(result, ListingResult)
    return Answer(replace(result, **changes), embedding_of(title))


def span(label: str, text: str, score: float = 0.9) -> Span:
    """A span at the start of the title."""
    return Span(label=label, text=text, score=score, field="title", start=0, end=len(text))


def result_with(*spans: Span) -> ListingResult:
    """A result with these attributes and no brand."""
    found = answer(attributes=list(spans), spans=[]).answer
    assert isinstance(found, ListingResult)
    return found


def test_the_sellers_value_wins_and_the_difference_is_recorded() -> None:
    found = attributes(
        listing(attributes={"Colour": "Red"}, seller="s1"), result_with(span("colour", "Blue"), span("size", "L", 0.4))
    )
    colour, size = found
    assert (colour.name, colour.value, colour.score) == ("Colour", "Red", 1.0)
    assert (colour.producer.kind, colour.producer.name) == ("seller", "s1")
    assert [(d.value, d.producer.kind) for d in colour.disagrees] == [("Blue", "model")]
    assert (size.name, size.producer.kind, size.producer.version) == ("size", "model", "fake-1")
    assert size.evidence is not None


def test_the_same_value_in_other_letters_is_no_disagreement() -> None:
    (only,) = attributes(listing(attributes={"colour": ["BLUE", "red"]}), result_with(span("Colour", "Ｂlue")))[:1]
    assert only.disagrees == []


def test_a_brand_of_null_keeps_the_models_brand_out_and_an_absent_one_does_not() -> None:
    def brands(**fields: Any) -> list[str]:
        found = answer(spans=[span("brand", "Acme")]).answer
        assert isinstance(found, ListingResult)
        return [a.value for a in attributes(listing(**fields), found) if a.name == "brand"]

    assert brands(brand=None) == []
    assert brands() == ["Acme"]
    assert brands(brand="Zeta") == ["Zeta"]


def test_what_the_seller_says_is_asked_and_the_texts_verdict_goes_with_it() -> None:
    said = listing(
        title="Blue cup", brand="Acme", attributes={"colour": ["Blue", "Teal"], "size": f"{WRONG} huge", "empty": " "}
    )
    asked = model_input(said)
    assert [(each.name, each.value) for each in asked.claims] == [
        ("brand", "Acme"), ("colour", "Blue"), ("colour", "Teal"), ("size", f"{WRONG} huge"),
    ]  # fmt: skip
    result = result_of(asked)
    assert isinstance(result, ListingResult)
    enriched = enriched_from(work(), said, Answer(result, embedding_of("x")), SETTINGS, NOW)
    checks = {(a.name, a.value): a.check for a in enriched.attributes if a.producer.kind == "seller"}
    verdicts = {key: check.verdict for key, check in checks.items() if check is not None}
    assert verdicts == {
        ("brand", "Acme"): "unknown", ("colour", "Blue"): "entailed", ("colour", "Teal"): "unknown",
        ("size", f"{WRONG} huge"): "contradicted",
    }  # fmt: skip
    blue = checks["colour", "Blue"]
    assert blue is not None
    assert blue.evidence is not None
    assert said.title[blue.evidence.start : blue.evidence.end] == "Blue"
    assert [reason for reason in enriched.reasons if "contradicts" in reason] == [
        f"the text contradicts the seller's size '{WRONG} huge': it denies it"
    ]
    assert all(a.check is None for a in degraded_from(work(), said, "down", NOW).attributes)


def test_only_so_many_values_are_asked() -> None:
    many = {f"name {at}": "x" for at in range(MOST_CLAIMS + 5)}
    assert len(model_input(listing(attributes=many)).claims) == MOST_CLAIMS


def test_a_brand_asked_in_chinese_is_the_attribute_brand_and_goes_out_once() -> None:
    found = answer(attributes=[span("品牌", "海尔")], spans=[span("brand", "海尔")]).answer
    assert isinstance(found, ListingResult)
    assert [(a.name, a.value) for a in attributes(listing(), found)] == [("brand", "海尔")]
    assert attributes(listing(brand=None), found) == []
    (seller,) = attributes(listing(brand="美的"), found)
    assert [each.value for each in seller.disagrees] == ["海尔"]


def test_every_value_has_a_producer_and_its_evidence_quotes_the_title() -> None:
    enriched = enriched_from(work(), listing(), answer(), SETTINGS, NOW)
    assert enriched.attributes
    for each in enriched.attributes:
        assert each.producer.kind in ("model", "seller")
        assert each.evidence is not None
        assert listing().title[each.evidence.start : each.evidence.end] == each.value
    assert enriched.category is not UNSET
    assert enriched.category.producer.version == "fake-1"
    assert enriched.embedding is not UNSET
    assert sum(v * v for v in unpack(enriched.embedding)) == pytest.approx(1, abs=1e-5)
    assert enriched.models == {"listing": "fake-1", "taxonomy": "t-1", "schema": "s-1", "space": "fake-space"}


def test_the_sellers_language_wins_and_a_difference_is_said() -> None:
    enriched = enriched_from(work(), listing(language="zh_CN"), answer(), SETTINGS, NOW)
    assert enriched.language is not UNSET
    assert (enriched.language.code, enriched.language.producer.kind) == ("zh", "seller")
    assert "the seller says the language is zh, the model reads en" in enriched.reasons
    seen = enriched_from(work(), listing(), answer(), SETTINGS, NOW).language
    assert seen is not UNSET
    assert (seen.code, seen.producer.kind) == ("en", "model")


def test_a_hint_that_names_no_step_of_the_category_is_said() -> None:
    assert not enriched_from(work(), listing(category_hint="cups"), answer(), SETTINGS, NOW).reasons
    (reason,) = enriched_from(work(), listing(category_hint="Shoes"), answer(), SETTINGS, NOW).reasons
    assert "'Shoes'" in reason


def test_the_model_gets_text_and_hint_only() -> None:
    asked = model_input(listing(description=None, language="zh-Hans", category_hint="杯子", price=3.0, currency="CNY"))
    assert asked == ListingInput(title="Blue ceramic cup", language="zh", category_hint="杯子")


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1.0, 3.0]))
def test_vectors_are_packed_as_the_schemas_pack_them(seed: int, spread: float) -> None:
    values = (np.random.default_rng(seed).standard_normal(384) * spread).astype(np.float32)
    assert int8_vector("s", values) == pack_int8("s", values.tolist())
    assert float32_vector("s", values) == pack_float32("s", values.tolist())


# --- status ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("safe", "status"), [(0.99, Status.ENRICHED), (0.5, Status.ENRICHED), (0.49, Status.IN_REVIEW), (0.04, "rejected")]
)
def test_the_status_follows_the_safety_score(safe: float, status: str) -> None:
    enriched = enriched_from(work(), listing(), answer(safe=safe), SETTINGS, NOW)
    assert enriched.status == status
    assert bool(enriched.reasons) == (status != Status.ENRICHED)


def test_a_rejected_record_carries_none_of_the_listings_text() -> None:
    bad = listing(
        title="VILE words",
        description="VILE",
        brand="VILE",
        category_hint="VILE",
        attributes={"VILE": "VILE"},
        images=["https://vile.example/VILE"],
        channels=["VILE"],
        price=3.0,
        currency="CNY",
    )
    found = answer("VILE words", safe=0.01)
    enriched = enriched_from(work(value=bad), bad, found, SETTINGS, NOW)
    assert enriched.status == Status.REJECTED
    facts = facts_of(enriched, found, known_after(None, work(value=bad)))
    for record in (enriched, facts):
        assert b"vile" not in msgspec.json.encode(record).lower()
    assert enriched.embedding is UNSET
    assert facts.embedding is UNSET
    assert facts.price_band == ""


def test_a_degraded_record_has_the_sellers_values_and_the_reason() -> None:
    enriched = degraded_from(work(), listing(brand="Zeta", language="en"), "the model did not answer", NOW)
    assert (enriched.status, enriched.reasons) == (Status.DEGRADED, ["the model did not answer"])
    assert [(a.name, a.value, a.producer.kind) for a in enriched.attributes] == [("brand", "Zeta", "seller")]
    assert enriched.category is UNSET
    assert enriched.embedding is UNSET
    assert enriched.models == {}
    facts = facts_of(enriched, None, known_after(None, work()))
    assert (facts.brand, facts.category) == ("zeta", [])


def test_quality_names_what_is_missing() -> None:
    assert sum(rule.share for rule in RULES) == pytest.approx(1)
    bare = quality(listing(title="Cup"))
    assert bare.score < 0.3
    assert "there is no picture" in bare.reasons
    full = quality(
        listing(
            title="Blue ceramic cup",
            description="A cup of blue ceramic that holds three hundred millilitres.",
            brand=None,
            price=3.0,
            currency="EUR",
            images=["https://a.example/1.jpg"],
            attributes={"colour": "blue", "size": "300 ml"},
        )
    )
    assert (full.score, full.reasons) == (1.0, [])


@pytest.mark.parametrize(
    ("price", "currency", "band"),
    [(1.0, "EUR", "EUR:0"), (10.0, "EUR", "EUR:4"), (9.99, "EUR", "EUR:3"), (0.5, "EUR", "EUR:-2"), (0.0, "EUR", "")],
)
def test_price_bands_are_four_a_decade(price: float, currency: str, band: str) -> None:
    assert price_band(price, currency) == band
    assert price_band(UNSET, currency) == ""


# --- retries and requests --------------------------------------------------------------


def test_each_try_is_one_attempt_higher_until_they_are_used_up() -> None:
    settings = EnrichmentSettings(max_tries=2, retry_delay_s=30)
    first = next_request(work(), listing(), NOW, settings)
    assert first is not None
    assert (first.revision, first.tries, first.not_before) == (Revision(0, 5, 1), 1, NOW + 30_000)
    second = next_request(work(attempt=1, request=first), listing(), NOW, settings)
    assert second is not None
    assert (second.revision.attempt, second.tries) == (2, 2)
    assert next_request(work(attempt=2, request=second), listing(), NOW, settings) is None


def record_of(found: EnrichmentRequest, **changes: Any) -> Raw:
    """A request as a record."""
    headers = headers_of(Envelope("r1", "enrichment.requested", "/t", NOW))
    fields = {"key": b"p1", "topic": "enrichment-requests", "headers": list(headers), "partition": 0, **changes}
    return Raw(msgspec.json.encode(found), **fields)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (record_of(request(), headers=[]), Reason.MISSING_HEADER),
        (record_of(request(), key=b"p2"), Reason.KEY_MISMATCH),
        (record_of(request(), key=None), Reason.MISSING_KEY),
        (record_of(request(revision=Revision(0, 5, 0))), Reason.INVALID_FIELD),
        (record_of(request(not_before=NOW + 2 * 86_400_000)), Reason.IMPLAUSIBLE_TIME),
        (record_of(request(listing=listing(title="  "))), Reason.INVALID_FIELD),
        (record_of(request(listing=listing(product_id="p2"))), Reason.KEY_MISMATCH),
    ],
)
def test_a_wrong_request_is_refused_with_its_reason(record: Raw, reason: Reason) -> None:
    with pytest.raises(RecordError) as caught:
        read_request(record, NOW)
    assert caught.value.reason is reason


def test_a_request_of_an_unknown_type_goes_aside() -> None:
    with pytest.raises(UnknownType):
        read_request(record_of(request(), headers=list(headers_of(Envelope("r", "x.y", "/t", NOW)))), NOW)


def test_intake_finds_a_key_on_the_wrong_partition_and_ignores_tombstones() -> None:
    intake = Intake(Settings(), 7, lambda: NOW)
    right = partition_of(b"p1", 7)
    good = intake.read(record_of(request(), partition=right), 3)
    assert good is not None
    assert (good.generation, good.revision) == (3, Revision(0, 5, 1))
    with pytest.raises(WrongPartition) as caught:
        intake.read(record_of(request(), partition=right + 1), 3)
    assert caught.value.right == right
    assert intake.read(Raw(None, topic="enrichment-requests"), 3) is None


def test_a_request_of_a_future_epoch_is_refused() -> None:
    with pytest.raises(RecordError, match="source_epoch"):
        Intake(Settings(), 1, lambda: NOW).read(record_of(request(revision=Revision(1, 5, 1))), 1)


def test_held_work_comes_out_when_it_is_due_with_what_stood_behind_it() -> None:
    held, tp = Held(), TopicPartition("enrichment-requests", 0)
    waiting = work(request=request(not_before=NOW + 10))
    held.hold(tp, waiting, [])
    assert list(held.due(NOW + 9)) == []
    assert held.waiting(tp)
    assert list(held.due(NOW + 10)) == [(tp, waiting, [])]
    assert not held.waiting(tp)
