"""How far a number measured on some rows may be from that of all payments like them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.evaluate.blocks import Blocks, area
from training.evaluate.draws import Units, poisson, summed

RESAMPLES = 500
PAIRED_RESAMPLES = 2_000
"""More than for an interval that is only shown: one end of it decides."""
_MOST_BLOCKS = 2_000
_MOST_PAIRED = 300  # of each score; the cells of a pair may be as many as these squared
_Z = 1.959964  # the normal quantile of a two-sided 95 % interval
_UNSEEN = 3.0  # payments expected where one sample in twenty (e^-3) holds none of them

Interval = tuple[float, float]
"""Lower and upper end at 95 %."""

Groups = NDArray[Any] | None
"""Equal for rows that hang together, as copies do, shape (n,); None where all stand alone."""


def wilson(successes: float, total: float) -> Interval | None:
    """The 95 % interval of a share, honest at few rows and at 0 and 1; None without rows.

    References
    ----------
    Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    if total == 0:
        return None
    share, z2 = successes / total, _Z**2 / total
    centre = (share + z2 / 2) / (1 + z2)
    half = _Z / (1 + z2) * float(np.sqrt(share * (1 - share) / total + z2 / total / 4))
    # The ends are exactly 0 and 1 there; rounding would put them a little inside.
    low = 0.0 if successes == 0 else max(centre - half, 0.0)
    high = 1.0 if successes == total else min(centre + half, 1.0)
    return low, high


def share_interval(success: NDArray[np.bool_], groups: Groups = None) -> Interval | None:
    """Wilson's interval of the share of rows that are true, of as many rows as the groups make up.

    Groups spread the share wider than rows of their own would; by as much the rows count for less.
    Where all rows are alike that is not seen, and groups count as if their rows could only agree.

    Parameters
    ----------
    success
        Shape (n,).
    """
    if not len(success):
        return None
    share, less = float(success.mean()), _copies(groups)
    if groups is not None and 0 < share < 1:
        _, group = np.unique(groups, return_inverse=True)
        off = np.bincount(group, success - share)
        seen = float((off**2).sum()) / (len(success) * share * (1 - share))
        less = min(max(seen, 1.0), less)
    return wilson(float(success.sum()) / less, len(success) / less)


def average_precision(label: NDArray[np.int8], score: NDArray[np.float64]) -> float | None:
    """Area under the precision-recall curve as steps; None where the rows hold one class only.

    Parameters
    ----------
    label, score
        Shape (n,). Equal scores are one step, whatever their order.
    """
    if not 0 < int(label.sum()) < len(label):
        return None
    return Blocks.of(label, score).average_precision()


def bootstrap(
    label: NDArray[np.int8],
    probability: NDArray[np.float64],
    threshold: float,
    *,
    missed: NDArray[np.float64],
    alarm: float,
    groups: Groups = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Interval | None]:
    """95 % intervals of PR-AUC, precision, recall, F1 and cost per 10,000 payments.

    Precision, recall and F1 are shares of alerts, of frauds, and of both together, and have
    Wilson intervals. PR-AUC and cost have the percentiles of resamples: rows as they came, without
    holding the number of frauds, as how many there are is luck as well. Each group of copies counts
    Poisson(1) times. Rows that no metric tells apart, as legitimate ones that the same frauds
    outrank, are drawn as one number, so the work grows with the frauds and not with the rows.

    Resamples only repeat what the rows hold. So where they reach a PR-AUC of 1, its lower end
    allows for three legitimate payments above every fraud, as one sample in twenty shows none of
    them. And the upper end of the cost holds a fraud and a false alarm more, each counted an
    exponential number of times: what the exact Poisson interval has at its upper end.

    In simulations of 2,000 rows with 20 to 120 frauds, every row alone or four times there, 90 to
    100 of 100 intervals hold the truth.

    Parameters
    ----------
    label, probability
        Shape (n,).
    missed, alarm
        What each row costs if it is a fraud let through, shape (n,), and what an alert on a
        legitimate row costs.

    Returns
    -------
    dict
        By metric; None where most resamples leave the metric undefined, and for the cost of rows
        without a fraud: what one would cost is not known.
    """
    rng = np.random.default_rng(seed)
    fraud, alert = label == 1, probability >= threshold
    either = fraud | alert
    hit = share_interval((fraud & alert)[either], _some(groups, either))
    return {
        "pr_auc": _area_interval(rng, resamples, fraud, Blocks.of(label, probability), groups),
        "precision": share_interval(fraud[alert], _some(groups, alert)),
        "recall": share_interval(alert[fraud], _some(groups, fraud)),
        # F1 is 2 j / (1 + j), where j is the share of hits among frauds and false alarms.
        "f1": hit and (2 * hit[0] / (1 + hit[0]), 2 * hit[1] / (1 + hit[1])),
        "cost_per_10000": _cost_interval(rng, resamples, fraud, alert, missed, alarm, groups),
    }


