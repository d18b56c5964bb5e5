"""What a configuration is judged by: folds of the training rows, and scores on those held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from training.data import Dataset
from training.errors import UsageError
from training.features import FeatureEngineering
from training.preprocess import Matrix, Probability
from training.split import Split, folds
from training.threshold import DEFAULT_POLICY, Curve, Policy, RowCosts

if TYPE_CHECKING:
    from training.audit import Audit

METRIC: Final = "pr_auc"
"""What a sweep maximises by default: mean average precision of the folds, at natural prevalence."""
METRICS: Final = {
    METRIC: 1, "roc_auc": 1, "f1": 1, "precision": 1, "recall": 1, "cost_per_10000": -1,
}  # fmt: skip
"""What a sweep may be judged by, and whether more of it is better (1) or less (-1). The last four
are taken at the policy's best threshold."""


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
    dataset: Dataset,
    parts: Split,
    report: Audit,
    count: int,
    policy: str = DEFAULT_POLICY,
    *,
    derived: bool = True,
) -> list[Fold]:
    """Make the folds of a dataset's training rows; validation and test rows are never seen.

    Parameters
    ----------
    derived
        Whether the spec's derived features are in the matrices.

    Raises
    ------
    DataRefused
        If there are too few frauds for that many folds.
    """
    chosen_by = Policy.parse(policy)
    exclude = [*report.excluded, *([] if derived else dataset.spec.features)]
    made = []
    for fit_rows, held_out_rows in folds(dataset, parts, count):
        fit, held_out = dataset.take(fit_rows), dataset.take(held_out_rows)
        features = FeatureEngineering(dataset.spec, exclude=exclude).fit(fit.columns)
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


def direction(metric: str) -> int:
    """1 if more of a metric is better, -1 if less is.

    Raises
    ------
    UsageError
        If there is no such metric.
    """
    if metric not in METRICS:
        raise UsageError(f"no metric {metric!r}; there are {', '.join(METRICS)}")
    return METRICS[metric]


def measure(
    scores: Sequence[Probability], folds: Sequence[Fold], policy: Policy
) -> tuple[dict[str, float], Curve]:
    """Metrics of one configuration, from its scores of the rows held out.

    Parameters
    ----------
    scores
        Of the first k folds, in their order; k may be fewer than there are.

    Returns
    -------
    metrics : dict
        `pr_auc` (mean of the folds), `pr_auc_std`, `pr_auc_fold_1`, ..., `roc_auc` (mean), and the
        policy's best `threshold` on the scores taken together with `precision`, `recall`, `f1`,
        `cost_per_10000` and `alerts_per_10000` there.
    curve : Curve
        The whole threshold axis over the scores taken together.
    """
    judged = list(zip(scores, folds[: len(scores)], strict=True))
    areas = [float(average_precision_score(fold.held_out_label, score)) for score, fold in judged]
    ranks = [float(roc_auc_score(fold.held_out_label, score)) for score, fold in judged]
    curve = Curve.of(
        np.concatenate([fold.held_out_label for _, fold in judged]),
        np.concatenate(scores),
        missed=np.concatenate([fold.held_out_costs["missed"] for _, fold in judged]),
        alarm=folds[0].held_out_costs["alarm"],
    )
    choice = policy.choose(curve)
    return {
        METRIC: float(np.mean(areas)),
        f"{METRIC}_std": float(np.std(areas)),
        **{f"{METRIC}_fold_{i}": area for i, area in enumerate(areas, 1)},
        "roc_auc": float(np.mean(ranks)),
        "threshold": choice.threshold,
        "precision": choice.precision,
        "recall": choice.recall,
        "f1": choice.f1,
        "cost_per_10000": choice.cost_per_10000,
        "alerts_per_10000": choice.alerts_per_10000,
    }, curve
