"""Probe: what a quick model is worth with the columns that separate the classes, and without."""

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

MOST_ROWS = 100_000
"""Rows fitted on; of more, every fraud and evenly chosen legitimate ones."""
MOST_COLUMNS = 10
"""Separating columns left out one by one; all of them together are left out in any case."""

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
        With all columns, without each separating one, and without all of them.
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
    pair = _pair(dataset, parts)
    if pair is None:
        return None
    fit, held_out = (dataset.take(rows) for rows in pair)
    drops = [(), *((name,) for name in separating[:MOST_COLUMNS])]
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


def _pair(dataset: Dataset, parts: Split) -> tuple[Rows, Rows] | None:
    for count in _FOLDS:
        try:
            pairs = folds(dataset, parts, count)
        except DataRefused:
            continue
        fit, held_out = pairs[-1 if parts.method == "time" else 0]
        return _thinned(fit, dataset.label[fit]), held_out
    return None


def _thinned(rows: Rows, label: NDArray[np.int8]) -> Rows:
    if len(rows) <= MOST_ROWS:
        return rows
    frauds, others = np.flatnonzero(label == 1), np.flatnonzero(label == 0)
    room = max(MOST_ROWS - len(frauds), MOST_ROWS // 2)
    kept = others[np.linspace(0, len(others) - 1, min(room, len(others))).astype(np.intp)]
    thinned: Rows = rows[np.sort(np.concatenate([frauds, kept]))]
    return thinned


def _trial(
    fit: Dataset, held_out: Dataset, left_out: Sequence[str], drop: tuple[str, ...]
) -> Trial | None:
    features = FeatureEngineering(fit.spec, exclude=(*left_out, *drop))
    try:
        matrix = features.fit(fit.columns).transform(fit.columns)
    except DataRefused:  # what is left holds no value
        return None
    model = BoosterModel.fit(matrix, fit.label, _PARAMS, seed=0, threads=1)
    pr_auc, precision, recall = _measured(
        held_out.label, model.probability(features.transform(held_out.columns))
    )
    return Trial(drop, pr_auc, precision, recall)


def _measured(label: NDArray[np.int8], score: NDArray[np.float64]) -> tuple[float, float, float]:
    """Average precision, and precision and recall where F1 is highest."""
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))
    hits, alerts = np.cumsum(label[order].astype(np.int64))[ends], ends + 1
    precision, recall = hits / alerts, hits / label.sum()
    average = float((np.diff(hits, prepend=0) * precision).sum() / label.sum())
    best = int(np.argmax(hits / (alerts + label.sum())))
    return min(average, 1.0), float(precision[best]), float(recall[best])
