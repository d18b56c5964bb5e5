"""Which trial wins, and whether its model may replace the champion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sklearn.metrics import average_precision_score

from training.bundle import ModelBundle
from training.data import Dataset
from training.models import FAMILIES
from tuning.objective import METRIC
from tuning.sweep import Trial

TIE = 1e-6
"""Scores closer than this are equal: a simpler family, then less resampling decides."""
ENOUGH_FRAUDS = 20
"""Fewer frauds than this cannot tell two models apart."""


@dataclass(frozen=True)
class Verdict:
    """Whether a version becomes champion, and why, for people."""

    promote: bool
    reason: str


def winner(trials: Sequence[Trial]) -> Trial:
    """The trial with the best score; of equal ones the simplest, then the first drawn.

    How long a trial took is no tie-breaker: it would make the winner depend on the machine.
    """
    finished = [trial for trial in trials if not trial.failure]
    best = max(trial.metrics[METRIC] for trial in finished)
    tied = [trial for trial in finished if trial.metrics[METRIC] >= best - TIE]
    order = list(FAMILIES)
    return min(tied, key=lambda t: (order.index(t.recipe.family), t.recipe.smote))


def gate(candidate: ModelBundle, champion: ModelBundle | None, rows: Dataset) -> Verdict:
    """Compare a candidate with the champion on the same rows, none of which either has seen.

    Parameters
    ----------
    rows
        Labelled rows the candidate was not made from; those that equal a row either model learned
        from are left out here.
    """
    if champion is None:
        return Verdict(True, "first version")
    fresh = rows.take(~(candidate.has_learned_from(rows) | champion.has_learned_from(rows)))
    frauds = int(fresh.label.sum()) if len(fresh) else 0
    if frauds < ENOUGH_FRAUDS or frauds == len(fresh):
        return Verdict(
            False,
            f"not compared: {len(fresh):,} rows that neither model has seen hold {frauds} frauds, "
            f"at least {ENOUGH_FRAUDS} and some legitimate rows are needed",
        )
    mine, theirs = (
        average_precision_score(fresh.label, model.score(fresh.columns))
        for model in (candidate, champion)
    )
    return Verdict(
        mine > theirs + TIE,
        f"PR-AUC {mine:.4f} against the champion's {theirs:.4f} "
        f"on {len(fresh):,} rows with {frauds} frauds that neither has seen",
    )
