"""The one feature path equals scikit-learn's transformers, one by one and in batches."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler

from training.data import Columns, Dataset
from training.features import FeatureEngineering
from training.spec import DatasetSpec

SPEC = DatasetSpec.from_dict(
    {
        "name": "everything",
        "label": "y",
        "columns": {
            "amount": {"skewed": True, "minimum": 0},
            "hour": {"minimum": 0},
            "age": {},
            "place": {"type": "category"},
            "method": {"type": "category"},
            "weekend": {"type": "boolean"},
        },
        "features": {
            "place_x_method": {"kind": "cross", "left": "place", "right": "method"},
            "hour_per_age": {"kind": "ratio", "numerator": "hour", "denominator": "age"},
            "amount_per_hour": {
                "kind": "ratio", "numerator": "amount", "denominator": "hour", "skewed": True,
            },
            "time": {"kind": "bins", "input": "hour", "edges": [6, 12], "labels": ["a", "b", "c"]},
        },
    }
)  # fmt: skip
MISSING = {"number": math.nan, "boolean": math.nan, "category": None}

# Quarters are exact, so that a range of 0 is one for both sides; tiny and huge ones go further.
_amount = st.integers(0, 4000).map(lambda i: i / 4) | st.sampled_from([0.0, 1e-9, 1e12, 1e100])
_hour = st.integers(0, 96).map(lambda i: i / 4)
_age = st.integers(-40, 4000).map(lambda i: i / 4) | st.sampled_from([-0.0, 1e12])
_text = st.sampled_from(["", "a", "b", "ü", "0", "a|b"])
_row = st.fixed_dictionaries(
    {
        "amount": st.none() | _amount,
        "hour": st.none() | _hour,
        "age": st.none() | _age,
        "place": st.none() | _text,
        "method": st.none() | _text,
        "weekend": st.none() | st.booleans(),
    }
)
_rows = st.lists(_row, min_size=1, max_size=25)


def _columns(rows: list[dict[str, Any]]) -> Columns:
    return {
        name: np.array([r[name] for r in rows], object if c.type == "category" else np.float64)
        for name, c in SPEC.inputs.items()
    }


def _known(columns: Columns) -> set[str]:
    return {n for n, v in columns.items() if any(x is not None and x == x for x in v.tolist())}


def _imputed(train: Columns, rows: Columns) -> tuple[Columns, Columns]:
    """Both filled by SimpleImputer and joined by the recipe, written out by hand."""
    filled: tuple[Columns, Columns] = ({}, {})
    for name in [n for n in SPEC.inputs if n in _known(train)]:
        kind = SPEC.inputs[name].type
        imputer = SimpleImputer(
            missing_values=MISSING[kind],
            strategy="median" if kind == "number" else "most_frequent",
        ).fit(train[name][:, None])
        for part, source in zip(filled, (train, rows), strict=True):
            part[name] = imputer.transform(source[name][:, None])[:, 0]
    for part in filled:
        if {"place", "method"} <= set(part):
            pairs = zip(part["place"], part["method"], strict=True)
            part["place_x_method"] = np.array([f"{a}|{b}" for a, b in pairs], object)
        for name, over, under in (
            ("hour_per_age", "hour", "age"),
            ("amount_per_hour", "amount", "hour"),
        ):
            if {over, under} <= set(part):
                part[name] = np.array(
                    [a / b if b else 0.0 for a, b in zip(part[over].tolist(),
                                                         part[under].tolist(), strict=True)]
                )  # fmt: skip
        if "hour" in part:
            part["time"] = np.array(
                ["a" if h < 6 else "b" if h < 12 else "c" for h in part["hour"]], object
            )
    return filled


def _signed_log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(values < 0, -np.log1p(np.abs(values)), np.log1p(np.abs(values)))


def _reference(train: Columns, rows: Columns) -> NDArray[np.float64]:
    fitted, wanted = _imputed(train, rows)
    blocks = []
    for name, values in fitted.items():
        new = wanted[name]
        if values.dtype == object:
            encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
            blocks.append(encoder.fit(values[:, None]).transform(new[:, None]))
        elif name == "weekend":
            blocks.append(new[:, None])
        elif name in ("amount", "amount_per_hour"):
            scaler = StandardScaler().fit(_signed_log(values)[:, None])
            blocks.append(scaler.transform(_signed_log(new)[:, None]))
        else:
            blocks.append(MinMaxScaler().fit(values[:, None]).transform(new[:, None]))
    return np.hstack(blocks)


def _usable(rows: list[dict[str, Any]]) -> bool:
    return bool(_known(_columns(rows)))


@given(train=_rows.filter(_usable), rows=_rows, order=st.permutations(list(SPEC.inputs)))
def test_the_matrix_equals_that_of_scikit_learn_in_any_order_of_columns(
    train: list[dict[str, Any]], rows: list[dict[str, Any]], order: list[str]
) -> None:
    fitted_on, given_ = _columns(train), _columns(rows)
    features = FeatureEngineering(SPEC).fit({name: fitted_on[name] for name in order})

    matrix = features.transform({name: given_[name] for name in reversed(order)})

    expected = _reference(fitted_on, given_)
    assert matrix.shape == (len(rows), len(features.feature_names_))
    assert matrix.dtype == np.float64
    np.testing.assert_allclose(matrix, expected, rtol=1e-7, atol=1e-7)


@given(train=_rows.filter(_usable), rows=_rows)
def test_learned_state_survives_json_bit_by_bit(
    train: list[dict[str, Any]], rows: list[dict[str, Any]]
) -> None:
    features = FeatureEngineering(SPEC, exclude=["method"] * (len(train) % 2))
    if not _known(_columns(train)) - features.exclude:
        return
    features.fit(_columns(train))

    again = FeatureEngineering.from_dict(SPEC, json.loads(json.dumps(features.to_dict())))

    assert again.feature_names_ == features.feature_names_
    np.testing.assert_array_equal(
        again.transform(_columns(rows)), features.transform(_columns(rows))
    )


@given(train=_rows.filter(_usable), rows=_rows)
def test_one_by_one_equals_the_batch(
    train: list[dict[str, Any]], rows: list[dict[str, Any]]
) -> None:
    features = FeatureEngineering(SPEC).fit(_columns(train))

    single = [features.transform(_columns([row])) for row in rows]

    np.testing.assert_array_equal(np.vstack(single), features.transform(_columns(rows)))


@pytest.mark.parametrize("name", list(SPEC.inputs))
@given(train=_rows.filter(_usable), rows=_rows)
def test_an_absent_column_counts_as_missing_in_every_row(
    name: str, train: list[dict[str, Any]], rows: list[dict[str, Any]]
) -> None:
    features = FeatureEngineering(SPEC).fit(_columns(train))
    absent = {n: v for n, v in _columns(rows).items() if n != name}
    missing = _columns([row | {name: None} for row in rows])

    np.testing.assert_array_equal(features.transform(absent), features.transform(missing))


def test_an_input_array_is_never_changed(dataset: Dataset) -> None:
    before = {name: values.copy() for name, values in dataset.columns.items()}
    columns = dataset.columns

    FeatureEngineering(dataset.spec).fit(columns).transform(columns)

    for name, values in columns.items():
        np.testing.assert_array_equal(values, before[name])


def test_an_excluded_column_takes_the_features_made_from_it_along() -> None:
    rows = _columns(
        [{"amount": 1, "hour": h, "age": 2, "place": "a", "method": "b", "weekend": 0}
         for h in (1, 7)]
    )  # fmt: skip

    features = FeatureEngineering(SPEC, exclude=["hour", "weekend"]).fit(rows)

    assert features.inputs_ == ["amount", "age", "place", "method"]
    assert features.feature_names_ == [
        "amount", "age", "place=a", "method=b", "place_x_method=a|b",
    ]  # fmt: skip


def test_a_derived_feature_can_be_left_out_alone() -> None:
    rows = _columns(
        [{"amount": 1, "hour": h, "age": 2, "place": "a", "method": "b", "weekend": 0}
         for h in (1, 7)]
    )  # fmt: skip

    features = FeatureEngineering(SPEC, exclude=["time", "place_x_method"]).fit(rows)

    assert features.inputs_ == list(SPEC.inputs)
    assert list(features.encoders_) == [*SPEC.inputs, "hour_per_age", "amount_per_hour"]


@given(train=_rows.filter(_usable), rows=_rows)
def test_without_derived_features_the_matrix_is_the_beginning_of_the_whole_one(
    train: list[dict[str, Any]], rows: list[dict[str, Any]]
) -> None:
    whole = FeatureEngineering(SPEC).fit(_columns(train))
    plain = FeatureEngineering(SPEC, exclude=SPEC.features).fit(_columns(train))
    again = FeatureEngineering.from_dict(SPEC, json.loads(json.dumps(plain.to_dict())))

    width = len(plain.feature_names_)
    assert plain.feature_names_ == whole.feature_names_[:width]
    for features in (plain, again):
        np.testing.assert_array_equal(
            features.transform(_columns(rows)), whole.transform(_columns(rows))[:, :width]
        )


def test_a_column_without_a_single_value_is_left_out() -> None:
    row = {"amount": 1, "hour": 2, "age": None, "place": None, "method": "b", "weekend": None}

    features = FeatureEngineering(SPEC).fit(_columns([row, row]))

    assert features.inputs_ == ["amount", "hour", "method"]
    assert not any(
        name.startswith(("age", "place", "hour_per")) for name in features.feature_names_
    )


def test_an_edge_belongs_to_the_range_above_it() -> None:
    hours = [5.75, 6.0, 11.75, 12.0]
    rows = _columns([dict.fromkeys(SPEC.inputs, 1) | {"hour": h} for h in hours])
    rows |= {n: np.array(["x"] * 4, object) for n in ("place", "method")}
    features = FeatureEngineering(SPEC).fit(rows)
    place = [features.feature_names_.index(f"time={label}") for label in "abc"]

    assert features.transform(rows)[:, place].argmax(axis=1).tolist() == [0, 1, 1, 2]


@pytest.mark.parametrize("largest", [1e30, 1e300, 1.7e308])
@pytest.mark.parametrize("name", ["amount", "hour", "age"])
def test_the_matrix_is_finite_for_every_finite_payment(name: str, largest: float) -> None:
    rows = [
        {"amount": a / 8, "hour": a / 8, "age": 1 + a / 8, "place": "a", "method": "b",
         "weekend": 0}
        for a in range(5)
    ]  # fmt: skip
    features = FeatureEngineering(SPEC).fit(_columns(rows))

    matrix = features.transform(_columns([row | {name: largest} for row in rows]))

    assert np.isfinite(matrix).all()


@pytest.mark.parametrize("name", ["amount", "age"])
def test_values_that_differ_by_rounding_alone_are_a_constant(name: str) -> None:
    row = {"amount": 1, "hour": 2, "age": 3, "place": "a", "method": "b", "weekend": 0}
    noise = [row | {name: value} for value in (0.1 + 0.2, 0.3, 0.3)]
    features = FeatureEngineering(SPEC).fit(_columns(noise))

    column = features.transform(_columns(noise))[:, features.feature_names_.index(name)]

    np.testing.assert_allclose(column, 0, atol=1e-9)


def test_infinite_training_values_are_refused() -> None:
    row = {"amount": 1, "hour": 2, "age": 3, "place": "a", "method": "b", "weekend": 0}

    with pytest.raises(ValueError, match="check the values"):
        FeatureEngineering(SPEC).fit(_columns([row | {"age": math.inf}, row]))
