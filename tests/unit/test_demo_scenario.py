"""The demo's input: every good record passes the workers' own validation, every bad one its own reason."""

from __future__ import annotations

import time
from collections import Counter, defaultdict

import msgspec
import pytest

from schemas.behaviour import BehaviourEvent
from schemas.errors import Reason, RecordError, UnknownType
from schemas.product import ProductEventType, RawListing, Withdrawal
from schemas.topics import PRODUCT_CREATED, USER_BEHAVIOUR
from schemas.validate import read_behaviour, read_product
from stream.demo import bad, catalogue, completejourney, scenario
from stream.demo.record import SOURCE_COMPLETEJOURNEY, SOURCE_SIMULATOR, DemoRecord
from stream.demo.scenario import Scenario, Size
from stream.settings import TopicSettings

LIMIT = TopicSettings().max_message_bytes
NOW = int(time.time() * 1000)
SMALL = Size(products=40, events=1_500)


@pytest.fixture(scope="module")
def built() -> Scenario:
    return scenario.build(SMALL, LIMIT, NOW)


def read(record: DemoRecord) -> RawListing | Withdrawal | BehaviourEvent:
    reader = read_product if record.topic == PRODUCT_CREATED.name else read_behaviour
    return reader(record.headers, record.key, record.value, NOW)[1]


def source(record: DemoRecord) -> str:
    return dict(record.headers).get("ce_source", b"").decode()


def test_every_good_record_passes_the_workers_validation(built: Scenario) -> None:
    for record in built.records:
        if not record.expect:
            read(record)


def test_every_bad_record_is_refused_for_its_own_reason(built: Scenario) -> None:
    refused = [record for record in built.records if record.expect]
    assert len(refused) >= 40
    for record in refused:
        if record.expect == Reason.TOO_LARGE:
            assert len(record.value or b"") > LIMIT
            continue
        with pytest.raises(RecordError) as caught:
            read(record)
        assert (record.id, caught.value.reason.value) == (record.id, record.expect)
        assert isinstance(caught.value, UnknownType) == (record.expect == Reason.UNKNOWN_TYPE)


def test_the_bad_records_show_every_reason_that_input_alone_can_have(built: Scenario) -> None:
    assert set(built.expected) == {reason.value for reason in Reason} - {Reason.MODEL_REJECTED.value}
    assert built.expected == dict(Counter(r.expect for r in built.records if r.expect))


def test_a_bad_record_has_one_defect_only() -> None:
    """Without its defect each would be good, so that the reason is the defect's own."""
    for record in bad.records(scenario._window(completejourney.Subset({}, [])), LIMIT, NOW):
        good = bad.Bad(about="", expect=Reason.NOT_JSON)
        fields = {"product_id": "x", "title": "Blue Mug 350 ml", "price": 9.9, "currency": "USD"}
        if record.topic == USER_BEHAVIOUR.name:
            fields = {"user_id": "x", "action": "view", "event_time": record.at, "product_id": "sx-zh-0001"}
        id_field = next(iter(fields))
        headers = [("ce_id", b"1"), ("ce_type", b""), ("ce_source", b"s"), ("ce_time", b"2020-01-01T00:00:00Z")]
        type_ = b"product.created" if id_field == "product_id" else b"user.behaviour"
        headers[1] = ("ce_type", type_)
        read(bad._record(good, record.topic, id_field, fields, headers, record.at))


def test_records_are_in_the_order_of_event_time(built: Scenario) -> None:
    times = [record.at for record in built.records]
    assert times == sorted(times)


def test_the_same_size_gives_the_same_records(built: Scenario) -> None:
    again = scenario.build(SMALL, LIMIT, NOW)
    assert again.records == built.records
    other = scenario.build(msgspec.structs.replace(SMALL, seed=7), LIMIT, NOW)
    assert other.records != built.records


def test_products_are_launched_before_anything_happens_to_them(built: Scenario) -> None:
    launched: set[str] = set()
    for record in built.records:
        if record.expect:
            continue
        value = read(record)
        if isinstance(value, BehaviourEvent):
            assert value.product_id in launched or not value.product_id
        elif isinstance(value, RawListing):
            launched.add(value.product_id)
        else:
            assert value.product_id in launched


