"""Decision thresholds: the whole curve over observed scores, and the policies that choose on it."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.errors import UsageError

DEFAULT_POLICY = "max-f1"
MOST_BETA = 1000.0
"""The largest beta of `max-fbeta`; there precision no longer counts."""

_POLICY = re.compile(
    r"(?P<name>max-f1)|(?P<beta>max-fbeta)=(?P<b>[0-9.]+)|(?P<floor>recall|precision)>=(?P<f>[0-9.]+)"
    r"|(?P<budget>alert-rate)<=(?P<a>[0-9.]+)"
)


@dataclass(frozen=True)
class Curve:
    """Counts at every threshold that tells two observed scores apart.

    A row is an alert if its probability is at least the threshold. Thresholds fall: the first
    alerts on nothing, the last on every row, those between are midpoints of neighbouring scores.

    Attributes
    ----------
    threshold, true_positives, false_positives
        Shape (k,).
    frauds, rows
        In the rows the curve was made from, at their natural prevalence.
    """

    threshold: NDArray[np.float64]
    true_positives: NDArray[np.int64]
    false_positives: NDArray[np.int64]
    frauds: int
    rows: int

    @classmethod
    def of(cls, label: NDArray[np.int8], probability: NDArray[np.float64]) -> Curve:
        """Make the curve of rows with both classes, each argument of shape (n,)."""
        order = np.argsort(-probability, kind="stable")
        scores, frauds = probability[order], label[order].astype(np.int64)
        ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
        middle = (scores[ends[:-1]] + scores[ends[:-1] + 1]) / 2
        # A midpoint of two neighbouring floats can round down onto the lower one.
        middle = np.where(middle > scores[ends[:-1] + 1], middle, scores[ends[:-1]])
        hits = np.cumsum(frauds)[ends]
        above = np.nextafter(scores[0], np.inf) if scores[0] >= 1 else (scores[0] + 1) / 2
        return cls(
            threshold=np.concatenate([[above], middle, [scores[-1] / 2]]),
            true_positives=np.append(0, hits),
            false_positives=np.append(0, ends + 1 - hits),
            frauds=int(frauds.sum()),
            rows=len(label),
        )

    @property
    def alerts(self) -> NDArray[np.int64]:
        """Rows at or above each threshold."""
        return self.true_positives + self.false_positives

    @property
    def precision(self) -> NDArray[np.float64]:
        """Share of frauds among the alerts; 0 where there is no alert."""
        return self.true_positives / np.maximum(self.alerts, 1)

    @property
    def recall(self) -> NDArray[np.float64]:
        """Share of the frauds that are alerts."""
        return self.true_positives / max(self.frauds, 1)

    def f_score(self, beta: float = 1.0) -> NDArray[np.float64]:
        """Harmonic mean of precision and recall, recall weighing `beta` times as much."""
        weight = beta**2
        return (1 + weight) * self.true_positives / (weight * self.frauds + self.alerts)

    def frame(self) -> pd.DataFrame:
        """The curve as a table for people and for MLflow."""
        return pd.DataFrame(
            {
                "threshold": self.threshold,
                "precision": self.precision,
                "recall": self.recall,
                "f1": self.f_score(),
                "alerts_per_10000": self.alerts / self.rows * 10_000,
                "true_positives": self.true_positives,
                "false_positives": self.false_positives,
            }
        )


@dataclass(frozen=True)
class Choice:
    """The threshold a policy chose.

    Attributes
    ----------
    met
        False where no threshold meets the policy's floor; then it is the one that comes nearest.
    """

    policy: str
    threshold: float
    precision: float
    recall: float
    f1: float
    met: bool


@dataclass(frozen=True)
class Policy:
    """How to choose a threshold.

    `max-f1`, `max-fbeta=B`, `recall>=R` (best precision with at least that recall),
    `precision>=P` (best recall with at least that precision), `alert-rate<=A` (best recall with at
    most that share of alerts). Of equally good thresholds the highest wins: the fewest alerts.
    """

    text: str
    kind: str
    value: float

    @classmethod
    def parse(cls, text: str) -> Policy:
        """Read a policy as written on the command line.

        Raises
        ------
        UsageError
            If it is none of the above, or its number is out of range.
        """
        found = _POLICY.fullmatch(text.replace(" ", ""))
        if found is None:
            raise UsageError(
                f"no threshold policy {text!r}; there are max-f1, max-fbeta=2, recall>=0.9, "
                f"precision>=0.5 and alert-rate<=0.01 (with your own numbers)"
            )
        kind = next(filter(None, map(found.group, ("name", "beta", "floor", "budget"))))
        try:
            value = float(next(filter(None, map(found.group, "bfa")), "1"))
        except ValueError:
            value = -1.0
        if not 0 < value <= MOST_BETA or (kind not in ("max-f1", "max-fbeta") and value > 1):
            most = MOST_BETA if kind == "max-fbeta" else 1
            raise UsageError(
                f"the number in the policy {text!r} must be above 0 and at most {most:g}"
            )
        return cls(found.group(), kind, value)

    def choose(self, curve: Curve) -> Choice:
        """The best threshold of a curve under this policy."""
        if self.kind in ("max-f1", "max-fbeta"):
            goal, allowed = curve.f_score(self.value), np.ones(len(curve.threshold), bool)
        elif self.kind == "recall":
            goal, allowed = curve.precision, curve.recall >= self.value
        elif self.kind == "precision":
            goal, allowed = curve.recall, curve.precision >= self.value
        else:
            goal, allowed = curve.recall, curve.alerts / curve.rows <= self.value
        met = bool(allowed.any())
        if not met:  # only a precision floor can be out of reach: come as near as possible
            goal, allowed = curve.precision, np.ones(len(goal), bool)
        best = int(np.argmax(np.where(allowed, goal, -1.0)))
        return Choice(
            policy=self.text,
            threshold=float(curve.threshold[best]),
            precision=float(curve.precision[best]),
            recall=float(curve.recall[best]),
            f1=float(curve.f_score()[best]),
            met=met,
        )
