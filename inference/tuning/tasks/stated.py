"""Values of names that no labelled set has, stated in the text (training/stated.py)."""

from __future__ import annotations

from inference.training.stated import stated_rows
from inference.tuning.task import Item, Loading
from inference.tuning.tasks.attributes import Attributes, items_of


class Stated(Attributes):
    """A name is read off the text, and what stands beside it is the value."""

    name = "stated"

    def load(self, loading: Loading) -> tuple[list[Item], list[Item]]:
        train, dev = stated_rows(loading.data, loading.seed)
        return items_of(train, loading, 5, True, copies=1, strangers=0), items_of(dev, loading, 5, False)


TASKS = (Stated(),)
