"""A user's state: equal to a straight recount whatever arrives late, twice or again, and bounded."""

from __future__ import annotations

import random
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.behaviour import Action, BehaviourEvent
from schemas.listing import ListingFacts, Revision
from schemas.vector import pack_int8
from stream.errors import Fatal
from stream.profiles.affinity import add, strongest, trim, worth
from stream.profiles.apply import Applied, Origin, apply, resolve
from stream.profiles.facts import Facts
from stream.profiles.recount import differences, recount
from stream.profiles.rules import DAY_MS, KEPT, PENDING, SLACK, Rules
from stream.profiles.snapshot import features_of, profile_of
from stream.profiles.state import UserState, decode_state, encode_state
from stream.settings import ProfileSettings

RULES = Rules.of(ProfileSettings())
START = 1_760_000_000_000
PRODUCTS = 12
ACTIONS = [*Action, "unheard-of"]


def facts_of_product(number: int) -> Facts:
    rng = random.Random(number)
    vector = np.array([rng.gauss(0, 1) for _ in range(8)])
    record = ListingFacts(
        product_id=f"p{number}",
        revision=Revision(0, number),
        category=[f"c{number % 3}", f"c{number % 3}.{number}"],
        brand=f"b{number % 4}",
        attributes=[f"colour={number % 5}", f"size={number % 2}"],
        price_band=f"CNY:{number % 6}",
        language="en",
        embedding=pack_int8("space", list(vector / np.linalg.norm(vector))),
    )
    return Facts.of(record)


FACTS = {f"p{number}": facts_of_product(number) for number in range(PRODUCTS)}


def event(action: str = "view", when: int = START, product: str | None = "p1", **more: object) -> BehaviourEvent:
    fields = {"user_id": "u", "action": action, "event_time": when, "product_id": product, **more}
    return msgspec.convert(fields, BehaviourEvent)


def origin(offset: int, name: str = "", epoch: int = 0, partition: int = 0) -> Origin:
    return Origin(epoch, partition, offset, name or f"e{partition}-{offset}", 0)


@st.composite
def streams(draw: st.DrawFn) -> list[tuple[BehaviourEvent, Origin]]:
    """Events of one user: out of order in time, some ids repeated, some without a product."""
    count = draw(st.integers(1, 60))
    rng = random.Random(draw(st.integers(0, 2**32)))
    found = []
    for number in range(count):
        product = f"p{rng.randrange(PRODUCTS)}" if rng.random() < 0.8 else None
        one = event(
            rng.choice(ACTIONS),
            START + rng.randrange(40 * DAY_MS),
            product,
            session_id=rng.choice([None, "s1", "s2"]),
            price=round(rng.uniform(1, 90), 2),
            currency=rng.choice(["CNY", "USD"]),
            quantity=rng.randrange(1, 4),
            language=rng.choice([None, "zh", "en"]),
            channel=rng.choice(["web", "app"]),
            consent={"ads": rng.random() < 0.5},
        )
        name = f"e{rng.randrange(number + 1)}" if rng.random() < 0.1 else f"e{number}"
        found.append((one, origin(number, name)))
    return found


@settings(max_examples=150, deadline=None)
@given(stream=streams(), again=st.integers(0, 30), late=st.sets(st.integers(0, PRODUCTS - 1)))
def test_equals_a_recount_with_replays_and_late_facts(
    stream: list[tuple[BehaviourEvent, Origin]], again: int, late: set[int]
) -> None:
    known = {name: facts for number, (name, facts) in enumerate(FACTS.items()) if number not in late}
    state = UserState()
    for one, at in stream:
        apply(state, one, at, known.get(str(one.product_id)), RULES)
    state = decode_state(encode_state(state))
    for one, at in stream[-again:] if again else []:
        assert apply(state, one, at, known.get(str(one.product_id)), RULES) is Applied.REPLAYED
    assert differences(profile_of(state, "u", RULES, 1), recount(stream, known, RULES)["u"]) == []
    for number in late:
        resolve(state, f"p{number}", FACTS[f"p{number}"], RULES)
    assert differences(profile_of(state, "u", RULES, 2), recount(stream, FACTS, RULES)["u"]) == []


def test_a_recount_notices_a_lost_event() -> None:
    stream = [(event(when=START + n, product=f"p{n % 3}"), origin(n)) for n in range(9)]
    state = UserState()
    for one, at in stream[:4] + stream[5:]:
        apply(state, one, at, FACTS[str(one.product_id)], RULES)
    assert differences(profile_of(state, "u", RULES, 1), recount(stream, FACTS, RULES)["u"])


