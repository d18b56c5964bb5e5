"""Folds are made inside the training rows, and scores are judged by rows as they come."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from training.audit import Audit, audit
from training.data import Dataset
from training.errors import DataRefused, UsageError
from training.features import FeatureEngineering
from training.split import Split, folds
from training.threshold import Policy
from tuning.objective import (
    METRIC,
    METRICS,
    Fold,
    direction,
    measure,
    natural_ratio,
    prepare,
)

COUNT = 3


@pytest.fixture(scope="module")
def prepared(dataset: Dataset, parts: Split, report: Audit) -> list[Fold]:
    return prepare(dataset, parts, report, COUNT)


def test_features_of_a_fold_are_learned_from_the_rows_it_fits(
    prepared: list[Fold], dataset: Dataset, parts: Split
) -> None:
    pairs = folds(dataset, parts, COUNT)
    for fold, (fit_rows, held_out_rows) in zip(prepared, pairs, strict=True):
        fit, held_out = dataset.take(fit_rows), dataset.take(held_out_rows)
        features = FeatureEngineering(dataset.spec).fit(fit.columns)
        np.testing.assert_array_equal(fold.fit, features.transform(fit.columns))
        np.testing.assert_array_equal(fold.held_out, features.transform(held_out.columns))
        np.testing.assert_array_equal(fold.fit_label, fit.label)
        np.testing.assert_array_equal(fold.held_out_label, held_out.label)


def test_validation_and_test_rows_are_never_seen(
    prepared: list[Fold], dataset: Dataset, parts: Split, report: Audit
) -> None:
    frame = dataset.frame.copy()
    rest = np.concatenate([parts.validation, parts.test])
    frame.loc[rest, "amount"] *= 3
    frame.loc[rest, "label"] = (np.arange(len(rest)) % 3 == 0).astype(np.int8)

    again = prepare(replace(dataset, frame=frame), parts, report, COUNT)
    for before, after in zip(prepared, again, strict=True):
        for name in ("fit", "fit_label", "held_out", "held_out_label"):
            np.testing.assert_array_equal(getattr(after, name), getattr(before, name))


def test_excluded_columns_are_in_no_fold(dataset: Dataset, parts: Split, report: Audit) -> None:
    leaky = replace(
        dataset, frame=dataset.frame.assign(amount=np.where(dataset.label == 1, np.nan, 5.0))
    )
    with_amount = prepare(dataset, parts, report, COUNT)[0].fit.shape[1]

    without = prepare(leaky, parts, audit(leaky, parts), COUNT)
    assert without[0].fit.shape[1] == with_amount - 1


def test_the_natural_ratio_is_one_that_no_fold_exceeds(prepared: list[Fold]) -> None:
    ratio = natural_ratio(prepared)

    each = [f.fit_label.sum() / (f.fit_label == 0).sum() for f in prepared]
    assert ratio == pytest.approx(max(each), rel=1e-12)


def test_derived_features_are_in_the_folds_or_not(
    prepared: list[Fold], dataset: Dataset, parts: Split, report: Audit
) -> None:
    plain = prepare(dataset, parts, report, COUNT, derived=False)

    for fold, bare in zip(prepared, plain, strict=True):
        assert bare.fit.shape[1] < fold.fit.shape[1]
        np.testing.assert_array_equal(bare.fit, fold.fit[:, : bare.fit.shape[1]])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), done=st.integers(1, COUNT), floor=st.floats(0.05, 1))
def test_metrics_are_those_of_the_folds_judged_so_far(
    prepared: list[Fold], seed: int, done: int, floor: float
) -> None:
    rng = np.random.default_rng(seed)
    folds = prepared[:done]
    scores = [rng.random(len(f.held_out_label)) ** (3 - 2 * f.held_out_label) for f in folds]

    found, curve = measure(scores, prepared, Policy.parse(f"recall>={floor:.2f}"))

    areas = [
        average_precision_score(f.held_out_label, s) for f, s in zip(folds, scores, strict=True)
    ]
    assert found[METRIC] == pytest.approx(np.mean(areas), rel=1e-12)
    assert found["pr_auc_std"] == pytest.approx(np.std(areas), abs=1e-12)
    assert [found[f"pr_auc_fold_{i}"] for i in range(1, done + 1)] == pytest.approx(areas)
    assert f"pr_auc_fold_{done + 1}" not in found
    label = np.concatenate([f.held_out_label for f in folds])
    alert = np.concatenate(scores) >= found["threshold"]
    assert found["recall"] == pytest.approx(alert[label == 1].mean())
    assert found["recall"] >= float(f"{floor:.2f}") - 1e-12
    assert found["precision"] == pytest.approx(label[alert].mean())
    assert found["alerts_per_10000"] == pytest.approx(alert.mean() * 10_000)
    assert curve.rows == len(label)
    assert all(isinstance(value, float) for value in found.values())


def test_every_metric_is_measured_and_an_unknown_one_refused(prepared: list[Fold]) -> None:
    scores = [fold.held_out_label.astype(float) for fold in prepared]

    assert set(METRICS) <= set(measure(scores, prepared, Policy.parse("max-f1"))[0])
    assert direction("cost_per_10000") == -direction("recall")
    with pytest.raises(UsageError, match="no metric 'accuracy'; there are pr_auc, "):
        direction("accuracy")


def test_too_few_frauds_for_the_folds_are_refused(
    dataset: Dataset, parts: Split, report: Audit
) -> None:
    with pytest.raises(DataRefused, match="frauds in the training rows are too few for 60 folds"):
        prepare(dataset, parts, report, 60)
