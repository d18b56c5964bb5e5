"""Skill: how well a column alone would find the frauds, from rows and frauds per value of it.

The average precision of the column as the only score, above that of alerting on every row: 1 is
perfect, 0 is no better.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LEAST_FRAUDS = 3
"""Frauds below which skill is taken for chance: 0."""

_FOLDS = 5

Counts = NDArray[np.float64]
Label = NDArray[np.int8]


def best_skill(rows: Counts, frauds: Counts) -> float:
    """Skill of a score with these rows and frauds at each of its values, rising or falling."""
    return max(skill(rows, frauds), skill(rows[::-1], frauds[::-1]))


def skill(rows: Counts, frauds: Counts) -> float:
    """Average precision above prevalence of alerting from the last value downwards."""
    total, every = frauds.sum(), rows.sum()
    if total < LEAST_FRAUDS or total == every:
        return 0.0
    found = np.cumsum(frauds[::-1])
    alerts = np.cumsum(rows[::-1])
    precision = np.divide(found, alerts, out=np.zeros(len(found)), where=alerts > 0)
    prevalence = total / every
    average = float((frauds[::-1] * precision).sum() / total)
    return float(np.clip((average - prevalence) / (1 - prevalence), 0.0, 1.0))


def cross_fitted_skill(
    codes: NDArray[np.intp], rows: Counts, frauds: Counts, label: Label
) -> float:
    """Skill of the fraud rate per value, each row's rate learned from the other folds.

    A value met once would otherwise know its own label, and a column of identifiers would look
    perfect. The folds are drawn within each class: a fold with more frauds leaves fewer to the
    others, and its rates would be lower for that alone.
    """
    total = frauds.sum()
    if total < LEAST_FRAUDS or total == len(label):
        return 0.0
    rng = np.random.default_rng(0)
    fold = np.empty(len(label), np.intp)
    for kind in (0, 1):
        members = np.flatnonzero(label == kind)
        fold[rng.permutation(members)] = np.arange(len(members)) % _FOLDS
    # One cell per fold and value: all rows of a cell get the same rate.
    cell = fold * len(rows) + codes
    cell_rows = np.bincount(cell, minlength=_FOLDS * len(rows)).astype(np.float64)
    cell_frauds = np.bincount(cell, label, minlength=_FOLDS * len(rows))
    others = np.tile(rows, _FOLDS) - cell_rows
    # One row's weight of the prevalence: a value that the other folds lack is no sign at all.
    rate = (np.tile(frauds, _FOLDS) - cell_frauds + total / len(label)) / (others + 1)
    filled = np.flatnonzero(cell_rows)
    _, group = np.unique(rate[filled], return_inverse=True)
    groups = [
        np.asarray(np.bincount(group, counts[filled]), np.float64)
        for counts in (cell_rows, cell_frauds)
    ]
    return skill(*groups)
