"""Progress where there is no terminal."""

from __future__ import annotations

from stream.cli.progress import QUIET_S, Plain


def test_a_long_step_says_now_and_then_what_time_is_left() -> None:
    said: list[str] = []
    now = 0.0
    plain = Plain(said.append, lambda: now)
    for done in range(1, 1001):
        plain("train", done, 1_000)
        now += 1.0
    assert len(said) == 999 // QUIET_S + 1
    assert said[0] == "train: 61/1000, 16 minutes left\n"
    assert said[-1] == "train: 1000/1000\n"


def test_a_step_whose_name_comes_again_is_timed_anew() -> None:
    said: list[str] = []
    now = 0.0
    plain = Plain(said.append, lambda: now)
    plain("dev", 1, 1)
    now = 600.0
    plain("dev", 512, 5_000)
    assert said == ["dev: 1/1\n"]


def test_a_short_step_says_only_that_it_is_done() -> None:
    said: list[str] = []
    plain = Plain(said.append, lambda: 0.0)
    plain("read", 0, 1)
    plain("read", 1, 1)
    assert said == ["read: 1/1\n"]
