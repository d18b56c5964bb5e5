"""A point judged with all that fits share scores as each of its configurations would alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from training.audit import Audit
from training.data import Dataset
from training.fit import Recipe, fit_model
from training.models import FAMILIES
from training.split import Split
from training.threshold import Policy
from tuning.objective import Fold, measure, prepare
from tuning.worker import Bench, Cache, judged

POLICY = Policy.parse("recall>=0.5")


@pytest.fixture(scope="module")
def folds(dataset: Dataset, parts: Split, report: Audit) -> dict[bool, list[Fold]]:
    return {d: prepare(dataset, parts, report, 3, derived=d) for d in (True, False)}


@pytest.fixture
def bench(folds: dict[bool, list[Fold]]) -> Bench:
    return Bench(folds.__getitem__)


def _point(family: str, **settings: Any) -> tuple[Recipe, ...]:
    if family == "logistic-regression":
        return (Recipe(family, **settings),)
    params = {"max_depth": 3}
    return tuple(Recipe(family, {**params, "n_estimators": n}, **settings) for n in (5, 12, 30))


def _alone(recipe: Recipe, folds: list[Fold]) -> dict[str, float]:
    scores = [
        fit_model(fold.fit, fold.fit_label, recipe)[0].probability(fold.held_out) for fold in folds
    ]
    return measure(scores, folds, POLICY)[0]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "settings",
    [{}, {"smote": 0.3}, {"smote": 0.3, "neighbours": 3, "fraud_weight": 2.0}, {"derived": False}],
)
def test_a_configuration_scores_as_it_would_alone(
    family: str, settings: dict[str, Any], bench: Bench, folds: dict[bool, list[Fold]]
) -> None:
    point = _point(family, **settings)

    for fidelity in (1, 3, 9):  # the way of a point that is promoted twice
        score, trials = judged(bench, point, POLICY, "pr_auc", fidelity)
        for trial in trials:
            recipe = next(recipe for recipe in point if recipe.key == trial["key"])
            judged_on = folds[recipe.derived][: max(fidelity // 3, 1)]
            assert trial["metrics"] == pytest.approx(_alone(recipe, judged_on), rel=1e-9)
            assert trial["seconds"] > 0

    assert [trial["key"] for trial in trials] == [recipe.key for recipe in point]
    assert score == max(trial["metrics"]["pr_auc"] for trial in trials)


def test_what_was_judged_before_changes_no_score(folds: dict[bool, list[Fold]]) -> None:
    points = [
        _point(family, smote=smote, fraud_weight=weight)
        for family in FAMILIES
        for smote in (0.0, 0.3)
        for weight in (1.0, 3.0)
    ]

    def scores(order: list[tuple[Recipe, ...]], limit: int) -> dict[str, dict[str, float]]:
        bench = Bench(folds.__getitem__, limit)
        found = [judged(bench, p, POLICY, "pr_auc", f)[1] for p in order for f in (1, 9)]
        return {t["key"]: t["metrics"] for trials in found for t in trials}

    assert scores(points, 2**30) == scores(points[::-1], 0)


def test_a_first_look_is_at_a_third_of_the_trees_of_the_first_fold(
    bench: Bench, folds: dict[bool, list[Fold]]
) -> None:
    point = _point("xgboost")  # of 5, 12 and 30 trees

    score, trials = judged(bench, point, POLICY, "pr_auc", 1)

    third = Recipe("xgboost", {**point[0].params, "n_estimators": 10})
    looks = [_alone(recipe, folds[True][:1])["pr_auc"] for recipe in (point[0], third)]
    assert score == pytest.approx(max(looks), rel=1e-9)
    assert [trial["key"] for trial in trials] == [point[0].key]


def test_a_metric_of_which_less_is_better_scores_by_its_least(bench: Bench) -> None:
    score, trials = judged(bench, _point("xgboost"), POLICY, "cost_per_10000", 9)

    assert score == -min(trial["metrics"]["cost_per_10000"] for trial in trials)


def test_a_curve_tells_what_the_thresholds_of_a_configuration_give(bench: Bench) -> None:
    _, (trial,) = judged(bench, _point("logistic-regression"), POLICY, "pr_auc", 9)

    curve = trial["curve"]
    assert len({len(column) for column in curve.values()}) == 1
    assert np.all(np.diff(curve["recall"]) >= 0)
    assert curve["recall"][-1] == 1.0


def test_a_cache_keeps_what_fits_and_always_the_newest() -> None:
    made: list[str] = []

    def value(name: str, size: int) -> Callable[[], tuple[str, int]]:
        return lambda: (made.append(name) or name, size)  # type: ignore[func-returns-value]

    cache = Cache(10)
    for name, size in (("a", 6), ("b", 4), ("a", 6), ("c", 5), ("a", 6), ("b", 4), ("huge", 99)):
        assert cache.get(name, value(name, size)) == name
    assert cache.get("huge", value("huge", 99)) == "huge"

    assert made == ["a", "b", "c", "a", "b", "huge"]
