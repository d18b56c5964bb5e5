"""Ways to build and measure a model that differ in one habit each: what is claimed, what comes.

Every procedure has the same file, and one model comes out of it with a threshold and figures: the
claim. The same model and threshold then meet later payments that no procedure ever saw: what it
delivers. Where the two part, the procedure has flattered itself.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from training.data import Dataset
from training.errors import DataRefused
from training.features import FeatureEngineering
from training.models import family
from training.preprocess import Matrix
from training.resample import smote
from training.split import SplitPlan, split

LATER: Final = 0.15
"""Share of the payments, the last in time, that no procedure sees: they are what was to come."""

RATIO: Final = 1.0
"""Frauds per legitimate row after SMOTE: the original's, the same everywhere so that it is no
difference; the sweep of this project tries lower ones and none."""

TRAIN, VALIDATION, TEST = range(3)
_TIME_SCALE = 1e-9  # next to features of size 1: a synthetic row gets a time, no neighbour changes

Labels = NDArray[np.int8]
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Procedure:
    """A habit of building models.

    Attributes
    ----------
    smote
        Where synthetic frauds are added: to the rows the model is `fitted` on, to the whole `file`
        before it is split, or `none`.
    by
        Parts by `time`, or at random: by the `hash` of a row.
    threshold
        Rows on which the threshold is chosen: `validation`, or the rows the model was `fitted` on,
        synthetic ones among them; precision, recall and F1 are then quoted from there too.
    """

    name: str
    smote: Literal["fitted", "file", "none"] = "fitted"
    by: Literal["time", "hash"] = "time"
    threshold: Literal["validation", "fitted"] = "validation"


HONEST: Final = Procedure("honest")
PROCEDURES: Final = (
    HONEST,
    Procedure("honest, without SMOTE", smote="none"),
    Procedure("SMOTE before the split", smote="file"),
    Procedure("threshold on training rows", threshold="fitted"),
    Procedure("random split", by="hash"),
    Procedure("all three leaks", smote="file", by="hash", threshold="fitted"),
)


@dataclass(frozen=True)
class Figures:
    """What a threshold does on some rows; precision is 0 where there is no alert."""

    rows: int
    frauds: int
    found: int
    false_alarms: int
    pr_auc: float

    @classmethod
    def of(cls, label: Labels, score: Scores, threshold: float) -> Figures:
        """Measure scores of shape (n,) against labels of shape (n,)."""
        alert, fraud = score >= threshold, label == 1
        return cls(
            rows=len(label),
            frauds=int(fraud.sum()),
            found=int((alert & fraud).sum()),
            false_alarms=int((alert & ~fraud).sum()),
            pr_auc=float(average_precision_score(label, score)),
        )

    @property
    def precision(self) -> float:
        """Share of the alerts that are fraud."""
        return self.found / max(self.found + self.false_alarms, 1)

    @property
    def recall(self) -> float:
        """Share of the frauds that are found."""
        return self.found / max(self.frauds, 1)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return 2 * self.found / max(self.found + self.false_alarms + self.frauds, 1)

    @property
    def accuracy(self) -> float:
        """Share of the rows that are judged right."""
        return 1 - (self.false_alarms + self.frauds - self.found) / self.rows


@dataclass(frozen=True)
class Outcome:
    """One procedure, once.

    Attributes
    ----------
    claim
        What a report would say: PR-AUC on the procedure's own test part; the rest there too, or on
        the rows the threshold was chosen on if those are the rows the model was fitted on.
    delivered
        The same model and threshold on the later payments, at natural prevalence.
    """

    procedure: Procedure
    family: str
    seed: int
    threshold: float
    claim: Figures
    delivered: Figures


@dataclass(frozen=True)
class _Parts:
    """Rows as a model sees them, each with the part it lies in; synthetic rows come last."""

    features: FeatureEngineering
    matrix: Matrix
    label: Labels
    part: NDArray[np.intp]

    def rows(self, part: int) -> tuple[Matrix, Labels]:
        return self.matrix[self.part == part], self.label[self.part == part]


@dataclass(frozen=True)
class _Scored:
    """Labels and scores of the rows a model was fitted on, of its other parts, and of later."""

    fitted: tuple[Labels, Scores]
    validation: tuple[Labels, Scores]
    test: tuple[Labels, Scores]
    later: tuple[Labels, Scores]


def present_and_later(dataset: Dataset) -> tuple[Dataset, Dataset]:
    """The file that every procedure has, and the payments after it, in order of time.

    Raises
    ------
    DataRefused
        If the payments have no timestamp: some of them are to be later.
    """
    times = _seconds(dataset)
    later = times >= np.sort(times)[int(len(times) * (1 - LATER))]
    return dataset.take(~later), dataset.take(later)


def run(
    dataset: Dataset, name: str, *, seed: int, procedures: Sequence[Procedure] = PROCEDURES
) -> list[Outcome]:
    """Follow every procedure with one family; those that fit alike share the model.

    Parameters
    ----------
    dataset
        Labelled payments with timestamps.
    name
        The family, with its default parameters.
    """
    present, later = present_and_later(dataset)
    models: dict[tuple[str, str], _Scored] = {}
    outcomes = []
    for procedure in procedures:
        key = procedure.smote, procedure.by
        if key not in models:
            models[key] = _scored(present, later, procedure, name, seed)
        scored = models[key]
        claim_rows = scored.test
        chosen_on = scored.validation
        if procedure.threshold == "fitted":
            claim_rows = chosen_on = scored.fitted
        threshold = best_threshold(*chosen_on)
        claim = Figures.of(*claim_rows, threshold)
        ranking = float(average_precision_score(*scored.test))
        outcomes.append(
            Outcome(
                procedure=procedure,
                family=name,
                seed=seed,
                threshold=threshold,
                claim=replace(claim, pr_auc=ranking),
                delivered=Figures.of(*scored.later, threshold),
            )
        )
    return outcomes


def best_threshold(label: Labels, score: Scores) -> float:
    """The threshold of the highest F1, half-way down to the next score; of equals the highest."""
    precision, recall, thresholds = precision_recall_curve(label, score)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)[:-1]
    best = len(f1) - 1 - int(np.argmax(f1[::-1]))
    below = thresholds[best - 1] if best else 0.0
    return float((thresholds[best] + below) / 2)


def _scored(
    present: Dataset, later: Dataset, procedure: Procedure, name: str, seed: int
) -> _Scored:
    """Fit as the procedure does, score every row there is."""
    parts = _parts(present, procedure, seed)
    matrix, label = parts.rows(TRAIN)
    if procedure.smote == "fitted":
        matrix, label = smote(matrix, label, ratio=RATIO, seed=seed)
    # On matrices this narrow, threads of the linear algebra only wait for each other.
    with threadpool_limits(1, user_api="blas"):
        model = family(name).fit(matrix, label, {}, seed=seed, threads=os.cpu_count() or 1)

    def scores(matrix: Matrix, label: Labels) -> tuple[Labels, Scores]:
        return label, model.probability(matrix)

    return _Scored(
        fitted=scores(matrix, label),
        validation=scores(*parts.rows(VALIDATION)),
        test=scores(*parts.rows(TEST)),
        later=scores(parts.features.transform(later.columns), later.label),
    )


def _parts(present: Dataset, procedure: Procedure, seed: int) -> _Parts:
    """The file parted 70 / 15 / 15, after SMOTE on all of it if the procedure does that."""
    parts = split(present, SplitPlan(by=procedure.by))
    features = FeatureEngineering(present.spec).fit(present.take(parts.train).columns)
    matrix, label = features.transform(present.columns), present.label
    part = np.empty(len(present), np.intp)
    for number, (_, rows) in enumerate(parts.items()):
        part[rows] = number
    if procedure.smote != "file":
        return _Parts(features, matrix, label, part)
    # A synthetic payment lies between two real ones in time as in everything else, so it can be
    # parted by time too, and SMOTE before the split stays the only difference.
    moment = _seconds(present)
    moment = (moment - moment.min()) / max(np.ptp(moment), 1.0)
    with_time = np.hstack([matrix, moment[:, None] * _TIME_SCALE])
    grown, label = smote(with_time, label, ratio=RATIO, seed=seed)
    added = grown[len(matrix) :, -1] / _TIME_SCALE
    if procedure.by == "time":
        begins = [moment[rows].min() for rows in (parts.validation, parts.test)]
        synthetic = np.searchsorted(begins, added, side="right")
    else:
        shares = [len(rows) / len(present) for _, rows in parts.items()]
        synthetic = np.random.default_rng(seed).choice(3, len(added), p=shares)
    return _Parts(features, grown[:, :-1], label, np.concatenate([part, synthetic]))


def _seconds(dataset: Dataset) -> NDArray[np.float64]:
    if dataset.timestamp is None:
        raise DataRefused(f"{dataset.source}: needs a timestamp, some payments are to be later")
    return dataset.timestamp.astype("M8[s]").astype(np.float64)
