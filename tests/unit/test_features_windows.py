"""Windows by tiles equal windows by recounting, for any order, lateness, duplicate and replay."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.behaviour import BehaviourByProduct
from stream.errors import Fatal
from stream.features.lane import WATERMARK_KEY, Lane, Renewed
from stream.features.state import CODEC, Applied, ItemState, counts_of
from stream.features.tiles import NEVER, WINDOWS, Counts
from stream.features.watermark import Expiry, Watermark
from tests.features_naive import HOUR, tally, windows

START = 1_760_000_000_000
LATENESS = 60_000


def event(
    when: int, action: str = "view", quantity: int = 1, origin: tuple[int, int] = (0, 0), appended: int = 0
) -> BehaviourByProduct:
    return BehaviourByProduct(
        product_id="p",
        user_id="u",
        action=action,
        event_time=START + when,
        origin_partition=origin[0],
        origin_offset=origin[1],
        quantity=quantity,
        appended_at=appended,
    )


STEPS = st.one_of(st.integers(-2 * HOUR, 3 * HOUR), st.integers(-60_000, 300_000), st.integers(-30 * HOUR, 30 * HOUR))
EVENTS = st.lists(
    st.tuples(STEPS, st.sampled_from(["view", "cart_add", "purchase"]), st.integers(1, 9)), min_size=1, max_size=40
)


def stream_of(steps: Sequence[tuple[int, str, int]]) -> list[BehaviourByProduct]:
    """Events whose times walk forward and back."""
    when, found = 40 * HOUR, []
    for number, (step, action, quantity) in enumerate(steps):
        when = max(0, when + step)
        found.append(event(when, action, quantity, (number % 3, number // 3)))
    return found


@settings(deadline=None, max_examples=200)
@given(steps=EVENTS, every=st.integers(1, 7))
def test_tiles_equal_a_recount_at_every_watermark(steps: list[tuple[int, str, int]], every: int) -> None:
    events, state, watermark = stream_of(steps), ItemState(), Watermark(LATENESS)
    for number, each in enumerate(events):
        watermark.see(each.event_time)
        assert state.apply(each, (0, number), watermark.value) is Applied.APPLIED
        if number % every:
            continue
        state.advance(watermark.value)
        state = CODEC.decode(CODEC.encode(state))
        record = state.features("p", watermark.value, 0)
        assert record.windows == windows(events[: number + 1], watermark.value)
        assert record.totals == tally(events[: number + 1])
        assert record.newest == max(e.event_time for e in events[: number + 1])


@settings(deadline=None, max_examples=200)
@given(steps=EVENTS)
def test_counts_hold_until_valid_until_and_fall_there(steps: list[tuple[int, str, int]]) -> None:
    events, state, watermark = stream_of(steps), ItemState(), Watermark(LATENESS)
    for number, each in enumerate(events):
        watermark.see(each.event_time)
        state.apply(each, (0, number), watermark.value)
    as_of, falls = watermark.value, 0
    while (until := state.valid_until(as_of)) != NEVER:
        assert until > as_of
        before = windows(events, as_of)
        assert windows(events, until - 1) == before
        assert windows(events, until) != before
        assert state.features("p", until, 0).windows == windows(events, until)
        as_of, falls = until, falls + 1
    assert tally([]) == windows(events, as_of)["24h"]
    assert falls <= sum(len(tiles) for tiles in state.tiles)


@settings(deadline=None, max_examples=100)
@given(steps=EVENTS, seed=st.integers(0, 99))
def test_replays_and_repeated_origins_change_nothing(steps: list[tuple[int, str, int]], seed: int) -> None:
    events, rng = stream_of(steps), random.Random(seed)
    plain, noisy, watermark = ItemState(), ItemState(), Watermark(LATENESS)
    offset = 0
    for number, each in enumerate(events):
        watermark.see(each.event_time)
        plain.apply(each, (0, number), watermark.value)
        assert noisy.apply(each, (0, offset), watermark.value) is Applied.APPLIED
        if rng.random() < 0.5:
            assert noisy.apply(events[rng.randrange(number + 1)], (0, offset), watermark.value) is Applied.REPLAYED
        if rng.random() < 0.5:
            offset += 1
            assert noisy.apply(events[rng.randrange(number + 1)], (0, offset), watermark.value) is Applied.DUPLICATE
        offset += 1
    assert noisy.tiles == plain.tiles
    assert noisy.totals == plain.totals
    assert noisy.origins == plain.origins


def test_a_higher_source_epoch_begins_again_with_offset_0() -> None:
    state = ItemState()
    assert state.apply(event(0, origin=(0, 5)), (0, 70), 0) is Applied.APPLIED
    assert state.apply(event(1, origin=(0, 6)), (1, 0), 0) is Applied.APPLIED
    assert state.apply(event(2, origin=(0, 7)), (0, 71), 0) is Applied.REPLAYED


def test_a_clock_that_runs_ahead_counts_at_its_append() -> None:
    state = ItemState()
    state.apply(event(24 * HOUR, appended=START + HOUR), (0, 0), START)
    assert state.newest == START + HOUR
    assert state.valid_until(START) == START + HOUR - (START + HOUR) % 300_000 + HOUR + 300_000


def test_only_views_carts_and_pieces_count() -> None:
    assert counts_of(event(0, "purchase", 3)) == Counts(purchases=3)
    assert counts_of(event(0, "cart_add", 3)) == Counts(carts=1)
    for action in ("click", "cart_remove", "ad_impression", "favourite", "made-up"):
        assert counts_of(event(0, action)) == Counts()


def test_a_window_covers_its_length_and_less_than_a_tile_more() -> None:
    for window in WINDOWS:
        assert window.length % window.tile == 0
        for shift in (0, 1, window.tile - 1):
            as_of = START - START % window.tile + shift
            assert 0 <= (as_of - window.length) - window.begins(as_of) < window.tile


def test_a_state_of_an_unknown_version_is_fatal() -> None:
    with pytest.raises(Fatal, match="version 9"):
        CODEC.decode(CODEC.encode(ItemState(version=9)))
    with pytest.raises(Fatal, match="version 7"):
        CODEC.decode(msgspec.msgpack.encode([7, "another shape"]))
    with pytest.raises(Fatal, match="version unknown"):
        CODEC.decode(b"\xc1")


def test_the_watermark_never_goes_back() -> None:
    watermark = Watermark(LATENESS)
    for when in (START, START - HOUR, START + 5):
        watermark.see(when)
    assert watermark.value == START + 5 - LATENESS
    watermark.restore(START + HOUR)
    watermark.restore(START)
    assert watermark.value == START + HOUR


@settings(deadline=None)
@given(
    sets=st.lists(st.tuples(st.integers(0, 5), st.one_of(st.integers(0, 50), st.just(NEVER))), max_size=80),
    limit=st.integers(1, 4),
)
def test_expiry_gives_each_due_key_once_by_its_newest_time(sets: list[tuple[int, int]], limit: int) -> None:
    expiry, newest = Expiry(), dict[bytes, int]()
    for number, until in sets:
        key = b"k%d" % number
        expiry.set(key, until)
        newest[key] = until
    due = sorted((until, key) for key, until in newest.items() if until <= 25)
    found: list[bytes] = []
    while taken := list(expiry.pop_due(25, limit)):
        assert len(taken) <= limit
        found += taken
    assert found == [key for _, key in due]
    assert not expiry.waiting(25)
    assert len(expiry) == sum(25 < until < NEVER for until in newest.values())


def test_expiry_does_not_grow_with_a_busy_key() -> None:
    expiry = Expiry()
    for until in range(100_000):
        expiry.set(b"busy", until)
    assert len(expiry._heap) < 2_000


def test_a_renewed_state_is_written_only_after_its_record_is_confirmed() -> None:
    lane = Lane(0, LATENESS)
    lane.renewed = [Renewed(3, START, [b"a"]), Renewed(5, START + 1, [b"b"])]
    lane.confirm(2)
    assert lane.take_settled() == []
    lane.confirm(4)
    assert [renewed.keys for renewed in lane.take_settled()] == [[b"a"]]
    lane.confirm(9)
    assert [renewed.keys for renewed in lane.take_settled()] == [[b"b"]]


def test_restoring_finds_what_still_has_to_be_published() -> None:
    state = ItemState()
    state.apply(event(0), (0, 0), START - LATENESS)
    state.advance(START - LATENESS)
    lane = Lane(0, LATENESS)
    lane.restore(b"p", state)
    assert (lane.keys, lane.watermark.value) == (1, START - LATENESS)
    lane.restore(WATERMARK_KEY, ItemState(as_of=START + 2 * HOUR))
    assert lane.keys == 1
    assert list(lane.expiry.pop_due(lane.watermark.value, 10)) == [b"p"]
