"""Fields of a listing in one text, and back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inference.model.text import Part, compose

FIELDS = ("title", "category_hint", "description")


def test_places_lead_back_to_the_field_as_it_was_given() -> None:
    title, description = "红色 dress 👗", "cotton, 2 pockets"
    composed = compose(title, description, "Women > Dresses")
    start = composed.text.index("cotton")
    assert composed.locate(start, start + 6) == Part("description", 0, 6)
    start = composed.text.index("dress")
    assert composed.locate(start, start + 5) == Part("title", 3, 8)


def test_a_stretch_over_two_fields_ends_with_the_first() -> None:
    composed = compose("red", "blue")
    assert composed.locate(1, 6) == Part("title", 1, 3)


def test_between_fields_and_empty_stretches_are_nowhere() -> None:
    composed = compose("red", "blue")
    assert composed.locate(3, 4) is None
    assert composed.locate(1, 1) is None
    assert composed.locate(99, 100) is None


def test_title_alone_and_title_with_description_are_what_training_sees() -> None:
    assert compose("red").text == "red"
    assert compose("red", "  ").text == "red"
    assert compose("red", "blue").text == "red\nblue"


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_every_code_point_of_every_field_is_found_again(title: str, description: str, hint: str) -> None:
    given_fields = dict(zip(FIELDS, (title, hint, description), strict=True))
    composed = compose(title, description, hint)
    for at in range(len(composed.text)):
        part = composed.locate(at, at + 1)
        if part is not None:
            assert given_fields[part.field][part.start : part.end] == composed.text[at]
    assert sum(p.end - p.start for p in composed.parts) == sum(len(f) for f in given_fields.values() if f.strip())
