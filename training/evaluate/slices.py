"""What a threshold does on some of the rows: by value, over time, and at k alerts a day."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.data import Dataset
from training.evaluate.intervals import Interval, average_precision, wilson

MOST_VALUES = 20
"""Values of a column that are told apart; the rarest are taken together as `OTHER`."""
MISSING, OTHER = "(missing)", "(other)"
ALERTS = (1, 5, 10, 50, 100, 500)
"""The numbers of alerts a day that `precision_at` looks at."""
FEWEST_FRAUDS = 3
"""Frauds below which no slice is called weak: one or two that were missed are luck."""

_WINDOWS = 10
_WEEK, _DAY = np.timedelta64(7, "D"), np.timedelta64(1, "D")
_WEEKS = range(3, 61)  # fewer make no line, more no readable picture


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
        Wilson intervals at 95 %.
    weak
        Even the upper end of the recall's interval is below the recall of all rows, and there are
        at least `FEWEST_FRAUDS` frauds.
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


@dataclass(frozen=True)
class Window:
    """The rows of one stretch of time, `begins` included and `ends` not (ISO 8601, UTC)."""

    begins: str
    ends: str
    rows: int
    frauds: int
    alerts: int
    true_positives: int
    precision: float | None
    recall: float | None
    pr_auc: float | None


@dataclass(frozen=True)
class PrecisionAt:
    """What the k highest scores of each day hold.

    Attributes
    ----------
    per
        `day`, or `10,000 payments` where there is no timestamp.
    alerts, true_positives
        Over all days.
    """

    k: int
    per: Literal["day", "10,000 payments"]
    alerts: int
    true_positives: int
    precision: float
    recall: float | None


def slices(dataset: Dataset, alert: NDArray[np.bool_]) -> tuple[Slice, ...]:
    """Slice by every category and boolean input, the amount and the annotations.

    Parameters
    ----------
    alert
        Shape (n,).
    """
    fraud = dataset.label == 1
    overall = float(alert[fraud].mean()) if fraud.any() else 0.0
    return tuple(
        _slice(column, value, fraud[rows], alert[rows], overall)
        for column, codes, values in _groups(dataset)
        for value, rows in zip(values, (codes == i for i in range(len(values))), strict=True)
    )


def over_time(
    times: NDArray[np.datetime64] | None,
    label: NDArray[np.int8],
    probability: NDArray[np.float64],
    alert: NDArray[np.bool_],
) -> tuple[Window, ...]:
    """Weeks from the day of the first payment; ten equal windows if they are under 3 or over 60.

    Nothing without times. Each argument has shape (n,).
    """
    if times is None or times.min() == times.max():
        return ()
    times = times.astype("datetime64[us]")
    first, last = times.min(), times.max()
    midnight = first.astype("datetime64[D]").astype("datetime64[us]")
    weeks = int((last - midnight) // _WEEK) + 1
    if weeks in _WEEKS:
        edges = midnight + np.arange(weeks + 1) * _WEEK
    else:
        # One microsecond more, so that the last payment lies inside the last window.
        span = int((last - first).astype(np.int64)) + 1
        edges = first + (np.arange(_WINDOWS + 1) * span // _WINDOWS).astype("timedelta64[us]")
    order = np.argsort(times, kind="stable")
    bounds = np.searchsorted(times[order], edges)
    return tuple(
        _window(edges[i], edges[i + 1], label[rows], probability[rows], alert[rows])
        for i in range(len(edges) - 1)
        for rows in [order[bounds[i] : bounds[i + 1]]]
    )


def precision_at(
    times: NDArray[np.datetime64] | None,
    label: NDArray[np.int8],
    probability: NDArray[np.float64],
) -> tuple[PrecisionAt, ...]:
    """The highest scores of every day, for each k that an average day has payments for.

    Of equal scores the earlier row is taken. Without times the highest `k` per 10,000 rows are
    taken from all of them. Each argument has shape (n,).
    """
    total = len(label)
    if times is None:
        rank, counts = _rank(np.zeros(total, np.int64), probability), np.array([total])
        tops = [(k, k * total / 10_000) for k in ALERTS]
    else:
        days = (times.astype("datetime64[us]").astype("datetime64[D]")).astype(np.int64)
        rank, counts = _rank(days, probability), np.unique(days, return_counts=True)[1]
        tops = [(k, float(k)) for k in ALERTS]
    found = []
    for k, top in tops:
        if not 1 <= top <= counts.mean():
            continue
        taken = rank < int(top)
        hits = int((label[taken] == 1).sum())
        found.append(
            PrecisionAt(
                k=k,
                per="10,000 payments" if times is None else "day",
                alerts=int(taken.sum()),
                true_positives=hits,
                precision=hits / int(taken.sum()),
                recall=_share(hits, int(label.sum())),
            )
        )
    return tuple(found)


def _rank(group: NDArray[np.int64], score: NDArray[np.float64]) -> NDArray[np.int64]:
    """The place of each row in its group, 0 for the highest score."""
    order = np.lexsort((-score, group))
    ordered = group[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    sizes = np.diff(np.append(starts, len(ordered)))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - np.repeat(starts, sizes)
    return rank


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
    column: str, value: str, fraud: NDArray[np.bool_], alert: NDArray[np.bool_], overall: float
) -> Slice:
    rows, frauds, alerts = len(fraud), int(fraud.sum()), int(alert.sum())
    hits = int((fraud & alert).sum())
    telling = frauds < rows
    recall_interval = wilson(hits, frauds)
    return Slice(
        column=column,
        value=value,
        rows=rows,
        frauds=frauds,
        alerts=alerts,
        true_positives=hits,
        precision=_share(hits, alerts) if telling else None,
        precision_interval=wilson(hits, alerts) if telling else None,
        recall=_share(hits, frauds),
        recall_interval=recall_interval,
        weak=(
            recall_interval is not None and frauds >= FEWEST_FRAUDS and recall_interval[1] < overall
        ),
    )


def _window(
    begins: np.datetime64,
    ends: np.datetime64,
    label: NDArray[np.int8],
    probability: NDArray[np.float64],
    alert: NDArray[np.bool_],
) -> Window:
    alerts, frauds, hits = int(alert.sum()), int(label.sum()), int(label[alert].sum())
    return Window(
        begins=str(begins.astype("datetime64[s]")),
        ends=str(ends.astype("datetime64[s]")),
        rows=len(label),
        frauds=frauds,
        alerts=alerts,
        true_positives=hits,
        precision=_share(hits, alerts),
        recall=_share(hits, frauds),
        pr_auc=average_precision(label, probability),
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
