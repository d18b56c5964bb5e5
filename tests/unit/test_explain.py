"""Reasons are exact, add up, and name what a person knows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import combinations
from math import factorial
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from training.card.figures import importance_figure
from training.data import Columns, Dataset
from training.errors import DataRefused
from training.explain import Attribution, Explanation, explain, importance, reasons
from training.features import FeatureEngineering
from training.fit import Recipe
from training.models import FAMILIES, BoosterModel, ForestModel, LinearModel, Model, family
from training.shapley import as_booster
from training.spec import DatasetSpec

FOREST: dict[str, float] = {"n_estimators": 6, "max_depth": 4, "min_samples_leaf": 2}
BOOSTER: dict[str, float] = {"n_estimators": 6, "max_depth": 3, "subsample": 0.8}

each_family = pytest.mark.parametrize("name", FAMILIES)

Rows = tuple[NDArray[np.float64], NDArray[np.int8]]


# Exact Shapley values, by every subset of the columns.


class Tree(NamedTuple):
    left: NDArray[Any]
    right: NDArray[Any]
    column: NDArray[Any]
    goes_left: NDArray[Any]
    """Shape (nodes, n): whether a row goes left at a node."""
    value: NDArray[Any]
    cover: NDArray[Any]

    def known(self, columns: frozenset[int], row: int, node: int = 0) -> float:
        """Mean of the leaves a row may reach, where only these columns of it are known."""
        left, right = int(self.left[node]), int(self.right[node])
        if left < 0:
            return float(self.value[node])
        if self.column[node] in columns:
            return self.known(columns, row, left if self.goes_left[node, row] else right)
        return sum(
            float(self.cover[child] / self.cover[node]) * self.known(columns, row, child)
            for child in (left, right)
        )


def shapley(trees: list[Tree], columns: int, row: int) -> list[float]:
    worth = {
        frozenset(s): sum(tree.known(frozenset(s), row) for tree in trees)
        for size in range(columns + 1)
        for s in combinations(range(columns), size)
    }
    return [
        sum(
            factorial(len(s)) * factorial(columns - len(s) - 1) / factorial(columns)
            * (worth[s | {column}] - worth[s])
            for s in worth if column not in s
        )
        for column in range(columns)
    ] + [worth[frozenset()]]  # fmt: skip


def sklearn_trees(forest: RandomForestClassifier, matrix: NDArray[np.float32]) -> Iterator[Tree]:
    for estimator in forest.estimators_:
        tree = estimator.tree_
        goes_left = tree.threshold[:, None] >= matrix[:, tree.feature].T
        share = tree.value[:, 0, 1] / tree.value[:, 0].sum(axis=1) / len(forest.estimators_)
        yield Tree(
            tree.children_left, tree.children_right, tree.feature, goes_left, share,
            tree.weighted_n_node_samples,
        )  # fmt: skip


def xgboost_trees(model: BoosterModel, matrix: NDArray[np.float32]) -> Iterator[Tree]:
    content = json.loads(bytes(model.booster.save_raw("json")))
    for tree in content["learner"]["gradient_booster"]["model"]["trees"]:
        column, condition = (np.array(tree[k]) for k in ("split_indices", "split_conditions"))
        yield Tree(
            np.array(tree["left_children"]), np.array(tree["right_children"]), column,
            condition.astype(np.float32)[:, None] > matrix[:, column].T, condition,
            np.array(tree["sum_hessian"]),
        )  # fmt: skip


@pytest.fixture(scope="module")
def rows() -> Rows:
    """Four columns: two numbers, one of few values, and one of -1 and 1, which splits at 0."""
    rng = np.random.default_rng(5)
    matrix = np.column_stack(
        [rng.normal(size=(500, 2)), rng.integers(-2, 3, 500), rng.choice([-1, 1], 500)]
    ).astype(float)
    risk = matrix[:, 0] * matrix[:, 3] + 0.5 * matrix[:, 2] + rng.normal(size=500) / 2
    return matrix, (risk > 1).astype(np.int8)


def test_a_forest_is_explained_by_exact_shapley_values(rows: Rows) -> None:
    matrix, label = rows
    model = ForestModel.fit(matrix, label, FOREST, seed=2, threads=1, weight=3)
    reference = RandomForestClassifier(**FOREST, random_state=2).fit(
        matrix, label, sample_weight=np.where(label == 1, 3.0, 1.0)
    )
    shown = np.random.default_rng(1).normal(size=(12, 4)) * 2
    trees = list(sklearn_trees(reference, shown.astype(np.float32)))
    expected = [shapley(trees, 4, row) for row in range(12)]

    np.testing.assert_allclose(model.contributions(shown, np.zeros(4)), expected, rtol=0, atol=1e-6)
    assert np.abs(expected)[:, :-1].max() > 0.05


def test_boosted_trees_are_explained_by_exact_shapley_values(rows: Rows) -> None:
    model = BoosterModel.fit(*rows, BOOSTER, seed=2, threads=1, weight=3)
    shown = np.random.default_rng(1).normal(size=(12, 4)) * 2
    trees = list(xgboost_trees(model, shown.astype(np.float32)))
    expected = np.array([shapley(trees, 4, row) for row in range(12)])
    whole = [sum(tree.known(frozenset(range(4)), row) for tree in trees) for row in range(12)]
    expected[:, -1] += model.margin(shown) - whole  # the intercept

    np.testing.assert_allclose(model.contributions(shown, np.zeros(4)), expected, rtol=0, atol=1e-5)
    assert np.abs(expected)[:, :-1].max() > 0.3


def test_a_forest_decides_the_same_as_boosted_trees_even_beside_a_threshold(rows: Rows) -> None:
    matrix, label = rows
    model = ForestModel.fit(matrix, label, FOREST | {"max_depth": 9}, seed=2, threads=1)
    booster = as_booster(model.trees)
    beside, splits = [np.random.default_rng(6).normal(size=(500, 4)) * 2], set()
    for index in range(model.trees.num_tree):
        field = model.trees.get_tree_accessor(index).get_field
        inner = np.flatnonzero(field("cleft") >= 0)
        splits |= set(field("threshold")[inner].tolist())
        threshold = field("threshold")[inner].astype(np.float32)
        for value in (
            threshold, np.nextafter(threshold, np.float32(9)), np.nextafter(threshold, -9),
        ):  # fmt: skip
            close = matrix[np.arange(len(inner)) % len(matrix)]
            close[np.arange(len(inner)), field("split_index")[inner]] = value
            beside.append(close)
    shown = np.vstack(beside)
    expected = model.probability(shown)
    converted = booster.inplace_predict(shown.astype(np.float32))

    assert {0.0, 0.5} < splits  # some are floats of 32 bits themselves, most are not
    assert any(value != float(np.float32(value)) for value in splits)
    np.testing.assert_allclose(converted, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(
        model.contributions(shown, np.zeros(4)).sum(axis=1), expected, rtol=0, atol=1e-5
    )


# Fields.


@pytest.fixture(scope="module")
def features(dataset: Dataset, spec: DatasetSpec) -> FeatureEngineering:
    return FeatureEngineering(spec).fit(dataset.columns)


@pytest.fixture(scope="module")
def background(features: FeatureEngineering, dataset: Dataset) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = features.transform(dataset.columns).mean(axis=0)
    return mean


@pytest.fixture(scope="module")
def models(
    features: FeatureEngineering, dataset: Dataset, recipe: Callable[..., Recipe]
) -> dict[str, Model]:
    matrix = features.transform(dataset.columns)
    return {
        name: family(name).fit(matrix, dataset.label, recipe(name).params, seed=1, threads=1)
        for name in FAMILIES
    }


def payments_of(spec: DatasetSpec) -> st.SearchStrategy[Columns]:
    """One to five payments, with missing values, unknown categories and fields left out."""

    def value(name: str) -> st.SearchStrategy[Any]:
        column = spec.inputs[name]
        if column.type == "category":
            return st.none() | st.sampled_from([*column.categories, "barter", ""])
        if column.type == "boolean":
            return st.sampled_from([np.nan, 0.0, 1.0])
        known = st.floats(0, column.maximum if column.maximum is not None else 1e12)
        return st.just(np.nan) | known

    def columns(rows: list[dict[str, Any]], left_out: set[str]) -> Columns:
        return {
            name: np.array(
                [row[name] for row in rows],
                object if spec.inputs[name].type == "category" else np.float64,
            )
            for name in spec.inputs if name not in left_out
        }  # fmt: skip

    row = st.fixed_dictionaries({name: value(name) for name in spec.inputs})
    left_out = st.sets(st.sampled_from(sorted(spec.inputs)), max_size=3)
    return st.builds(columns, st.lists(row, min_size=1, max_size=5), left_out)


@each_family
@given(data=st.data())
def test_base_and_fields_add_up_to_the_margin_whatever_is_paid(
    name: str,
    data: st.DataObject,
    models: dict[str, Model],
    features: FeatureEngineering,
    background: NDArray[np.float64],
) -> None:
    columns = data.draw(payments_of(features.spec))
    matrix = features.transform(columns)
    found = explain(models[name], features, matrix, background)

    assert found.fields == tuple(features.inputs_)
    assert found.values.shape == (len(matrix), len(found.fields))
    np.testing.assert_array_equal(found.margin, models[name].margin(matrix))
    np.testing.assert_allclose(
        found.base + found.values.sum(axis=1), found.margin,
        rtol=1e-12, atol=1e-9 if name == "logistic-regression" else 1e-4,
    )  # fmt: skip

    given_reasons = reasons(found, features, columns, 0, most=99)
    total = sum(reason.contribution for reason in given_reasons)
    np.testing.assert_allclose(total, found.values[0].sum(), atol=1e-9, rtol=1e-12)
    sizes = [abs(reason.contribution) for reason in given_reasons]
    assert sizes == sorted(sizes, reverse=True)
    assert 0 not in sizes


@given(data=st.data())
def test_every_column_belongs_to_fields_that_are_not_left_out(
    data: st.DataObject, dataset: Dataset, spec: DatasetSpec
) -> None:
    names = sorted(spec.inputs)
    excluded = data.draw(st.sets(st.sampled_from(names), max_size=len(names) - 1))
    some = {name: values[:300] for name, values in dataset.columns.items()}
    chosen = FeatureEngineering(spec, exclude=excluded).fit(some)
    found = Attribution.of(chosen)

    assert set(found.fields) == set(names) - excluded
    assert found.shares.shape == (len(chosen.feature_names_), len(found.fields))
    np.testing.assert_allclose(found.shares.sum(axis=1), 1)
    for share, column in zip(found.shares, chosen.feature_names_, strict=True):
        feature = spec.features.get(column.partition("=")[0])
        owners = feature.inputs if feature else (column.partition("=")[0],)
        assert {found.fields[i]: share[i] for i in np.flatnonzero(share)} == dict.fromkeys(
            owners, 1 / len(owners)
        )


TINY = DatasetSpec.from_dict(
    {
        "name": "tiny",
        "label": "y",
        "columns": {
            "amount": {"unit": "EUR"},
            "limit": {"unit": "EUR"},
            "hour": {"unit": "hour of the day"},
            "method": {"type": "category"},
            "weekend": {"type": "boolean"},
        },
        "features": {
            "used": {"kind": "ratio", "numerator": "amount", "denominator": "limit"},
            "twice": {"kind": "cross", "left": "method", "right": "method"},
            "time": {"kind": "bins", "input": "hour", "edges": [12], "labels": ["am", "pm"]},
        },
    }
)


@pytest.fixture(scope="module")
def tiny() -> FeatureEngineering:
    return FeatureEngineering(TINY).fit(
        {
            "amount": np.array([0.0, 1234567.25, 0.0]),
            "limit": np.array([2.0, 4.0, 2.0]),
            "hour": np.array([0.0, 24.0, 6.0]),
            "method": np.array(["card", "cash", "card"], object),
            "weekend": np.array([0.0, 1.0, 0.0]),
        }
    )


@pytest.fixture(scope="module")
def linear(tiny: FeatureEngineering) -> LinearModel:
    weight = {
        "amount": 1.0, "limit": -2.0, "hour": 0.5, "method=card": -0.25, "method=cash": 0.25,
        "weekend": 3.0, "used": 0.125, "twice=card|card": 0.0, "twice=cash|cash": 0.5,
        "time=am": 0.0, "time=pm": 8.0,
    }  # fmt: skip
    return LinearModel(np.array([weight[name] for name in tiny.feature_names_]), -4.0)


@pytest.fixture
def three() -> Columns:
    """A payment with everything, one without, and one whose method nobody has seen."""
    return {
        "amount": np.array([1234567.25, np.nan, 0.0]),
        "limit": np.array([4.0, np.nan, 2.0]),
        "hour": np.array([14.5, np.nan, 0.0]),
        "method": np.array(["cash", None, "barter"], object),
        "weekend": np.array([1.0, np.nan, 0.0]),
    }


def test_a_derived_feature_is_shared_by_its_inputs(
    tiny: FeatureEngineering, linear: LinearModel, three: Columns
) -> None:
    found = explain(linear, tiny, tiny.transform(three), np.zeros(len(tiny.feature_names_)))
    # Scaled to 0..1, times the weight; the ratio, at its largest, gives 0.125 / 2 to either input.
    expected = {
        "amount": 1.0 + 0.0625, "limit": -2.0 + 0.0625, "hour": 14.5 / 24 * 0.5 + 8.0,
        "method": 0.25 + 0.5, "weekend": 3.0,
    }  # fmt: skip

    assert dict(zip(found.fields, found.values[0].tolist(), strict=True)) == pytest.approx(expected)
    assert found.base.tolist() == [-4.0, -4.0, -4.0]


def test_reasons_are_in_plain_words(
    tiny: FeatureEngineering, linear: LinearModel, three: Columns
) -> None:
    matrix = tiny.transform(three)
    found = explain(linear, tiny, matrix, np.full(matrix.shape[1], 0.25))

    def texts(row: int, columns: Columns = three, most: int = 99) -> list[str]:
        return [reason.text for reason in reasons(found, tiny, columns, row, most=most)]

    assert texts(0) == [
        "hour is 14.5 (hour of the day): raises the risk",
        "weekend is yes: raises the risk",
        "limit is 4 EUR: lowers the risk",
        "amount is 1234567.25 EUR: raises the risk",
        "method is cash: raises the risk",
    ]
    assert texts(0, most=2) == texts(0)[:2]
    assert "weekend is missing (taken as no): lowers the risk" in texts(1)
    assert "method is missing (taken as card): lowers the risk" in texts(1)
    assert "limit is missing (taken as 2 EUR): raises the risk" in texts(1)
    assert "hour is missing (taken as 6 (hour of the day)): lowers the risk" in texts(1)
    assert "method is barter (not seen in training): lowers the risk" in texts(2)
    # A column that is not there at all is missing too.
    assert texts(1, {"hour": three["hour"]}) == texts(1)


def test_a_reason_keeps_the_value_as_it_was_given(
    tiny: FeatureEngineering, linear: LinearModel, three: Columns
) -> None:
    matrix = tiny.transform(three)
    found = explain(linear, tiny, matrix, np.full(matrix.shape[1], 0.25))
    values = [{r.field: r.value for r in reasons(found, tiny, three, row)} for row in range(3)]

    assert values[0] == {
        "hour": 14.5, "weekend": 1.0, "limit": 4.0, "amount": 1234567.25, "method": "cash",
    }  # fmt: skip
    assert set(values[1].values()) == {None}
    assert values[2]["method"] == "barter"
    assert {type(v) for v in values[0].values()} == {float, str}


def test_a_field_that_changes_nothing_is_no_reason(
    tiny: FeatureEngineering, linear: LinearModel, three: Columns
) -> None:
    matrix = tiny.transform(three)
    found = explain(linear, tiny, matrix, matrix[0])

    assert reasons(found, tiny, three, 0) == []


# Importance.


def test_importance_is_the_mean_size_of_contributions_the_largest_first() -> None:
    values = np.array([[1.0, -4.0, 0.0], [-2.0, 4.0, 0.0]])
    found = importance(Explanation(np.zeros(2), ("a", "b", "c"), values, values.sum(axis=1)))

    assert list(found.items()) == [("b", 4.0), ("a", 1.5), ("c", 0.0)]


def test_importance_of_nothing_is_refused() -> None:
    empty = Explanation(np.zeros(0), ("a",), np.zeros((0, 1)), np.zeros(0))

    with pytest.raises(DataRefused, match="at least 1 explained row, there are 0"):
        importance(empty)


def test_the_picture_of_importance_shows_the_first_fields() -> None:
    many = {f"field {i}": 30.0 - i for i in range(30)} | {"price$ in $": 99.0}
    figure = importance_figure(many, "Validation", unit="log-odds", most=4)
    axes = figure.axes[0]

    assert [b.get_width() for b in axes.patches if isinstance(b, Rectangle)] == [99, 30, 29, 28]
    assert [t.get_text() for t in axes.get_yticklabels()] == [
        r"price\$ in \$", "field 0", "field 1", "field 2",
    ]  # fmt: skip
    assert axes.yaxis_inverted()  # the first one is on top
    assert "log-odds" in axes.get_xlabel()
    assert axes.get_title() == "Validation: what the score depends on (the first 4 of 31)"
