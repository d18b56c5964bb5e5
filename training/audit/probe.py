"""Probe: what a quick model is worth, and what without the columns that separate the classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.data import Dataset
from training.errors import DataRefused
from training.features import FeatureEngineering
from training.models import BoosterModel
from training.split import Rows, Split, folds
from training.threshold import Curve, Policy

MOST_ROWS = 100_000
"""Rows fitted on; of more, evenly chosen ones of each class, frauds before the others."""
MOST_CELLS, LEAST_ROWS = 5_000_000, 5_000
"""Cells fitted on where there are many columns, and rows that they may not bring it below."""
MOST_COLUMNS = 10
"""Separating columns left out one by one; all of them together are left out in any case."""
ALL_CELLS = 20_000_000
"""Cells that these models together are fitted on, where it is about many columns."""

_PARAMS = {"n_estimators": 50, "max_depth": 4}
_FOLDS = (5, 3, 2)


@dataclass(frozen=True)
class Trial:
    """A quick model without some columns.

    Attributes
    ----------
    without
        Empty for the model that has all columns.
    pr_auc
        Average precision on the rows held out.
    precision, recall
        There, at the threshold of the highest F1; the threshold is chosen on the same rows.
    """

    without: tuple[str, ...]
    pr_auc: float
    precision: float
    recall: float


@dataclass(frozen=True)
class Probe:
    """Quick models, fitted and measured inside the training rows.

    Attributes
    ----------
    fitted
        Rows fitted on.
    rows, frauds
        Held out to measure on.
    left_out
        Columns that no model was given.
    trials
        With all columns but `left_out`, without each separating one, and without all of them.
    """

    fitted: int
    rows: int
    frauds: int
    left_out: tuple[str, ...]
    trials: tuple[Trial, ...]

    def without(self, *names: str) -> Trial | None:
        """The model that lacks exactly these columns, if it was made."""
        return next((t for t in self.trials if set(t.without) == set(names)), None)


def probe(
    dataset: Dataset, parts: Split, separating: Sequence[str], *, left_out: Sequence[str]
) -> Probe | None:
    """Fit XGBoost on most of the training rows with and without some columns.

    Parameters
    ----------
    separating
        Columns to do without, the most telling first.
    left_out
        Columns that no model may see.

    Returns
    -------
    Probe or None
        None where the training rows hold too few frauds to fit and measure anything.
    """
    most = min(MOST_ROWS, max(MOST_CELLS // len(dataset.columns), LEAST_ROWS))
    pair = _pair(dataset, parts, most)
    if pair is None:
        return None
    fit, held_out = (dataset.take(rows) for rows in pair)
    single = min(MOST_COLUMNS, max(ALL_CELLS // (len(fit) * len(dataset.columns)), 1))
    drops = [(), *((name,) for name in separating[:single])]
    if len(separating) > 1:
        drops.append(tuple(separating))
    used = [name for name in dataset.columns if name not in left_out]
    trials = [_trial(fit, held_out, left_out, drop) for drop in drops if set(used) - set(drop)]
    return Probe(
        fitted=len(fit),
        rows=len(held_out),
        frauds=int(held_out.label.sum()),
        left_out=tuple(left_out),
        trials=tuple(trial for trial in trials if trial),
    )


def _pair(dataset: Dataset, parts: Split, most: int) -> tuple[Rows, Rows] | None:
    for count in _FOLDS:
        try:
            pairs = folds(dataset, parts, count)
        except DataRefused:
            continue
        fit, held_out = pairs[-1 if parts.method == "time" else 0]
        return _thinned(fit, dataset.label[fit], most), held_out
    return None


def _thinned(rows: Rows, label: NDArray[np.int8], most: int) -> Rows:
    if len(rows) <= most:
        return rows
    frauds, others = np.flatnonzero(label == 1), np.flatnonzero(label == 0)
    some = _even(frauds, most // 2)
    thinned: Rows = rows[np.sort(np.concatenate([some, _even(others, most - len(some))]))]
    return thinned


def _even(rows: Rows, count: int) -> Rows:
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(np.intp)]


def _trial(
    fit: Dataset, held_out: Dataset, left_out: Sequence[str], drop: tuple[str, ...]
) -> Trial | None:
    from sklearn.metrics import average_precision_score  # slow; proposing a spec needs none

    features = FeatureEngineering(fit.spec, exclude=(*left_out, *drop))
    try:
        matrix = features.fit(fit.columns).transform(fit.columns)
    except DataRefused:  # what is left holds no value
        return None
    model = BoosterModel.fit(matrix, fit.label, _PARAMS, seed=0, threads=1)
    score = model.probability(features.transform(held_out.columns))
    policy = Policy.parse("max-f1")
    best = policy.choose(Curve.of(held_out.label, score, **policy.row_costs(held_out)))
    # Of a model that makes no mistake, scikit-learn's sum may end just above 1.
    pr_auc = min(float(average_precision_score(held_out.label, score)), 1.0)
    return Trial(drop, pr_auc, best.precision, best.recall)
