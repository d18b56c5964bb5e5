"""Curves: precision over recall of the best trials, and the winner over every threshold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from training.card.figures import threshold_figure
from tuning.report.look import GREY, frame
from tuning.report.standings import Standings
from tuning.trials import CURVE, Trial

_TOP = 5
_POINTS = 500
_LINES = (
    ("#0072b2", "-"), ("#e69f00", "-"), ("#882255", "-"), ("#009e73", "--"), ("#56b4e9", "--"),
)  # fmt: skip


def pr_curves_figure(standings: Standings) -> Figure | None:
    """Precision over recall of the five best trials, each with its threshold's point.

    None where none of them has a curve.
    """
    best = [t for t in standings.done[:_TOP] if _known(t)]
    if standings.winner and _known(standings.winner) and standings.winner not in best:
        best = [standings.winner, *best[: _TOP - 1]]
    if not best:
        return None
    facts = standings.facts
    figure, axes = frame(6.2, 4.9)
    for trial, (color, dash) in reversed(list(zip(best, _LINES, strict=False))):
        curve = curve_frame(trial)
        curve = curve[curve["alerts_per_10000"] > 0]
        won = trial is standings.winner
        axes.step(curve["recall"], curve["precision"], where="post", color=color, ls=dash,
                  lw=2.4 if won else 1.5, zorder=3 if won else 2,
                  label=f"trial {trial.number}, {trial.recipe.family}: "
                        f"PR-AUC {trial.metrics.get('pr_auc', float('nan')):.3f}")  # fmt: skip
        if {"precision", "recall"} <= trial.metrics.keys():
            axes.plot(trial.metrics["recall"], trial.metrics["precision"], "o", color=color,
                      ms=9 if won else 6, mec="white", zorder=4)  # fmt: skip
    share = facts.natural / (1 + facts.natural)
    axes.axhline(share, color=GREY, ls=":", lw=1.2, label=f"alert on every row: {share:.2%}")
    axes.set(xlabel="Recall (frauds found)", ylabel="Precision (alerts that are frauds)",
             xlim=(0, 1.01), ylim=(0, 1.02))  # fmt: skip
    axes.set_title("Rows held out, all folds together; dots are the chosen thresholds", fontsize=10)
    handles, labels = axes.get_legend_handles_labels()
    order = [*range(len(best) - 1, -1, -1), len(best)]
    figure.legend([handles[i] for i in order], [labels[i] for i in order],
                  loc="outside lower left", frameon=False, fontsize=8.5, ncols=2)  # fmt: skip
    return figure


def winner_figure(standings: Standings) -> Figure | None:
    """Precision, recall, cost and alerts of the winner over every threshold; None without one."""
    won = standings.winner
    if won is None or not _known(won) or "threshold" not in won.metrics:
        return None
    return threshold_figure(
        curve_frame(won), chosen=won.metrics["threshold"], alerts=True,
        rows=f"Trial {won.number}, rows held out",
    )  # fmt: skip


def curve_frame(trial: Trial) -> pd.DataFrame:
    """A trial's curve, thresholds falling, thinned where it has more points than a picture."""
    frame = pd.DataFrame({name: np.asarray(trial.curve[name], float) for name in CURVE})
    frame = frame.sort_values("threshold", ascending=False, kind="stable", ignore_index=True)
    kept = np.unique(np.linspace(0, len(frame) - 1, min(_POINTS, len(frame))).round().astype(int))
    return frame.iloc[kept]


def _known(trial: Trial) -> bool:
    columns: Sequence[int] = [len(trial.curve.get(name, ())) for name in CURVE]
    return min(columns) > 1