def test_events_are_as_many_as_asked_for_before_repeats(built: Scenario) -> None:
    behaviour = [r for r in built.records if r.topic == USER_BEHAVIOUR.name and not r.expect]
    assert len({record.id for record in behaviour}) == SMALL.events
    assert len(behaviour) > SMALL.events


def test_upstream_repeats_follow_within_what_a_profile_remembers(built: Scenario) -> None:
    by_user: defaultdict[bytes | None, list[str]] = defaultdict(list)
    for record in built.records:
        if record.topic == USER_BEHAVIOUR.name and not record.expect:
            by_user[record.key].append(record.id)
    gaps = []
    for ids in by_user.values():
        last: dict[str, int] = {}
        for position, id_ in enumerate(ids):
            if id_ in last:
                gaps.append(position - last[id_])
            last[id_] = position
    assert gaps
    assert max(gaps) < 64


def test_simulated_records_say_so_and_observed_ones_are_purchases_only(built: Scenario) -> None:
    actions: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for record in built.records:
        if record.topic == USER_BEHAVIOUR.name and not record.expect:
            value = read(record)
            assert isinstance(value, BehaviourEvent)
            actions[source(record)][value.action] += 1
    assert set(actions) == {SOURCE_SIMULATOR, SOURCE_COMPLETEJOURNEY}
    assert set(actions[SOURCE_COMPLETEJOURNEY]) == {"purchase"}
    assert {"view", "search", "click", "cart_add"} <= set(actions[SOURCE_SIMULATOR])


def test_the_listings_are_two_languages_and_many_shelves() -> None:
    found = catalogue.listings()
    labels = catalogue.labels()
    assert len({listing.product_id for listing in found}) == len(found) >= 200
    chinese = sum(any("\u4e00" <= c <= "\u9fff" for c in listing.title) for listing in found)
    assert 0.45 < chinese / len(found) < 0.55
    assert len({label.group for label in labels.values()}) >= 30
    assert len({listing.title for listing in found}) == len(found)
    for listing in found:
        label = labels[listing.product_id]
        assert label.product or label.product_outside_title
        assert label.product in listing.title
        assert label.brand in listing.title


def test_updates_and_withdrawals_follow_the_launch_in_order(built: Scenario) -> None:
    history: defaultdict[bytes | None, list[str]] = defaultdict(list)
    for record in built.records:
        if record.topic == PRODUCT_CREATED.name and record.key and record.key.startswith(b"sx-") and not record.expect:
            history[record.key].append(dict(record.headers)["ce_type"].decode())
    kinds = Counter(kind for kinds in history.values() for kind in kinds)
    assert kinds[ProductEventType.UPDATED] == 25
    assert kinds[ProductEventType.WITHDRAWN] == 8
    for events in history.values():
        assert events == sorted(events)  # created, updated, withdrawn


def test_an_update_is_a_whole_snapshot_that_builds_on_the_one_before(built: Scenario) -> None:
    phone = [
        value
        for record in built.records
        if record.key == b"sx-zh-0032" and not record.expect and isinstance(value := read(record), RawListing)
    ]
    assert [listing.price for listing in phone] == [3999.0, 3799.0, 3699.0]
    assert phone[-1].title.endswith("赠壳膜")
    assert phone[-1].attributes == phone[0].attributes


def test_titles_of_completejourney_are_words() -> None:
    made = completejourney.title("FRZN ICE", "ICE - CRUSHED/CUBED", "22 LB")
    assert made == "Ice - Crushed / Cubed, Frozen Ice, 22 lb"
    assert completejourney.title("BUTTER", "BUTTER", None) == "Butter"


def test_without_completejourney_products_the_demo_is_the_bilingual_part() -> None:
    built = scenario.build(Size(products=0, events=200), LIMIT, NOW)
    assert {source(r) for r in built.records if r.topic == USER_BEHAVIOUR.name and not r.expect} == {SOURCE_SIMULATOR}
