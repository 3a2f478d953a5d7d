"""A text as it was read with names: its units, and what each name has come to mean beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from inference.model.encoder import Encoded
from inference.model.prompt import NAMES_A_PROMPT, Prompt, name_vectors
from inference.tasks.statements import OtherNames, Stretch, stated_units
from inference.tasks.units import Units, make_frame

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Reading:
    """names: those of one prompt, in order; vectors: fp32 [N, 384]. stated: what the text states of a name outright,
    (first, last) units; only names of which it does."""

    units: Units
    names: tuple[str, ...]
    vectors: Floats
    stated: Mapping[str, tuple[Stretch, ...]] = field(default_factory=dict)

    def of(self, names: Sequence[str]) -> Floats:
        """Vectors of some of the names."""
        return self.vectors[[self.names.index(name) for name in names]]


def read(text: str, names: Sequence[str], prompt: Prompt, encoded: Encoded, others: OtherNames) -> Reading:
    """What one prompt came to. others: of the schema, by which a text may state a name's values."""
    frame = make_frame(text, encoded.offsets[: prompt.text])
    units = frame.units(encoded.states[: prompt.text])
    return Reading(units, tuple(names), name_vectors(encoded.states, prompt), stated_units(text, names, frame, others))


def in_prompts(names: Sequence[str], always: Sequence[str] = ()) -> list[tuple[str, ...]]:
    """Names as they are asked: at most NAMES_A_PROMPT at once, `always` among the first; at least one prompt."""
    distinct = list(dict.fromkeys((*always, *names)))
    return [tuple(distinct[at : at + NAMES_A_PROMPT]) for at in range(0, max(len(distinct), 1), NAMES_A_PROMPT)]
