"""What a threshold does on the rows of each value, and where that is worse than chance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from math import exp, lgamma
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.data import Dataset
from training.evaluate.intervals import Groups, Interval, share_interval

MOST_VALUES = 20
"""Values of a column that are told apart; the rarest are taken together as `OTHER`."""
MISSING, OTHER = "(missing)", "(other)"
FEWEST_FRAUDS = 3
"""Frauds below which no slice is called weak: one or two that were missed are luck."""
WEAK_BY_CHANCE = 0.05
"""Share of models without a weakness that have a slice called weak all the same."""


@dataclass(frozen=True)
class Slice:
    """The rows that have one value in one column.

    Attributes
    ----------
    precision
        None without an alert, and where every row is a fraud: then it could only be 1.
    recall
        None without a fraud.
    precision_interval, recall_interval
        Wilson intervals at 95 %; copies count as one row.
    weak
        So few of at least `FEWEST_FRAUDS` frauds are found that it can hardly be chance: if all
        frauds were found alike, `WEAK_BY_CHANCE` of models would have such a slice at all.
    """

    column: str
    value: str
    rows: int
    frauds: int
    alerts: int
    true_positives: int
    precision: float | None
    precision_interval: Interval | None
    recall: float | None
    recall_interval: Interval | None
    weak: bool


def slices(
    dataset: Dataset, alert: NDArray[np.bool_], *, groups: Groups = None
) -> tuple[Slice, ...]:
    """Slice by every category and boolean input, the amount and the annotations.

    Parameters
    ----------
    alert
        Shape (n,).
    groups
        Equal for copies of a row, shape (n,).

    References
    ----------
    Holm, "A simple sequentially rejective multiple test procedure", 1979, on the hypergeometric
    chances of the slices.
    """
    fraud = dataset.label == 1
    own = np.arange(len(fraud)) if groups is None else np.unique(groups, return_inverse=True)[1]
    one = np.flatnonzero(fraud)[np.unique(own[fraud], return_index=True)[1]]  # of all copies
    hits, found, chances = int(alert[one].sum()), [], []
    for column, codes, values in _groups(dataset):
        for place, value in enumerate(values):
            rows = codes == place
            found.append(_slice(column, value, fraud[rows], alert[rows], own[rows]))
            inside = one[rows[one]]
            few = len(inside) < FEWEST_FRAUDS
            chances.append(
                2.0 if few else _chance(int(alert[inside].sum()), len(inside), hits, len(one))
            )
    left = sum(chance <= 1 for chance in chances)
    for place in np.argsort(chances, kind="stable")[:left]:
        if chances[place] > WEAK_BY_CHANCE / left:
            break
        found[place] = replace(found[place], weak=True)
        left -= 1
    return tuple(found)


def _groups(dataset: Dataset) -> Iterator[tuple[str, NDArray[np.int64], list[str]]]:
    """Columns to slice by, with a code for each row and the name of each code."""
    for name, column in dataset.spec.columns.items():
        if name not in dataset.frame:
            continue
        values = dataset.frame[name].to_numpy()
        if column.role == "annotation":
            if pd.Series(values).nunique() <= MOST_VALUES:
                yield name, *_by_value(values)
        elif column.role == "feature" and column.type != "number":
            yield name, *_by_value(values)
        elif name == dataset.spec.costs.amount:
            yield name, *_by_quartile(values)


def _by_value(values: NDArray[Any]) -> tuple[NDArray[np.int64], list[str]]:
    codes, distinct = pd.factorize(values)
    counts = np.bincount(codes[codes >= 0], minlength=len(distinct))
    ranked = np.argsort(-counts, kind="stable")
    room = MOST_VALUES - bool((codes < 0).any())
    shown = ranked if len(ranked) <= room else ranked[: room - 1]
    names = [v if isinstance(v, str) else f"{v:g}" for v in (distinct[i] for i in shown)]
    place = np.full(len(distinct) + 1, len(shown))  # the last one is for missing values
    place[shown] = np.arange(len(shown))
    if len(shown) < len(ranked):
        names.append(OTHER)
    place[-1] = len(names)
    if (codes < 0).any():
        names.append(MISSING)
    return place[codes], names


def _by_quartile(values: NDArray[np.float64]) -> tuple[NDArray[np.int64], list[str]]:
    missing = np.isnan(values)
    known = values[~missing]
    edges = np.unique(np.quantile(known, [0.25, 0.5, 0.75])) if len(known) else np.empty(0)
    codes = np.searchsorted(edges, values)  # an edge belongs to the range below it
    names = [f"{low:.4g} to {high:.4g}" for low, high in pairwise(edges)]
    if len(edges):
        names = [f"up to {edges[0]:.4g}", *names, f"above {edges[-1]:.4g}"]
    codes = np.where(missing, len(names), codes)
    present, codes = np.unique(codes, return_inverse=True)
    return codes, [[*names, MISSING][i] for i in present]


def _slice(
    column: str,
    value: str,
    fraud: NDArray[np.bool_],
    alert: NDArray[np.bool_],
    groups: NDArray[np.intp],
) -> Slice:
    rows, frauds, alerts = len(fraud), int(fraud.sum()), int(alert.sum())
    hits = int((fraud & alert).sum())
    telling = frauds < rows
    return Slice(
        column=column,
        value=value,
        rows=rows,
        frauds=frauds,
        alerts=alerts,
        true_positives=hits,
        precision=_share(hits, alerts) if telling else None,
        precision_interval=share_interval(fraud[alert], groups[alert]) if telling else None,
        recall=_share(hits, frauds),
        recall_interval=share_interval(alert[fraud], groups[fraud]),
        weak=False,
    )


def _chance(found: int, frauds: int, hits: int, every: int) -> float:
    """The chance of `found` or fewer hits among `frauds` of all frauds, picked blindly.

    Parameters
    ----------
    hits, every
        Of all rows: the frauds found, and the frauds.
    """

    def ways(these: int, of: int) -> float:
        return lgamma(of + 1) - lgamma(these + 1) - lgamma(of - these + 1)

    least = max(0, frauds - (every - hits))
    return sum(
        exp(ways(k, hits) + ways(frauds - k, every - hits) - ways(frauds, every))
        for k in range(least, found + 1)
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
