"""A trial fits inside the folds of the training rows and judges by rows as they come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from training.audit import Audit, audit
from training.data import Dataset
from training.errors import DataRefused
from training.features import FeatureEngineering
from training.fit import Recipe, fit_model
from training.models import FAMILIES
from training.split import Split, folds
from tuning.objective import METRIC, Fold, judge, natural_ratio, prepare

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


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("smote", [0.0, 0.3])
def test_a_recipe_is_judged_by_the_mean_of_its_folds_at_natural_prevalence(
    family: str, smote: float, prepared: list[Fold], recipe: Callable[..., Recipe]
) -> None:
    tried = recipe(family, smote=smote, policy="recall>=0.5")

    found = judge(tried, prepared)

    scores = [fit_model(f.fit, f.fit_label, tried)[0].probability(f.held_out) for f in prepared]
    areas = [
        average_precision_score(f.held_out_label, s) for f, s in zip(prepared, scores, strict=True)
    ]
    assert found[METRIC] == pytest.approx(np.mean(areas), rel=1e-12)
    assert found["pr_auc_std"] == pytest.approx(np.std(areas), abs=1e-12)
    assert [found[f"pr_auc_fold_{i}"] for i in (1, 2, 3)] == pytest.approx(areas)
    label = np.concatenate([f.held_out_label for f in prepared])
    alert = np.concatenate(scores) >= found["threshold"]
    assert found["recall"] == pytest.approx(alert[label == 1].mean())
    assert found["recall"] >= 0.5
    assert found["precision"] == pytest.approx(label[alert].mean())
    assert all(isinstance(value, float) for value in found.values())


def test_a_recipe_is_judged_alike_twice(
    prepared: list[Fold], recipe: Callable[..., Recipe]
) -> None:
    assert judge(recipe("xgboost"), prepared) == judge(recipe("xgboost"), prepared)


def test_too_few_frauds_for_the_folds_are_refused(
    dataset: Dataset, parts: Split, report: Audit
) -> None:
    with pytest.raises(DataRefused, match="frauds in the training rows are too few for 60 folds"):
        prepare(dataset, parts, report, 60)
