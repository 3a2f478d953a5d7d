"""Category: lists of labels, known and unknown; names that training never saw; depth of agreement."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.errors import Rejected
from inference.model.encoder import Encoded
from inference.tasks.category import LINEAR, CategoryHead, LabelChooser, NameMatcher, name_side
from inference.tasks.linear import ROWS, SHOP_ROWS, Linear, shop_wordings, softmax, wordings
from inference.tasks.weights import HeadFile
from inference.taxonomy import LabelMap
from inference.training.data import TextRow
from inference.training.evaluate import label_source

WIDTH = 12
RNG = np.random.default_rng(5)


def said(direction: int) -> Encoded:
    """A text whose meaning is one axis."""
    vector = np.zeros(WIDTH, np.float32)
    vector[direction] = 1.0
    return Encoded(np.zeros(1, np.int64), np.zeros((1, 2), np.int32), vector[None], vector, vector, False)


def head() -> CategoryHead:
    """Knows the labels A, B and C of one set, on the axes 0, 1, 2; names are compared on all axes."""
    zeros, ones = np.zeros(WIDTH, np.float32), np.ones(WIDTH, np.float32)
    matcher: dict[str, NDArray[np.float32]] = {
        "query_mean": zeros, "query_scale": ones, "name_mean": zeros, "name_scale": ones,
        "pooled_mean": zeros, "name_pooled_mean": zeros, "cosine": np.array([4.0]), "heat": np.array([1.0]),
        "query": 2 * np.eye(WIDTH, dtype=np.float32), "name": np.eye(WIDTH, dtype=np.float32),
    }  # fmt: skip
    dense = np.zeros((WIDTH, 3), np.float32)
    dense[[0, 1, 2], [0, 1, 2]] = 200.0
    linear: dict[str, NDArray[Any]] = {
        "mean": zeros, "scale": ones, "idf": np.ones(ROWS, np.float32), "dense": dense,
        "sparse": np.zeros((ROWS, 3), np.float32), "bias": np.zeros(3, np.float32), "temperature": np.ones(1),
    }  # fmt: skip
    arrays: dict[str, NDArray[Any]] = {**matcher, **{f"demo.{name}": linear[name] for name in LINEAR}}
    return CategoryHead(HeadFile(arrays, {"sets": {"demo": ["A", "B", "C"]}}))


def test_labels_of_a_training_set_use_its_fitted_weights_and_nothing_else() -> None:
    chooser = LabelChooser(head(), ["C", "A"], [said(5), said(6)])
    odds = chooser.probabilities(said(0), "")
    assert odds.tolist() == pytest.approx([0.0, 1.0], abs=1e-2)
    assert chooser.probabilities(said(1), "").sum() == pytest.approx(1.0)


def test_unknown_labels_are_compared_by_name_beside_known_ones() -> None:
    labels = ["A", "Garden Gnomes", "B"]
    chooser = LabelChooser(head(), labels, [said(0), said(7), said(1)])
    assert labels[int(chooser.probabilities(said(7), "").argmax())] == "Garden Gnomes"
    assert labels[int(chooser.probabilities(said(1), "").argmax())] == "B"
    assert chooser.probabilities(said(7), "").sum() == pytest.approx(1.0)


def test_a_list_without_any_known_label() -> None:
    chooser = LabelChooser(head(), ["X", "Y"], [said(3), said(4)])
    assert int(chooser.probabilities(said(4), "").argmax()) == 1


def test_the_set_that_knows_most_labels_is_taken() -> None:
    assert head().set_of(["A", "Z"]) == "demo"
    assert head().set_of(["Z"]) is None


def test_heat_divides_the_scores() -> None:
    one = head().matcher
    side = name_side([said(0), said(1)])
    hot = NameMatcher({**one._w, "heat": np.array([2.0], np.float32)})
    np.testing.assert_allclose(hot.scores(said(0), hot.vectors(side)) * 2, one.scores(said(0), one.vectors(side)))


def test_wordings_fold_width_and_case_and_are_bounded() -> None:
    assert wordings("ＮＩＫＥ 鞋").rows.tolist() == wordings("nike 鞋").rows.tolist()
    assert len(wordings("a b " * 100_000).rows) < 10
    assert wordings("").rows.tolist() == []
    assert int(wordings("\x00🙂").rows.max(initial=0)) < ROWS


def test_softmax_of_large_scores() -> None:
    assert softmax(np.array([1e4, 0.0])).tolist() == [1.0, 0.0]


@pytest.mark.train
def test_fitted_linear_weights_learn_from_features_and_from_wording() -> None:
    pytest.importorskip("scipy")
    from inference.training.softmax import fit_softmax

    truth = np.arange(90) % 3
    features = RNG.normal(size=(90, WIDTH)).astype(np.float32)
    features[np.arange(90), truth] += np.where(truth == 2, 0.0, 6.0)
    texts = [f"lot {n} {'鞋' if label == 2 else 'thing'}" for n, label in enumerate(truth)]
    weights = fit_softmax(features, texts, truth, 3, 30.0)
    model = Linear(["a", "b", "c"], weights)
    odds = np.stack([model.log_odds(f, text) for f, text in zip(features, texts, strict=True)])
    assert (odds.argmax(1) == truth).mean() > 0.97


@pytest.mark.train
def test_a_shop_decides_where_it_is_known_and_nothing_is_lost_where_it_is_not() -> None:
    pytest.importorskip("scipy")
    from inference.training.softmax import fit_softmax

    truth = np.arange(120) % 3
    features = RNG.normal(size=(120, WIDTH)).astype(np.float32)
    texts = [f"lot {n} {'shoe' if label == 2 else 'thing'}" for n, label in enumerate(truth)]
    shops = [("茶叶旗舰店", "珠宝专营", "ACME SHOES")[label] if n % 4 else "" for n, label in enumerate(truth)]
    weights = fit_softmax(features, texts, truth, 3, 30.0, shops)
    model = Linear(["tea", "jewels", "shoes"], weights)
    nothing = np.zeros(WIDTH, np.float32)
    for shop, label in (("茶叶旗舰店", 0), ("茶叶专卖", 0), ("某珠宝店", 1), ("acme shoes", 2)):
        assert int(model.log_odds(nothing, "lot 7 thing", shop).argmax()) == label
    assert int(model.log_odds(nothing, "lot 7 shoe").argmax()) == 2
    without = fit_softmax(features, texts, truth, 3, 30.0)
    assert "shop" not in without
    plain = Linear(["tea", "jewels", "shoes"], without)
    np.testing.assert_array_equal(plain.log_odds(nothing, "lot 7", "ACME"), plain.log_odds(nothing, "lot 7"))


def test_wordings_of_a_shop() -> None:
    assert shop_wordings(" ＡＣＭＥ 旗舰店 ").rows.tolist() == shop_wordings("acme 旗舰店").rows.tolist()
    assert shop_wordings("").rows.tolist() == []
    assert int(shop_wordings("心斋堂旗舰店").rows.max()) < SHOP_ROWS


@pytest.mark.train
def test_the_temperature_undoes_scores_that_are_twice_too_sure() -> None:
    pytest.importorskip("scipy")
    from inference.training.softmax import best_temperature

    honest = RNG.normal(size=(4_000, 3)).astype(np.float32) * 2
    odds = np.exp(honest) / np.exp(honest).sum(1, keepdims=True)
    truth = (odds.cumsum(1) < RNG.random((4_000, 1))).sum(1).clip(max=2)
    assert best_temperature(honest, truth) == pytest.approx(1.0, rel=0.15)
    assert best_temperature(honest * 2, truth) == pytest.approx(2.0, rel=0.15)


def test_the_label_map_is_found_by_the_labels() -> None:
    maps = LabelMap({"one": {"Shoes": ("shoes",)}, "two": {"Shoes": ("shoes",), "Hats": ("hats",)}})
    rows = [TextRow("t", "Shoes"), TextRow("t", "Hats")]
    assert label_source(maps, rows) == "two"
    with pytest.raises(Rejected, match="--labels"):
        label_source(maps, [TextRow("t", "Nothing")])


def test_label_maps_name_every_label_of_the_training_sets() -> None:
    from inference.tasks.weights import DEFAULT_WEIGHTS
    from inference.taxonomy import load_label_map, load_taxonomy

    maps = load_label_map(load_taxonomy())
    head = json.loads((DEFAULT_WEIGHTS / "category.json").read_text(encoding="utf-8"))
    assert head["label_map"] == maps.version
    columns = {"zh_store_titles": "category", "fashion": "articleType", "pricerunner": "category"}
    for name, labels in head["sets"].items():
        assert set(labels) <= set(maps.maps[f"{name}.{columns[name]}"])


def test_default_weights_stand_where_the_build_looks() -> None:
    from inference.serving.build import WEIGHTS
    from inference.tasks.weights import DEFAULT_WEIGHTS

    assert Path(WEIGHTS) == DEFAULT_WEIGHTS
