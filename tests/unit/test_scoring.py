"""The hot path equals a fitted scikit-learn pipeline, and a batch equals its rows one by one."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.pipeline import Pipeline

from training import scoring
from training.audit import Audit
from training.bundle import ModelBundle
from training.data import Columns, Dataset
from training.fit import Recipe, train
from training.models import FAMILIES
from training.spec import DatasetSpec
from training.split import Split

MOST, FAR = float(np.finfo(float).max), 1e30
each_family = pytest.mark.parametrize("family", FAMILIES)

_number = (
    st.none()
    | st.floats(0, 1e6)
    | st.sampled_from([0.0, 5e-324, 1e-300, 1e-9, 29, 30, 364.9, 365, 1e12, 1e100, 1e300, MOST])
    | st.sampled_from([math.inf])
)
_hour = st.none() | st.floats(0, 24) | st.sampled_from([0.0, 6.0, 12.0, 18.0, 24.0])
_text = st.none() | st.sampled_from(["paypal", "creditcard", "storecredit", "food", "shopping"])
_strange = st.text(max_size=4) | st.sampled_from(["food|paypal", "|", "None", "nan"])


def _payment(spec: DatasetSpec) -> st.SearchStrategy[dict[str, Any]]:
    kinds = {
        "number": _number, "boolean": st.none() | st.sampled_from([0.0, 1.0]),
        "category": _text | _strange,
    }  # fmt: skip
    fields = {name: kinds[column.type] for name, column in spec.inputs.items()}
    return st.fixed_dictionaries(fields | {"localTime": _hour})


PAYMENTS = st.lists(_payment(DatasetSpec.load("payments")), min_size=1, max_size=12)


def _columns(rows: list[dict[str, Any]], names: list[str]) -> Columns:
    spec = DatasetSpec.load("payments")
    return {
        name: np.array(
            [row[name] for row in rows],
            object if spec.inputs[name].type == "category" else np.float64,
        )
        for name in names
    }


@pytest.fixture(scope="module")
def peer() -> ModuleType:
    """The benchmark's own scikit-learn pipeline: what is timed there is held equal here."""
    path = Path(__file__).parents[2] / "benchmarks" / "sklearn_pipeline.py"
    loaded = importlib.util.spec_from_file_location("sklearn_pipeline", path)
    assert loaded is not None
    assert loaded.loader is not None
    module = importlib.util.module_from_spec(loaded)
    sys.modules["sklearn_pipeline"] = module
    loaded.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pairs(
    dataset: Dataset, parts: Split, report: Audit, recipe: Callable[..., Recipe], peer: ModuleType
) -> dict[str, tuple[ModelBundle, Pipeline]]:
    """Each family's bundle with the scikit-learn pipeline that holds the same fitted model."""
    rows = dataset.take(parts.train)
    made = {f: train(dataset, parts, recipe(f, smote=0), report) for f in FAMILIES}
    return {f: (bundle, peer.build(bundle, rows)) for f, bundle in made.items()}


@each_family
@settings(max_examples=25)
@given(rows=PAYMENTS, shuffle=st.randoms(use_true_random=False))
def test_every_payment_scores_as_the_scikit_learn_pipeline_does(
    family: str,
    rows: list[dict[str, Any]],
    shuffle: Any,
    pairs: dict[str, tuple[ModelBundle, Pipeline]],
) -> None:
    bundle, pipeline = pairs[family]
    names = list(bundle.spec.inputs)
    shuffle.shuffle(names)  # the order of columns is nobody's business
    columns = _columns(rows, names)

    found = bundle.model.probability(bundle.features.transform(columns))

    # scikit-learn refuses what is infinite, in float32 too; here there is a largest number.
    finite = {n: v if v.dtype == object else np.minimum(v, MOST) for n, v in columns.items()}
    frame = pd.DataFrame(finite, dtype=object)
    for name, column in bundle.spec.inputs.items():
        if column.type != "category":
            frame[name] = frame[name].astype(np.float64)
    matrix = pipeline[:-1].transform(frame[bundle.features.inputs_])
    expected = pipeline[-1].predict_proba(np.clip(matrix, -FAR, FAR))[:, 1]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@each_family
@given(rows=PAYMENTS)
def test_a_batch_scores_as_its_rows_do_one_by_one(
    family: str, rows: list[dict[str, Any]], bundles: dict[str, ModelBundle]
) -> None:
    bundle = bundles[family]
    columns = _columns(rows, list(bundle.spec.inputs))

    together = bundle.score(columns)

    alone = [
        bundle.score({name: values[i : i + 1] for name, values in columns.items()})[0]
        for i in range(len(rows))
    ]
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-12)
    assert np.isfinite(together).all()
    assert ((together > 0) & (together < 1)).all()


def test_many_rows_are_scored_block_by_block_in_order(
    bundle: ModelBundle, fresh: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = bundle.score(fresh.columns)

    monkeypatch.setattr(scoring, "BLOCK", 999)

    np.testing.assert_array_equal(bundle.score(fresh.columns), whole)


@each_family
def test_a_column_that_is_absent_counts_as_missing(
    family: str, bundles: dict[str, ModelBundle], fresh: Dataset
) -> None:
    bundle, columns = bundles[family], fresh.columns
    for name in ("amount", "Category", "isWeekend"):
        values = columns[name]
        empty = np.full(len(values), None if values.dtype == object else np.nan, values.dtype)
        absent = {n: v for n, v in columns.items() if n != name}

        np.testing.assert_array_equal(bundle.score(absent), bundle.score(columns | {name: empty}))


def test_every_kind_of_missing_text_is_one(bundle: ModelBundle, fresh: Dataset) -> None:
    def with_category(value: Any) -> Columns:
        return fresh.columns | {"Category": np.full(len(fresh), value, object)}

    expected = bundle.score(with_category(None))
    for missing in (np.nan, float("nan"), pd.NA, pd.NaT):
        np.testing.assert_array_equal(bundle.score(with_category(missing)), expected)


def test_a_scorer_keeps_no_memory_of_what_it_scored(bundle: ModelBundle, fresh: Dataset) -> None:
    before = {n: v.copy() for n, v in fresh.columns.items()}
    first = bundle.score(fresh.columns)
    other = replace(fresh, frame=fresh.frame.iloc[::-1])

    np.testing.assert_array_equal(bundle.score(other.columns), first[::-1])
    np.testing.assert_array_equal(bundle.score(fresh.columns), first)
    for name, values in fresh.columns.items():
        pd.testing.assert_series_equal(pd.Series(values), pd.Series(before[name]))