def difference(
    label: NDArray[np.int8],
    ours: NDArray[np.float64],
    theirs: NDArray[np.float64],
    *,
    groups: Groups = None,
    seed: int = 0,
    resamples: int = PAIRED_RESAMPLES,
) -> tuple[float, Interval] | None:
    """How much higher our PR-AUC is than theirs on the same rows, and its 95 % interval.

    Both are measured on each resample, drawn as `bootstrap` draws, so that what is hard for both
    cancels out and the interval is far narrower than two of one score each would make believe. It
    always holds the difference itself, and of two scores that exchange places all signs change.

    Parameters
    ----------
    label, ours, theirs
        Shape (n,). Only the order of the scores counts.

    Returns
    -------
    tuple or None
        None where the rows hold one class only, or most resamples do.
    """
    if not 0 < int(label.sum()) < len(label):
        return None
    pair = [Blocks.of(label, score) for score in (ours, theirs)]
    value = pair[0].average_precision() - pair[1].average_precision()
    if value < 0:  # what is drawn hangs on which comes first, so that must not be the caller's say
        found = difference(label, theirs, ours, groups=groups, seed=seed, resamples=resamples)
        return found and (-found[0], (-found[1][1], -found[1][0]))
    merged = [blocks.merged(_MOST_PAIRED) for blocks in pair]
    better, worse = _areas(np.random.default_rng(seed), resamples, label == 1, merged, groups)
    ends = _percentiles(better - worse)
    if ends is None:
        return None
    # What merging hides is in no resample: it may widen the interval, and never move it off zero.
    hidden = value - (merged[0].average_precision() - merged[1].average_precision())
    return value, (min(ends[0] + min(hidden, 0.0), value), max(ends[1] + max(hidden, 0.0), value))


def _some(groups: Groups, rows: NDArray[np.bool_]) -> Groups:
    return None if groups is None else groups[rows]


def _copies(groups: Groups) -> float:
    """Rows per group as a row finds them: by how much copies thin out what the rows say."""
    if groups is None or not len(groups):
        return 1.0
    _, sizes = np.unique(groups, return_counts=True)
    return float((sizes.astype(np.float64) ** 2).sum() / sizes.sum())


def _area_interval(
    rng: np.random.Generator,
    resamples: int,
    fraud: NDArray[np.bool_],
    blocks: Blocks,
    groups: Groups,
) -> Interval | None:
    merged = blocks.merged(_MOST_BLOCKS)
    # Merging moves the area a little; the difference is known exactly.
    moved = blocks.average_precision() - merged.average_precision()
    ends = _percentiles(_areas(rng, resamples, fraud, [merged], groups)[0] + moved)
    if ends is None:
        return None
    low, high = max(ends[0], 0.0), min(ends[1], 1.0)
    if high > 1 - 1e-9:
        thinned = max(_copies(_some(groups, fraud)), _mean_size(_some(groups, ~fraud)))
        outranked = _UNSEEN * thinned / float(fraud.sum())
        # Average precision of frauds that all lie below so many others.
        low = min(low, blocks.average_precision() * (1 - outranked * np.log1p(1 / outranked)))
    return float(low), float(high)


def _areas(
    rng: np.random.Generator,
    resamples: int,
    fraud: NDArray[np.bool_],
    scores: Sequence[Blocks],
    groups: Groups,
) -> NDArray[np.float64]:
    """PR-AUC of k scores on the same resamples, shape (k, resamples); NaN without both classes."""
    # A cell holds the rows that no score tells apart, legitimate ones first.
    cell = fraud.astype(np.int64)
    for blocks in scores:
        _, cell = np.unique(cell * len(blocks.frauds) + blocks.place, return_inverse=True)
    _, one = np.unique(cell, return_index=True)  # a row of each
    bad = fraud[one]
    areas = []
    for counts in Units.of(cell, groups).draw(rng, resamples, len(one)):
        both = counts[:, bad].any(1) & counts[:, ~bad].any(1)
        some = []
        for blocks in scores:
            place, size = blocks.place[one], len(blocks.frauds)
            frauds, others = (summed(counts[:, kind], place[kind], size) for kind in (bad, ~bad))
            some.append(np.where(both, area(frauds, others), np.nan))
        areas.append(np.stack(some))
    return np.hstack(areas)


def _mean_size(groups: Groups) -> float:
    return 1.0 if groups is None or not len(groups) else len(groups) / len(np.unique(groups))


def _cost_interval(
    rng: np.random.Generator,
    resamples: int,
    fraud: NDArray[np.bool_],
    alert: NDArray[np.bool_],
    missed: NDArray[np.float64],
    alarm: float,
    groups: Groups,
) -> Interval | None:
    if not fraud.any():
        return None
    costs = np.where(fraud & ~alert, missed, 0.0) + np.where(alert & ~fraud, alarm, 0.0)
    rows = np.ones(len(fraud))
    if groups is not None:
        _, group = np.unique(groups, return_inverse=True)
        costs, rows = np.bincount(group, costs), np.bincount(group).astype(np.float64)
    # Pairs as complex numbers: they sort by cost, then by rows.
    pairs, counts = np.unique(costs + 1j * rows, return_counts=True)
    parts = np.array_split(np.arange(len(pairs)), min(len(pairs), _MOST_BLOCKS))
    begins = np.array([part[0] for part in parts])
    rates = np.add.reduceat(counts, begins).astype(np.float64)
    mean = np.add.reduceat(pairs * counts, begins) / rates
    drawn = np.concatenate(
        [np.stack([lot @ mean.real, lot @ mean.imag]) for lot in poisson(rng, rates, resamples)],
        axis=1,
    )
    one = missed[fraud].mean() * _mean_size(_some(groups, fraud))
    false = alarm * _mean_size(_some(groups, ~fraud))
    more = drawn[0] + rng.exponential(one, resamples) + rng.exponential(false, resamples)
    with np.errstate(invalid="ignore", divide="ignore"):
        ends = [_percentiles(10_000 * total / drawn[1]) for total in (drawn[0], more)]
    return (ends[0][0], ends[1][1]) if ends[0] and ends[1] else None


def _percentiles(values: NDArray[np.float64]) -> Interval | None:
    known = values[np.isfinite(values)]
    if 2 * len(known) < len(values):
        return None
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)
