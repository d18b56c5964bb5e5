"""Pictures of what was measured."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from training.evaluate import Metrics
from training.threshold import Curve


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
