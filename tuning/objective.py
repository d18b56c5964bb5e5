"""What a trial does: fit a recipe on every fold and judge it by the rows held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ray import tune
from sklearn.metrics import average_precision_score

from training.audit import Audit
from training.data import Dataset
from training.features import FeatureEngineering
from training.fit import Recipe, fit_model
from training.preprocess import Matrix
from training.split import Split, folds
from training.threshold import DEFAULT_POLICY, Curve, Policy, RowCosts

METRIC = "pr_auc"
"""What a sweep maximises: mean average precision of the folds, at natural prevalence."""


@dataclass(frozen=True)
class Fold:
    """Feature matrices of one fold, made once and shared by every trial.

    Attributes
    ----------
    fit, fit_label
        Shapes (n, d) and (n,): rows to resample and fit on. The features were learned from them.
    held_out, held_out_label
        Shapes (m, d) and (m,): rows to judge by, as they come.
    held_out_costs
        What errors on them cost.
    """

    fit: Matrix
    fit_label: NDArray[np.int8]
    held_out: Matrix
    held_out_label: NDArray[np.int8]
    held_out_costs: RowCosts


def prepare(
    dataset: Dataset, parts: Split, report: Audit, count: int, policy: str = DEFAULT_POLICY
) -> list[Fold]:
    """Make the folds of a dataset's training rows; validation and test rows are never seen.

    Raises
    ------
    DataRefused
        If there are too few frauds for that many folds.
    """
    chosen_by = Policy.parse(policy)
    made = []
    for fit_rows, held_out_rows in folds(dataset, parts, count):
        fit, held_out = dataset.take(fit_rows), dataset.take(held_out_rows)
        features = FeatureEngineering(dataset.spec, exclude=report.excluded).fit(fit.columns)
        made.append(
            Fold(
                features.transform(fit.columns), fit.label,
                features.transform(held_out.columns), held_out.label,
                chosen_by.row_costs(held_out),
            )
        )  # fmt: skip
    return made


def natural_ratio(folds: Sequence[Fold]) -> float:
    """The highest number of frauds per legitimate row in the rows to fit of any fold."""
    return max(float(f.fit_label.mean() / (1 - f.fit_label.mean())) for f in folds)


def judge(recipe: Recipe, folds: Sequence[Fold]) -> dict[str, float]:
    """Fit on every fold; score the whole threshold axis on the rows held out, taken together.

    Returns
    -------
    dict
        `pr_auc` (mean of the folds), `pr_auc_std`, `pr_auc_fold_1`, ..., and the policy's best
        `threshold` on the raw scores with `precision`, `recall`, `f1` and `cost_per_10000` there.
    """
    scores = [
        fit_model(fold.fit, fold.fit_label, recipe)[0].probability(fold.held_out) for fold in folds
    ]
    areas = [
        float(average_precision_score(fold.held_out_label, score))
        for fold, score in zip(folds, scores, strict=True)
    ]
    labels = np.concatenate([fold.held_out_label for fold in folds])
    curve = Curve.of(
        labels, np.concatenate(scores),
        missed=np.concatenate([fold.held_out_costs["missed"] for fold in folds]),
        alarm=folds[0].held_out_costs["alarm"],
    )  # fmt: skip
    choice = Policy.parse(recipe.policy).choose(curve)
    return {
        METRIC: float(np.mean(areas)),
        "pr_auc_std": float(np.std(areas)),
        **{f"pr_auc_fold_{i}": area for i, area in enumerate(areas, 1)},
        "threshold": choice.threshold,
        "precision": choice.precision,
        "recall": choice.recall,
        "f1": choice.f1,
        "cost_per_10000": choice.cost_per_10000,
    }


def trial(config: dict[str, Any], folds: list[Fold]) -> None:
    """Judge the recipe in a trial's config, as a Ray Tune function trainable."""
    tune.report(judge(Recipe(**config["recipe"]), folds))
