"""Development splits: the same on every machine, groups whole, no text on both sides."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inference.training.splits import normal_form, number_of, sample, split_by_group, without_duplicates

ROWS = [(f"group {n % 97}", f"Title {n}") for n in range(1_000)]


def test_normal_form_folds_case_width_and_space() -> None:
    assert normal_form("  ＩＰＨＯＮＥ　 7\tPlus ") == normal_form("iphone 7 plus")
    assert normal_form("Straße") == normal_form("STRASSE")


def test_the_split_is_fixed() -> None:
    assert number_of("iphone 7") == number_of("IPHONE  7") == 8490547623523100764


def test_groups_stay_whole_and_nothing_is_lost() -> None:
    split = split_by_group(ROWS, lambda row: row[0], lambda row: row[1])
    assert not {group for group, _ in split.train} & {group for group, _ in split.dev}
    assert sorted([*split.train, *split.dev]) == sorted(ROWS)
    assert 0.1 < len(split.dev) / len(ROWS) < 0.3


@given(st.lists(st.text(max_size=6), max_size=30), st.lists(st.text(max_size=6), max_size=30))
def test_duplicates_leave_train_and_are_counted(train: list[str], dev: list[str]) -> None:
    split = without_duplicates(train, dev, str)
    assert split.dev == dev
    assert not {normal_form(text) for text in split.train} & {normal_form(text) for text in dev}
    assert len(split.train) + split.dropped == len(train)


def test_a_sample_does_not_depend_on_the_order() -> None:
    titles = [title for _, title in ROWS]
    few = sample(titles, 50, str)
    assert few == sample(titles[::-1], 50, str)
    assert few == sample(titles, 80, str)[:50]
    assert sample(titles, 5_000, str) == titles
