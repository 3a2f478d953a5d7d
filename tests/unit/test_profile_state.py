"""The state's compact form: versions (rule 8), bounds, damage."""

from __future__ import annotations

import msgspec
import pytest

from stream.errors import Fatal
from stream.profiles.apply import Rules, apply_event
from stream.profiles.state import CODEC, STATE_VERSION, UserState
from stream.settings import ProfileSettings
from tests.profiles_env import make_events
from tests.unit.test_profile_apply import catalogue, origin

RULES = Rules.of(ProfileSettings())


def worked() -> UserState:
    """A state with something in every field."""
    state, facts = UserState(), catalogue()
    for offset, (id_, what) in enumerate(make_events(400, users=1, products=60)):
        apply_event(state, what, origin(offset, id_), facts.facts.get, RULES)
    return state


def test_a_state_comes_back_as_it_was() -> None:
    state = worked()
    assert CODEC.decode(CODEC.encode(state)) == state
    assert CODEC.encode(CODEC.decode(CODEC.encode(state))) == CODEC.encode(state)


def test_the_previous_version_is_read_and_written_as_this_one() -> None:
    fields = msgspec.msgpack.decode(CODEC.encode(worked()))
    old = msgspec.msgpack.encode([0, *fields[1:-2]])
    state = CODEC.decode(old)
    assert state.version == STATE_VERSION
    assert state.counts == worked().counts
    assert state.tiles == [{}, {}]


def test_fields_that_a_newer_minor_form_adds_at_the_end_are_skipped() -> None:
    fields = msgspec.msgpack.decode(CODEC.encode(worked()))
    assert CODEC.decode(msgspec.msgpack.encode([*fields, {"later": 1}])) == worked()


@pytest.mark.parametrize("data", [msgspec.msgpack.encode([STATE_VERSION + 1]), b"\xc1", b"", b"not a state"])
def test_a_state_that_cannot_be_read_is_fatal_and_names_the_repair(data: bytes) -> None:
    with pytest.raises(Fatal, match="rebuild"):
        CODEC.decode(data)


def test_a_busy_users_state_stays_small() -> None:
    assert len(CODEC.encode(worked())) < 16_384
