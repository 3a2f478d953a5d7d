"""Fits tag matching from attribute rows (true values, hard swaps within the category, names that the text lacks) and a
few pairs labelled by hand, which say what made pairs cannot: how sellers word what a listing says otherwise."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from inference.model.text import compose
from inference.tasks.tags import LABELS, SIGNS, Said, normal
from inference.tasks.words import CHINESE
from inference.training.data import AttributeRow, read_tag_rows
from inference.training.tagging import attribute_text

PENALTY = 1.0
HAND_LABELLED = Path(__file__).with_name("tag_pairs.jsonl")
HAND_COUNT = 15.0
"""What a pair labelled by hand counts for beside 3,000 made ones: right of the 200 pairs of the tests, 0.585 without
them, 0.695 at 5, 0.785 at 15; of made development pairs 0.91, 0.93, 0.93."""
NAMES_A_ROW = 3
POLAR = 0.15
"""Of the values, for each of the two further kinds of pairs."""
SEED = 20261125


@dataclass(frozen=True)
class Pair:
    """What a seller might say of a listing, and whether the listing bears it out."""

    said: Said
    label: str


def make_pairs(rows: Sequence[AttributeRow]) -> list[Pair]:
    """Of each row up to NAMES_A_ROW names with values and as many without.

    entailed: a value as it stands or with its wording changed as sellers do. contradicted: the value of the same
    attribute of another row of the category, which the text does not hold; or a value that the text is made to deny.
    unknown: such a value for an attribute that the text does not tell. Of POLAR of the values it is asked as well
    whether there is what they say (`Cotton`: Yes).
    """
    rng = random.Random(SEED)
    pool: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        for name, values in row.values.items():
            for value in values:
                pool[row.category, name].append(value)
                pool["", name].append(value)
    pairs = []
    for row in rows:
        text = attribute_text(row)
        known = [name for name, values in row.values.items() if values]
        for name in rng.sample(known, min(NAMES_A_ROW, len(known))):
            value = rng.choice(row.values[name])
            pairs.append(Pair(Said(text, name, _reworded(value, rng)), "entailed"))
            if (other := _another(text, name, row, pool, rng)) is not None:
                pairs.append(Pair(Said(text, name, other), "contradicted"))
                pairs += _polar(text, value, other, rng)
            pairs += _denied(text, name, value, rng)
        absent = [name for name in row.ask if not row.values.get(name)]
        for name in rng.sample(absent, min(NAMES_A_ROW, len(absent))):
            if (other := _another(text, name, row, pool, rng)) is not None:
                pairs.append(Pair(Said(text, name, other), "unknown"))
    return pairs


def _polar(text: str, value: str, other: str, rng: random.Random) -> list[Pair]:
    """Whether there is what the text says, and what it does not say."""
    if rng.random() >= POLAR:
        return []
    yes, no = ("是", "否") if CHINESE.search(text) else ("Yes", "No")
    asked = [(value, yes, "entailed"), (value, no, "contradicted"), (other, rng.choice((yes, no)), "unknown")]
    return [Pair(Said(text, name, said), label) for name, said, label in asked]


def _denied(text: str, name: str, value: str, rng: random.Random) -> list[Pair]:
    """The text made to deny a value that it says once."""
    if rng.random() >= POLAR or text.count(value) != 1:
        return []
    denial = rng.choice(("不含", "无", "非")) if CHINESE.search(text) else rng.choice(("not ", "without ", "no "))
    return [Pair(Said(text.replace(value, denial + value), name, value), "contradicted")]


def labelled_by_hand() -> list[Pair]:
    """120 pairs of 34 listings, written and labelled before anything was fitted on them. The 200 pairs of the tests are
    others."""
    rows = read_tag_rows(HAND_LABELLED)
    return [Pair(Said(compose(row.title, row.description).text, row.name, row.value), row.label) for row in rows]


def fit_tag_head(
    x: NDArray[np.float32], labels: Sequence[str], counts: NDArray[np.float64] | None = None
) -> dict[str, NDArray[Any]]:
    """Multinomial logistic regression, classes weighted equally. x: fp32 [N, SIGNS]. counts: how often each row is
    taken to be there."""
    counts = np.ones(len(x)) if counts is None else counts
    truth = np.eye(len(LABELS))[[LABELS.index(label) for label in labels]]
    weight = counts * (counts.sum() / (len(LABELS) * np.maximum(counts @ truth, 1.0)))[truth.argmax(1)]
    signs = np.concatenate([x.astype(np.float64), np.ones((len(x), 1))], 1)

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        w = flat.reshape(SIGNS + 1, len(LABELS))
        scores = signs @ w
        scores -= scores.max(1, keepdims=True)
        log_p = scores - np.log(np.exp(scores).sum(1, keepdims=True))
        gap = (np.exp(log_p) - truth) * weight[:, None]
        gradient = signs.T @ gap + PENALTY * np.concatenate([w[:-1], np.zeros((1, len(LABELS)))])
        return float(-(log_p * truth).sum(1) @ weight + 0.5 * PENALTY * (w[:-1] ** 2).sum()), gradient.ravel()

    found = minimize(loss, np.zeros((SIGNS + 1) * len(LABELS)), jac=True, method="L-BFGS-B")
    w = found.x.reshape(SIGNS + 1, len(LABELS)).astype(np.float32)
    return {"weights": w[:-1], "bias": w[-1]}


def _another(
    text: str, name: str, row: AttributeRow, pool: dict[tuple[str, str], list[str]], rng: random.Random
) -> str | None:
    """A value of the attribute that this listing has not, of the same category where there is one."""
    own = {normal(value) for value in row.values.get(name, ())}
    plain = normal(text)
    for key in ((row.category, name), ("", name)):
        values = sorted({v for v in pool.get(key, ()) if normal(v) not in own and normal(v) not in plain})
        if values:
            return rng.choice(values)
    return None


def _reworded(value: str, rng: random.Random) -> str:
    """As sellers write it: other case, no space between number and unit, or as it is."""
    kind = rng.randrange(4)
    if kind == 0:
        return value.lower()
    if kind == 1:
        return value.title()
    if kind == 2:
        return "".join(value.split()) if any(c.isdigit() for c in value) else value
    return value
