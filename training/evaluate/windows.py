"""What a threshold does over time, and what the highest scores hold at k alerts a day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training.evaluate.intervals import average_precision

ALERTS = (1, 5, 10, 50, 100, 500)
"""The numbers of alerts a day that `precision_at` looks at."""

_WINDOWS = 10
_WEEK, _DAY = np.timedelta64(7, "D"), np.timedelta64(1, "D")
_FEWEST_ALERTS = 10  # of all rows, below which a share of frauds among them says nothing
_WEEKS = range(3, 61)  # fewer make no line, more no readable picture


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
    rate
        Alerts there are per day or 10,000 payments: `k`, but for rounding and short days.
    alerts, true_positives
        Over all days.
    """

    k: int
    per: Literal["day", "10,000 payments"]
    rate: float
    alerts: int
    true_positives: int
    precision: float
    recall: float | None


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
    taken from all of them, if they are ten or more. Each argument has shape (n,).
    """
    total = len(label)
    if times is None:
        rank, counts = _rank(np.zeros(total, np.int64), probability), np.array([total])
        tops = [(k, round(k * total / 10_000)) for k in ALERTS]
    else:
        days = (times.astype("datetime64[us]").astype("datetime64[D]")).astype(np.int64)
        rank, counts = _rank(days, probability), np.unique(days, return_counts=True)[1]
        tops = [(k, k) for k in ALERTS]
    found = []
    for k, top in tops:
        if top > counts.mean() or (times is None and top < _FEWEST_ALERTS):
            continue
        taken = rank < top
        alerts, hits = int(taken.sum()), int((label[taken] == 1).sum())
        found.append(
            PrecisionAt(
                k=k,
                per="10,000 payments" if times is None else "day",
                rate=alerts / total * 10_000 if times is None else alerts / len(counts),
                alerts=alerts,
                true_positives=hits,
                precision=hits / alerts,
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
