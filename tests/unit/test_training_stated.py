"""Rows that state what is asked: the value stands beside its name, once, and the sides share no name."""

from __future__ import annotations

from pathlib import Path

from inference.training.stated import stated_rows
from inference.training.tagging import attribute_text
from tests.unit.tuning_rows import listings_of, rows_of


def test_stated_rows_hold_their_values_beside_their_names(tmp_path: Path) -> None:
    data = rows_of(tmp_path / "data")
    listings_of(data)
    train, dev = stated_rows(data, seed=3)
    assert len(train) > 10
    names: list[set[str]] = []
    for rows in (train, dev):
        names.append({name.casefold() for row in rows for name in row.ask})
        for row in rows:
            text = attribute_text(row).casefold()
            assert set(row.ask) == set(row.values)
            assert any(row.values.values())
            for name, values in row.values.items():
                assert (name.casefold() in text) == bool(values)
                for value in values:
                    assert text.count(value.casefold()) == 1
    assert not names[0] & names[1]
    assert stated_rows(data, seed=3) == (train, dev)
    assert stated_rows(data, seed=4) != (train, dev)
