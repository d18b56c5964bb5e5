"""Metrics at natural prevalence with the counts behind them, and their pictures."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from training.threshold import Curve


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

    def numbers(self, prefix: str) -> dict[str, float]:
        """The metrics that have a value, as MLflow logs them: `test_pr_auc`, ..."""
        return {f"{prefix}_{k}": float(v) for k, v in self.to_dict().items() if v is not None}


def pr_curve_figure(curve: Curve, metrics: Metrics, title: str) -> Figure:
    """Precision over recall, with the chosen threshold's point and the prevalence as floor."""
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.step(curve.recall[1:], curve.precision[1:], where="post", color="#1f5fa8", lw=2)
    axes.axhline(metrics.frauds / metrics.rows, color="#888888", ls="--", lw=1,
                 label=f"alert on every row: {metrics.frauds / metrics.rows:.2%}")  # fmt: skip
    if metrics.precision is not None and metrics.recall is not None:
        axes.plot(metrics.recall, metrics.precision, "o", ms=9, color="#c8462c",
                  label=f"threshold: {metrics.precision:.0%} of alerts are fraud, "
                        f"{metrics.recall:.0%} of frauds found")  # fmt: skip
    axes.set(xlabel="Recall", ylabel="Precision", xlim=(0, 1.01), ylim=(0, 1.02))
    axes.set_title(
        f"{title}: PR-AUC {metrics.pr_auc or 0:.3f} "
        f"({metrics.frauds:,} frauds in {metrics.rows:,} rows)"
    )
    axes.legend(loc="lower left", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def confusion_figure(metrics: Metrics, title: str) -> Figure:
    """The four counts; shades by share of the row's class, as the classes differ hundredfold."""
    counts = np.array(
        [
            [metrics.true_negatives, metrics.false_positives],
            [metrics.false_negatives, metrics.true_positives],
        ]
    )
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(5, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(2):
        for column in range(2):
            axes.text(column, row, f"{counts[row, column]:,}\n{shares[row, column]:.1%}",
                      ha="center", va="center", fontsize=12,
                      color="white" if shares[row, column] > 0.5 else "black")  # fmt: skip
    axes.set_xticks([0, 1], ["let through", "alert"])
    axes.set_yticks([0, 1], ["legitimate", "fraud"])
    axes.set_title(title)
    return figure
