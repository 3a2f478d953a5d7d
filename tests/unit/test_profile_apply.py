"""How events change a user's state, by the rules, and against the recount."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.behaviour import BehaviourEvent
from schemas.profile import Decayed
from stream.profiles.apply import Applied, Origin, Rules, apply_event, digest_of, resolve, was_repeated
from stream.profiles.decay import add, cut, top
from stream.profiles.facts import Facts, read_facts
from stream.profiles.publish import advance, features_of, profile_of, valid_until
from stream.profiles.recount import Listed, Told, differences, feature_differences
from stream.profiles.state import UserState
from stream.profiles.weights import UNRESOLVED_KEPT
from stream.settings import ProfileSettings
from tests.profiles_env import HOUR, START, make_events, make_facts

RULES = Rules.of(ProfileSettings())
HALF_LIFE = RULES.half_life


def nothing(product: str) -> Facts | None:
    """No facts of anything."""
    return None


def catalogue() -> Listed:
    """Of make_facts."""
    import msgspec

    found = {f.product_id: read_facts(msgspec.json.encode(f)) for f in make_facts()}
    return Listed(facts={product: facts for product, facts in found.items() if facts is not None})


def event(number: int = 0, **fields: object) -> BehaviourEvent:
    """A view of p1, `number` minutes after the start."""
    base: dict[str, object] = {"user_id": "u", "action": "view", "event_time": START + number * 60_000}
    return BehaviourEvent(**{**base, "product_id": "p1", **fields})  # type: ignore[arg-type]


def origin(offset: int, id_: str = "", epoch: int = 0, partition: int = 0) -> Origin:
    """Where an event stands."""
    return Origin(
        partition, (epoch, offset), START + offset, digest_of("test", id_ or f"e{epoch}-{partition}-{offset}")
    )


@given(st.lists(st.tuples(st.floats(0.01, 10), st.integers(0, 10**10)), min_size=1, max_size=30), st.randoms())
def test_a_decayed_sum_does_not_depend_on_the_order(terms: list[tuple[float, int]], shuffle: random.Random) -> None:
    forward: dict[str, tuple[float, int]] = {}
    other: dict[str, tuple[float, int]] = {}
    for weight, when in terms:
        add(forward, "x", weight, when, HALF_LIFE)
    shuffle.shuffle(terms)
    for weight, when in terms:
        add(other, "x", weight, when, HALF_LIFE)
    assert forward["x"][1] == other["x"][1] == max(when for _, when in terms)
    assert forward["x"][0] == pytest.approx(other["x"][0], rel=1e-9)


def test_a_value_halves_in_a_half_life_and_a_late_event_is_worth_what_is_left_of_it() -> None:
    held: dict[str, tuple[float, int]] = {}
    add(held, "x", 8.0, 0, 1000.0)
    add(held, "x", 1.0, 1000, 1000.0)
    assert held["x"] == (5.0, 1000)
    add(held, "x", 8.0, 0, 1000.0)
    assert held["x"] == (9.0, 1000)


def test_the_strongest_are_published_and_the_weakest_cut() -> None:
    held = {"old": (4.0, 0), "new": (3.0, 1000), "also": (3.0, 1000), "bad": (-9.0, 1000)}
    assert list(top(held, 2, 1000, 1000.0)) == ["also", "new"]
    assert top(held, 9, 1000, 1000.0)["old"] == Decayed(4.0, 0)
    assert "bad" not in top(held, 9, 1000, 1000.0)
    cut(held, 2, 1, 1000, 1000.0)
    assert set(held) == {"also", "bad"}


def test_a_replayed_event_changes_nothing_and_a_repeated_id_counts_once() -> None:
    state = UserState()
    assert apply_event(state, event(), origin(5, "a"), nothing, RULES) is Applied.APPLIED
    assert apply_event(state, event(), origin(5, "a"), nothing, RULES) is Applied.REPLAYED
    assert apply_event(state, event(), origin(6, "a"), nothing, RULES) is Applied.DUPLICATE
    assert state.stamps == {0: (0, 6)}
    assert state.counts == {"view": {"web": 1}}
    assert was_repeated(state, origin(6, "a"))
    assert not was_repeated(state, origin(5, "a"))


def test_stamps_are_kept_for_each_partition_and_a_raised_epoch_begins_again() -> None:
    state = UserState()
    apply_event(state, event(), origin(100, partition=1), nothing, RULES)
    assert apply_event(state, event(), origin(3, partition=0), nothing, RULES) is Applied.APPLIED
    assert apply_event(state, event(), origin(0, epoch=1, partition=1), nothing, RULES) is Applied.APPLIED
    assert apply_event(state, event(), origin(101, "old", epoch=0, partition=1), nothing, RULES) is Applied.REPLAYED
    assert state.counts == {"view": {"web": 3}}


def test_an_id_counts_as_seen_only_within_the_window() -> None:
    rules = Rules.of(ProfileSettings(seen_ids=2))
    state = UserState()
    for offset, id_ in enumerate(("a", "b", "c")):
        apply_event(state, event(), origin(offset, id_), nothing, rules)
    assert len(state.seen) == 2
    assert apply_event(state, event(), origin(3, "a"), nothing, rules) is Applied.APPLIED
    assert apply_event(state, event(), origin(4, "c"), nothing, rules) is Applied.DUPLICATE


def test_events_wait_for_facts_bounded_and_join_as_if_the_facts_had_been_there() -> None:
    facts = catalogue()
    early, late = UserState(), UserState()
    for offset in range(20):
        what = event(offset * 7 % 11, product_id=f"p{offset % 3}", action="cart_add" if offset % 2 else "view")
        apply_event(early, what, origin(offset), facts.facts.get, RULES)
        apply_event(late, what, origin(offset), nothing, RULES)
    assert len(late.unresolved) == 20
    assert profile_of(late, "u", RULES, 0).unresolved == 20
    assert resolve(late, facts.facts.get, RULES) == 20
    for kind in ("category", "brand", "attribute", "price_band"):
        one, other = getattr(early, kind), getattr(late, kind)
        assert one.keys() == other.keys()
        for name in one:
            assert one[name] == pytest.approx(other[name])
    crowded = UserState()
    for offset in range(UNRESOLVED_KEPT + 10):
        apply_event(crowded, event(offset), origin(offset), nothing, RULES)
    assert len(crowded.unresolved) == UNRESOLVED_KEPT
    assert crowded.unresolved[0].when == START + 10 * 60_000


def test_last_items_are_unique_newest_first_and_a_late_event_takes_its_place() -> None:
    state = UserState()
    rules = Rules.of(ProfileSettings(last_items=3))
    for offset, (product, minute) in enumerate((("a", 5), ("b", 9), ("c", 7), ("a", 2), ("b", 9), ("d", 1))):
        apply_event(state, event(minute, product_id=product), origin(offset), nothing, rules)
    assert [(product, (at - START) // 60_000) for product, _, at in state.last_items] == [("b", 9), ("c", 7), ("a", 5)]


def test_a_session_ends_with_its_id_or_after_the_gap_and_an_older_one_does_not_come_back() -> None:
    state = UserState()
    for offset, (minute, id_) in enumerate(((0, "s1"), (10, "s1"), (5, "s1"), (12, "s2"), (11, "s1"), (20, None))):
        apply_event(state, event(minute, session_id=id_), origin(offset), nothing, RULES)
    assert state.session is not None
    assert (state.session.id, state.session.events, state.session.started) == ("s2", 2, START + 12 * 60_000)
    apply_event(state, event(60, session_id=None), origin(9), nothing, RULES)
    assert state.session.id == f"at-{START + 60 * 60_000}"


def test_consent_follows_event_time_not_arrival() -> None:
    state = UserState()
    apply_event(state, event(5, action="consent", consent={"ads": False}), origin(0), nothing, RULES)
    apply_event(state, event(3, action="consent", consent={"ads": True, "mail": True}), origin(1), nothing, RULES)
    assert profile_of(state, "u", RULES, 0).consent == {"ads": False, "mail": True}


def test_windows_fall_when_valid_until_says_so() -> None:
    state = UserState()
    apply_event(state, event(0), origin(0), catalogue().facts.get, RULES)
    assert features_of(state, "u", START, 0).windows["1h"].categories == {"c1": 1}
    due = valid_until(state, START)
    assert features_of(state, "u", due - 1, 0).windows["1h"].actions == {"view": 1}
    assert features_of(state, "u", due, 0).windows["1h"].actions == {}
    assert features_of(state, "u", due, 0).windows["24h"].actions == {"view": 1}
    advance(state, START + 30 * HOUR)
    assert state.tiles == [{}, {}]


def test_profiles_equal_the_recount_and_the_recount_sees_what_is_wrong() -> None:
    facts, users = catalogue(), dict[str, tuple[UserState, Told]]()
    for offset, (id_, what) in enumerate(make_events(1500, users=6)):
        state, user = users.setdefault(what.user_id, (UserState(), Told(what.user_id)))
        outcome = apply_event(state, what, origin(offset, id_), facts.facts.get, RULES)
        user.offset = offset
        if outcome is Applied.APPLIED:
            user.events.append(what)
    for name, (state, user) in users.items():
        assert not differences(user, profile_of(state, name, RULES, 0), facts, RULES)
        assert not feature_differences(user, features_of(state, name, state.newest, 0), facts)
        lost = Told(name, user.events[:-1] if len(user.events) > 1 else [], 0, user.offset)
        if lost.events:
            assert differences(lost, profile_of(state, name, RULES, 0), facts, RULES)
        double = Told(name, [*user.events, user.events[0]], 0, user.offset)
        assert differences(double, profile_of(state, name, RULES, 0), facts, RULES)
