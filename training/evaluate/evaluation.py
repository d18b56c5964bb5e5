"""Metrics at natural prevalence, with the counts behind them and what to compare them with."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import brier_score_loss, roc_auc_score

from training.data import Dataset
from training.evaluate.baseline import best_column
from training.evaluate.intervals import Groups, Interval, average_precision, bootstrap
from training.evaluate.slices import Slice, slices
from training.evaluate.windows import PrecisionAt, Window, over_time, precision_at
from training.threshold import Curve, Policy, RowCosts

_CURVE_POINTS = 200
# One unit of log-odds per bin; what lies beyond 0.01 % and 99.99 % joins at the ends.
_SCORE_EDGES = 1 / (1 + np.exp(-np.arange(-9.0, 10.0)))


@dataclass(frozen=True)
class Metrics:
    """What a threshold does on some rows.

    Attributes
    ----------
    pr_auc, roc_auc
        Average precision and area under the ROC curve; None where the rows hold one class only.
    precision
        None without an alert, `recall` None without a fraud: there is nothing to divide by.
    f2
        Like F1, with recall weighing twice as much as precision.
    mcc
        Matthews correlation coefficient, -1 to 1; None where rows or alerts are all of one kind.
    accuracy
        Says little where frauds are rare: alerting on nothing has `1 - frauds / rows`.
    brier
        Mean squared error of the probability; None where the score is none.
    cost
        Of the frauds let through and the false alarms on these rows, in the currency of the spec.
    cost_per_10000, alerts_per_10000
        Per 10,000 payments.
    """

    rows: int
    frauds: int
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int
    pr_auc: float | None
    roc_auc: float | None
    precision: float | None
    recall: float | None
    f1: float
    f2: float
    mcc: float | None
    accuracy: float
    brier: float | None
    cost: float
    cost_per_10000: float
    alerts_per_10000: float

    @classmethod
    def of(
        cls,
        label: NDArray[np.int8],
        probability: NDArray[np.float64],
        threshold: float,
        *,
        missed: NDArray[np.float64],
        alarm: float,
    ) -> Metrics:
        """Measure probabilities of shape (n,) against labels of shape (n,).

        Parameters
        ----------
        missed, alarm
            What each row costs if it is a fraud let through, shape (n,), and what an alert on a
            legitimate row costs.
        """
        alert, fraud = probability >= threshold, label == 1
        tp, fp = int((alert & fraud).sum()), int((alert & ~fraud).sum())
        fn, tn = int((~alert & fraud).sum()), int((~alert & ~fraud).sum())
        both = 0 < fraud.sum() < len(fraud)
        spread = float(tp + fp) * float(tp + fn) * float(tn + fp) * float(tn + fn)
        cost = float(missed[fraud & ~alert].sum()) + alarm * fp
        return cls(
            rows=len(label),
            frauds=tp + fn,
            true_positives=tp,
            false_positives=fp,
            false_negatives=fn,
            true_negatives=tn,
            pr_auc=average_precision(label, probability),
            roc_auc=float(roc_auc_score(label, probability)) if both else None,
            precision=tp / (tp + fp) if tp + fp else None,
            recall=tp / (tp + fn) if tp + fn else None,
            f1=2 * tp / max(2 * tp + fp + fn, 1),
            f2=5 * tp / max(5 * tp + fp + 4 * fn, 1),
            mcc=float((tp * tn - fp * fn) / np.sqrt(spread)) if spread else None,
            accuracy=(tp + tn) / len(label),
            brier=float(brier_score_loss(label, np.clip(probability, 0, 1))),
            cost=cost,
            cost_per_10000=cost / len(label) * 10_000,
            alerts_per_10000=(tp + fp) / len(label) * 10_000,
        )

    def to_dict(self) -> dict[str, float | None]:
        """By name, as JSON carries it."""
        return asdict(self)


@dataclass(frozen=True)
class Twins:
    """Rows whose like the model was fitted on or chosen by, and what is left without them.

    Attributes
    ----------
    rows, frauds
        The twins, and the frauds among them.
    metrics
        Of the other rows; None where there are no twins, or nothing else.
    """

    rows: int
    frauds: int
    metrics: Metrics | None


@dataclass(frozen=True)
class Evaluation:
    """How a model measures on some rows, closely.

    Attributes
    ----------
    intervals
        95 % intervals of pr_auc, precision, recall, f1 and cost_per_10000; None where undefined.
    twins
        None where nobody has looked for them.
    curve
        `recall` and `precision`, at most 200 points from the highest threshold to the lowest;
        empty where the rows hold one class only.
    score_histogram
        `edges` (21 probabilities, one unit of log-odds apart, 0 and 1 at the ends), and the rows
        in the 20 bins between them: `legitimate` and `fraud`.
    """

    threshold: float
    metrics: Metrics
    intervals: dict[str, Interval | None]
    precision_at: tuple[PrecisionAt, ...]
    slices: tuple[Slice, ...]
    over_time: tuple[Window, ...]
    curve: dict[str, list[float]]
    score_histogram: dict[str, list[float]]
    twins: Twins | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, equal to what a file of them reads back as."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self), allow_nan=False))
        return plain


def evaluate(
    dataset: Dataset,
    probability: NDArray[np.float64],
    threshold: float,
    *,
    missed: NDArray[np.float64],
    alarm: float,
    seed: int = 0,
    seen: NDArray[np.bool_] | None = None,
    groups: Groups = None,
) -> Evaluation:
    """Measure a model on labelled rows of which nothing was learned.

    Parameters
    ----------
    dataset
        The rows, with their annotations and timestamp where there are any.
    probability
        Shape (n,).
    missed, alarm
        As for `Metrics.of`.
    seed
        Of the resamples.
    seen
        Rows that are twins of rows it was fitted on or chosen by, shape (n,).
    groups
        Equal for rows that hang together, as `training.split.groups` has them, shape (n,).
        Intervals count copies as one row; without it each row is taken to stand alone.
    """
    label, alert = dataset.label, probability >= threshold
    costs = RowCosts(missed=missed, alarm=alarm)
    return Evaluation(
        threshold=threshold,
        metrics=Metrics.of(label, probability, threshold, **costs),
        intervals=bootstrap(label, probability, threshold, **costs, groups=groups, seed=seed),
        precision_at=precision_at(dataset.timestamp, label, probability),
        slices=slices(dataset, alert, groups=groups),
        over_time=over_time(dataset.timestamp, label, probability, alert),
        curve=_thinned(Curve.of(label, probability, **costs)),
        score_histogram=_histogram(label, probability),
        twins=_twins(seen, label, probability, threshold, costs),
    )


def baselines(
    train: Dataset,
    validation: Dataset,
    test: Dataset,
    policy: Policy,
    *,
    exclude: Collection[str] = (),
) -> dict[str, dict[str, float | None]]:
    """What needs no model: alert on none, alert on all, and the best single column.

    The column is the one with the highest skill on the training rows; its threshold is chosen by
    the same policy on validation, and all are measured on test. The first two give every payment
    the training rows' share of frauds as its probability. A column's score is no probability, so
    it has no Brier score.

    Parameters
    ----------
    exclude
        Columns that a model must not see either.

    Returns
    -------
    dict
        Metrics by name: `alert on none`, `alert on all`, `best single column: NAME, ...`.
    """
    costs = policy.row_costs(test)
    share = np.full(len(test), float(train.label.mean()))
    found = {
        "alert on none": Metrics.of(test.label, share, 1.0, **costs),
        "alert on all": Metrics.of(test.label, share, 0.0, **costs),
    }
    if column := best_column(train, exclude=exclude):
        curve = Curve.of(validation.label, column.score(validation), **policy.row_costs(validation))
        threshold = policy.choose(curve).threshold
        measured = Metrics.of(test.label, column.score(test), threshold, **costs)
        found[f"best single column: {column.label}"] = replace(measured, brier=None)
    return {name: metrics.to_dict() for name, metrics in found.items()}


def _twins(
    seen: NDArray[np.bool_] | None,
    label: NDArray[np.int8],
    probability: NDArray[np.float64],
    threshold: float,
    costs: RowCosts,
) -> Twins | None:
    if seen is None:
        return None
    new = ~seen
    without = (
        Metrics.of(
            label[new],
            probability[new],
            threshold,
            missed=costs["missed"][new],
            alarm=costs["alarm"],
        )
        if 0 < new.sum() < len(new)
        else None
    )
    return Twins(int(seen.sum()), int(label[seen].sum()), without)


def _thinned(curve: Curve) -> dict[str, list[float]]:
    """Points at even steps along the line, both ends among them."""
    if not 0 < curve.frauds < curve.rows:
        return {"recall": [], "precision": []}
    at = curve.evenly(_CURVE_POINTS)
    return {"recall": curve.recall[at].tolist(), "precision": curve.precision[at].tolist()}


def _histogram(label: NDArray[np.int8], probability: NDArray[np.float64]) -> dict[str, list[float]]:
    edges = np.concatenate([[0.0], _SCORE_EDGES, [1.0]])
    place = np.searchsorted(_SCORE_EDGES, probability, side="right")
    counts = {
        name: np.bincount(place[label == value], minlength=len(edges) - 1).tolist()
        for name, value in (("legitimate", 0), ("fraud", 1))
    }
    return {"edges": edges.tolist(), **counts}
