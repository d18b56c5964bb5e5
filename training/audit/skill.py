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
_BROAD = 0.1  # share of a class from which equal rows are no copies of one payment
_RANGES = 200  # that the rows are cut into, for a number of many values
_MOST_SINGLE = 500  # values of a number that are each looked at alone
_FREQUENT = 100  # values that are so beside the ranges
_LEAST_ROWS = 10  # of such a value

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
    codes: NDArray[np.intp],
    rows: Counts,
    frauds: Counts,
    label: Label,
    *,
    fold: NDArray[np.intp] | None = None,
) -> float:
    """Skill of the fraud rate per value, each row's rate learned from the other folds.

    A value met once would otherwise know its own label, and a column of identifiers would look
    perfect.

    Parameters
    ----------
    codes
        The value of each row, shape (n,), counted from 0.
    rows, frauds
        Of each value, shape (values,).
    label
        Shape (n,).
    fold
        The rows as `dealt` gave them to folds, shape (n,); without it every row stands for itself.
    """
    total = frauds.sum()
    if total < LEAST_FRAUDS or total == len(label):
        return 0.0
    if fold is None:
        fold = dealt(label)
    # One cell per fold and value: all rows of a cell get the same rate.
    cell = fold * len(rows) + codes
    cell_rows = np.bincount(cell, minlength=_FOLDS * len(rows)).astype(np.float64)
    cell_frauds = np.bincount(cell, label, minlength=_FOLDS * len(rows))
    others = np.tile(rows, _FOLDS) - cell_rows
    # A fold with more frauds leaves fewer to the others: rates count against the others' own.
    usual = (total - np.bincount(fold, label, minlength=_FOLDS)) / np.maximum(
        len(label) - np.bincount(fold, minlength=_FOLDS), 1
    )
    expected = np.repeat(np.maximum(usual, 0.5 / len(label)), len(rows))
    # One row's weight of the prevalence: a value that the other folds lack is no sign at all.
    rate = (np.tile(frauds, _FOLDS) - cell_frauds + expected) / (others + 1) / expected
    filled = np.flatnonzero(cell_rows)
    _, group = np.unique(rate[filled].round(12), return_inverse=True)
    groups = [
        np.asarray(np.bincount(group, counts[filled]), np.float64)
        for counts in (cell_rows, cell_frauds)
    ]
    return skill(*groups)


def dealt(label: Label, groups: NDArray[np.uint64] | None = None) -> NDArray[np.intp]:
    """Deal the rows of each class evenly over folds, always the same way.

    Parameters
    ----------
    label
        Shape (n,).
    groups
        Hashes of the rows, shape (n,): rows with equal ones go to the same fold, or a copy would
        know the label of the other. Not so a group that holds much of a class: these are no copies,
        the columns say too little to tell payments apart.
    """
    rng = np.random.default_rng(0)
    fold = np.empty(len(label), np.intp)
    if groups is None:
        alone = np.arange(len(label))
    else:
        _, member = np.unique(groups, return_inverse=True)
        frauds = np.bincount(member, label)
        others = np.bincount(member) - frauds
        broad = (frauds > max(_BROAD * frauds.sum(), 1)) | (others > max(_BROAD * others.sum(), 1))
        fold_of = np.empty(len(frauds), np.intp)
        for kind in (frauds == 0, frauds > 0):
            _deal(fold_of, np.flatnonzero(kind), rng)
        fold = fold_of[member]
        alone = np.flatnonzero(broad[member])
    for value in (0, 1):
        _deal(fold, alone[label[alone] == value], rng)
    return fold


def level_edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Edges of ranges by which a number is read as a category; rising, shape (k,).

    Each value is a range of its own where there are few; else 200 ranges of as many rows each
    are, and the most frequent values. `np.searchsorted(edges, x, side="right")` is the range of x.

    Parameters
    ----------
    values
        Shape (n,), none missing.
    """
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) <= _MOST_SINGLE:
        return distinct
    often = np.argsort(-counts, kind="stable")[:_FREQUENT]
    single = distinct[often[counts[often] >= _LEAST_ROWS]]
    places = np.searchsorted(np.cumsum(counts), np.arange(1, _RANGES) / _RANGES * len(values))
    with np.errstate(over="ignore"):
        above = np.nextafter(single, np.inf)
    edges = np.unique(np.concatenate([distinct[places], single, above]))
    finite: NDArray[np.float64] = edges[np.isfinite(edges)]
    return finite


def number_levels(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """The range of `level_edges` that each value lies in, counted from 0; shape (n,)."""
    return np.searchsorted(level_edges(values), values, side="right").astype(np.intp)


def _deal(fold: NDArray[np.intp], members: NDArray[np.intp], rng: np.random.Generator) -> None:
    fold[rng.permutation(members)] = np.arange(len(members)) % _FOLDS