def test_replay_duplicate_and_new_epoch_are_told_apart() -> None:
    state = UserState()
    assert apply(state, event(), origin(5), None, RULES) is Applied.APPLIED
    assert apply(state, event(), origin(5), None, RULES) is Applied.REPLAYED
    assert apply(state, event(), origin(3, "other"), None, RULES) is Applied.REPLAYED
    assert apply(state, event(), origin(6, "e0-5"), None, RULES) is Applied.DUPLICATE
    assert apply(state, event(), origin(0, "fresh", epoch=1), None, RULES) is Applied.APPLIED
    assert apply(state, event(), origin(9, "old", epoch=0), None, RULES) is Applied.REPLAYED
    assert apply(state, event(), origin(0, partition=3), None, RULES) is Applied.APPLIED
    assert state.counts == {"view": {"web": 3}}


def test_an_id_is_forgotten_only_after_the_stated_number_of_others() -> None:
    rules = replace(RULES, seen=3)
    state = UserState()
    for number in range(3):
        apply(state, event(), origin(number), None, rules)
    assert apply(state, event(), origin(3, "e0-0"), None, rules) is Applied.DUPLICATE
    apply(state, event(), origin(4), None, rules)
    assert apply(state, event(), origin(5, "e0-0"), None, rules) is Applied.APPLIED


def test_half_life_and_late_events() -> None:
    sums: dict[str, list[float]] = {}
    add(sums, "a", 8.0, START, 1000.0)
    add(sums, "a", 1.0, START + 1000, 1000.0)
    assert sums["a"] == [5.0, START + 1000]
    add(sums, "a", 4.0, START - 1000, 1000.0)
    assert sums["a"] == [6.0, START + 1000]
    assert worth(sums["a"], START + 2000, 1000.0) == pytest.approx(3.0)


def test_the_weakest_affinities_are_dropped_beyond_the_bound() -> None:
    sums: dict[str, list[float]] = {f"n{number}": [float(number), START] for number in range(KEPT + SLACK + 1)}
    best = [name for name, _ in strongest(sums, 5, START, 1e9)]
    trim(sums, START, 1e9)
    assert len(sums) == KEPT
    assert [name for name, _ in strongest(sums, 5, START, 1e9)] == best
    assert "n0" not in sums


def test_pending_events_are_bounded_and_counted() -> None:
    state = UserState()
    for number in range(PENDING + 7):
        apply(state, event(product=f"unknown{number}"), origin(number), None, RULES)
    assert len(state.pending) == PENDING
    assert profile_of(state, "u", RULES, 1).unresolved == PENDING + 7
    assert resolve(state, f"unknown{PENDING}", FACTS["p1"], RULES)
    assert not resolve(state, f"unknown{PENDING}", FACTS["p1"], RULES)
    assert profile_of(state, "u", RULES, 1).unresolved == PENDING + 6


def test_sessions_end_by_gap_and_by_id() -> None:
    state = UserState()
    minute = 60_000
    for offset, (when, name) in enumerate([(0, None), (20, None), (60, None), (61, "s9"), (62, "s9"), (10, "s1")]):
        apply(state, event(when=START + when * minute, session_id=name), origin(offset), None, RULES)
    session = profile_of(state, "u", RULES, 1).session
    assert isinstance(session, msgspec.Struct)
    assert (session.id, session.started, session.events) == ("s9", START + 61 * minute, 2)


def test_windows_count_by_action_and_top_category_and_fall() -> None:
    state = UserState()
    for offset, minutes in enumerate((0, 70, 71)):
        apply(state, event(when=START + minutes * 60_000, product="p1"), origin(offset), FACTS["p1"], RULES)
    found = features_of(state, "u", START + 71 * 60_000, 5)
    assert found.windows["1h"].actions == {"view": 2}
    assert found.windows["24h"].actions == {"view": 3}
    assert found.windows["24h"].categories == {"c1": 3}
    assert found.as_of < found.valid_until
    later = features_of(state, "u", found.valid_until, 5)
    assert later.windows["1h"].actions != found.windows["1h"].actions


def test_segments_follow_the_purchases() -> None:
    state = UserState()
    for number in range(10):
        apply(state, event(when=START + number), origin(number), None, RULES)
    apply(state, event("cart_add", START + 11), origin(11), None, RULES)
    assert profile_of(state, "u", RULES, 1).segments == ["browser", "cart-abandoner", "new"]
    apply(state, event("purchase", START + 12), origin(12), None, RULES)
    apply(state, event("view", START + 40 * DAY_MS), origin(13), None, RULES)
    assert profile_of(state, "u", RULES, 1).segments == ["buyer", "lapsed"]


def test_a_clock_that_runs_ahead_is_held_back_by_the_append_time() -> None:
    state = UserState()
    apply(state, event(when=START + DAY_MS), Origin(0, 0, 0, "x", START), None, RULES)
    assert state.newest == START


def test_a_state_of_another_version_is_fatal_and_says_what_to_do() -> None:
    state = UserState(version=99)
    with pytest.raises(Fatal, match=r"version 99.*user-profile-state"):
        decode_state(encode_state(state))
    with pytest.raises(Fatal, match="cannot be read"):
        decode_state(b"\x93\x01")
