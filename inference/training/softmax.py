"""Fits a linear classifier (inference/tasks/linear.py): multinomial logistic loss, L2, by L-BFGS. Needs scipy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix, hstack, vstack

from inference.tasks.linear import (
    ROWS,
    SHOP_ROWS,
    SHOP_WEIGHT,
    shop_wordings,
    standardised,
    unit_weights,
    wordings,
)

ITERATIONS = 120
"""Enough for the loss to settle at these costs; more iterations were not tried."""
TEMPERATURES = np.geomspace(0.3, 4.0, 40)

Floats = NDArray[np.float32]
Arrays = dict[str, NDArray[Any]]


def fit_softmax(
    features: Floats,
    texts: Sequence[str],
    labels: NDArray[np.int64],
    classes: int,
    cost: float,
    shops: Sequence[str] = (),
) -> Arrays:
    """Weights of a Linear, temperature 1. cost: weight of the loss against half the squared norm. shops: of each text,
    empty where it is not known; such a text counts once with its shop and once without, half each, so that one is as
    well answered as the other."""
    mean, scale = features.mean(0), 1.0 / (features.std(0) + 1e-4)
    wording, idf = _matrix([wordings(text).rows for text in texts], ROWS)
    dense = standardised(features, mean, scale)
    truth = np.eye(classes, dtype=np.float32)[labels]
    costs = np.full(len(texts), cost, np.float32)
    width = dense.shape[1]
    arrays: Arrays = {"mean": mean, "scale": scale, "idf": idf}
    if any(shops):
        shop, arrays["shop_idf"] = _matrix([shop_wordings(each).rows for each in shops], SHOP_ROWS)
        known = np.flatnonzero([bool(each) for each in shops])
        costs[known] /= 2.0
        twice = np.concatenate([np.arange(len(texts)), known])
        nothing = csr_matrix((len(known), SHOP_ROWS), dtype=np.float32)
        wording = hstack([wording[twice], vstack([SHOP_WEIGHT * shop, nothing])]).tocsr()
        dense, truth, costs = dense[twice], truth[twice], costs[twice]
    transposed = wording.T.tocsr()

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        w = flat.reshape(-1, classes).astype(np.float32)
        scores = dense @ w[:width] + wording @ w[width:-1] + w[-1]
        scores -= scores.max(1, keepdims=True)
        log_p = scores - np.log(np.exp(scores).sum(1, keepdims=True))
        gap = (np.exp(log_p) - truth) * costs[:, None]
        gradient = np.concatenate([dense.T @ gap, transposed @ gap, gap.sum(0, keepdims=True)])
        gradient[:-1] += w[:-1]
        right = (log_p * truth).sum(1, dtype=np.float64)
        value = -float(right @ costs) + 0.5 * float((w[:-1] ** 2).sum(dtype=np.float64))
        return value, gradient.astype(np.float64).ravel()

    start = np.zeros((width + wording.shape[1] + 1) * classes)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS, "maxcor": 6})
    w = found.x.reshape(-1, classes).astype(np.float32)
    arrays |= {"dense": w[:width], "sparse": w[width : width + ROWS]}
    arrays |= {"shop": w[width + ROWS : -1]} if any(shops) else {}
    return arrays | {"bias": w[-1], "temperature": np.ones(1, np.float32)}


def best_temperature(log_odds: Floats, labels: NDArray[np.int64]) -> float:
    """The temperature that makes the scores [N, C] likeliest (Guo et al. 2017)."""

    def cost(temperature: float) -> float:
        scores = log_odds / temperature
        scores = scores - scores.max(1, keepdims=True)
        return float((np.log(np.exp(scores).sum(1)) - scores[np.arange(len(labels)), labels]).mean())

    return float(min(TEMPERATURES, key=cost))


def _matrix(rows: Sequence[NDArray[np.int64]], width: int) -> tuple[csr_matrix, Floats]:
    """Rows of wordings, each of length 1, and how much each wording says."""
    counts = np.bincount(np.concatenate(rows), minlength=width)
    idf = np.log(1.0 + len(rows) / (1.0 + counts)).astype(np.float32)
    idf[counts == 0] = 0.0
    values = [unit_weights(idf, each) for each in rows]
    ends = np.concatenate([[0], np.cumsum([len(each) for each in rows])])
    matrix = csr_matrix((np.concatenate(values), np.concatenate(rows), ends), shape=(len(rows), width))
    return matrix.astype(np.float32), idf
