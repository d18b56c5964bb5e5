"""Metrics at natural prevalence, with the counts behind them."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score


@dataclass(frozen=True)
class Metrics:
    """What a threshold does on some rows.

    Attributes
    ----------
    pr_auc, roc_auc
        Average precision and area under the ROC curve; None where the rows hold one class only.
    precision
        None without an alert, `recall` None without a fraud: there is nothing to divide by.
    accuracy
        Says little where frauds are rare: alerting on nothing has `1 - frauds / rows`.
    """

    rows: int
    frauds: int
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int
    pr_auc: float | None
    roc_auc: float | None
    precision: float | None
    recall: float | None
    f1: float
    accuracy: float
    brier: float

    @classmethod
    def of(
        cls, label: NDArray[np.int8], probability: NDArray[np.float64], threshold: float
    ) -> Metrics:
        """Measure probabilities of shape (n,) against labels of shape (n,)."""
        alert, fraud = probability >= threshold, label == 1
        tp, fp = int((alert & fraud).sum()), int((alert & ~fraud).sum())
        fn, tn = int((~alert & fraud).sum()), int((~alert & ~fraud).sum())
        both = 0 < fraud.sum() < len(fraud)
        return cls(
            rows=len(label),
            frauds=tp + fn,
            true_positives=tp,
            false_positives=fp,
            false_negatives=fn,
            true_negatives=tn,
            # A sum of many terms, so 1 can come out as 1 + 2e-16.
            pr_auc=min(float(average_precision_score(label, probability)), 1.0) if both else None,
            roc_auc=float(roc_auc_score(label, probability)) if both else None,
            precision=tp / (tp + fp) if tp + fp else None,
            recall=tp / (tp + fn) if tp + fn else None,
            f1=2 * tp / max(2 * tp + fp + fn, 1),
            accuracy=(tp + tn) / len(label),
            brier=float(brier_score_loss(label, np.clip(probability, 0, 1))),
        )

    def to_dict(self) -> dict[str, float | None]:
        """By name, as JSON carries it."""
        return asdict(self)
