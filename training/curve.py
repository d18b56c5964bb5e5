"""Curve: what every threshold over observed scores would alert on, find and cost.

Candidates are the midpoints between neighbouring observed scores, one more above the highest score
(no alert) and one at half the lowest (every row alerts). So each set of alerts that any threshold
could give is looked at once, and the threshold chosen lies as far as it can from the scores on
either side of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray


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
    cost: NDArray[np.float64]
    frauds: int
    rows: int

    @classmethod
    def of(
        cls,
        label: NDArray[np.int8],
        probability: NDArray[np.float64],
        *,
        missed: NDArray[np.float64],
        alarm: float,
    ) -> Curve:
        """Make the curve of at least one row; without a fraud every score of it is 0.

        Parameters
        ----------
        label, probability, missed
            Shape (n,); `missed` is what letting a row through costs if it is a fraud.
        alarm
            What an alert on a legitimate row costs.
        """
        order = np.argsort(-probability, kind="stable")
        scores, frauds = probability[order], label[order].astype(np.int64)
        ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
        middle = (scores[ends[:-1]] + scores[ends[:-1] + 1]) / 2
        # A midpoint of two neighbouring floats can round down onto the lower one.
        middle = np.where(middle > scores[ends[:-1] + 1], middle, scores[ends[:-1]])
        hits = np.cumsum(frauds)[ends]
        above = np.nextafter(scores[0], np.inf) if scores[0] >= 1 else (scores[0] + 1) / 2
        false_positives = np.append(0, ends + 1 - hits)
        # Summed from the lowest score up, nothing is subtracted: what costs nothing comes out as 0.
        below = np.cumsum(np.where(frauds == 1, missed[order], 0.0)[::-1])[::-1]
        let_through = np.concatenate([below[:1], np.append(below, 0.0)[ends + 1]])
        return cls(
            threshold=np.concatenate([[above], middle, [scores[-1] / 2]]),
            true_positives=np.append(0, hits),
            false_positives=false_positives,
            cost=let_through + alarm * false_positives,
            frauds=int(frauds.sum()),
            rows=len(label),
        )

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> Curve:
        """Read what `frame` wrote; `cost` is in the money of the policy it was made for."""
        hits, alarms = (
            frame[name].to_numpy(np.int64) for name in ("true_positives", "false_positives")
        )
        rows = int(hits[-1] + alarms[-1])  # the last threshold alerts on every row
        return cls(
            threshold=frame["threshold"].to_numpy(np.float64),
            true_positives=hits,
            false_positives=alarms,
            cost=frame["cost_per_10000"].to_numpy(np.float64) * rows / 10_000,
            frauds=int(hits[-1]),
            rows=rows,
        )

    def priced(self, missed: float, alarm: float) -> Curve:
        """The same curve with flat costs of a missed fraud and of a false alarm."""
        misses = self.frauds - self.true_positives
        return replace(self, cost=missed * misses + alarm * self.false_positives)

    def at(self, threshold: float) -> int:
        """Position of the curve's threshold with the same alerts as any other threshold.

        Scores are known again from the midpoints, but for the last digits.
        """
        doubled = 2 * self.threshold[:0:-1]  # lowest score first, then sums of two neighbours
        sign = np.where(np.arange(len(doubled)) % 2, -1.0, 1.0)
        scores = sign * np.cumsum(sign * doubled)
        return int(np.count_nonzero(scores >= threshold))

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
        """Share of the frauds that are alerts; 0 where there is no fraud."""
        return self.true_positives / max(self.frauds, 1)

    def f_score(self, beta: float = 1.0) -> NDArray[np.float64]:
        """Harmonic mean of precision and recall, recall weighing `beta` times as much.

        0 where there is neither an alert nor a fraud.
        """
        weight = beta**2
        # With an alert the denominator is at least 1; without one the numerator is 0 anyway.
        denominator: NDArray[np.float64] = np.maximum(weight * self.frauds + self.alerts, 1)
        return (1 + weight) * self.true_positives / denominator

    def evenly(self, points: int) -> NDArray[np.intp]:
        """Positions of at most so many thresholds, at even steps along the precision-recall line.

        Both of its ends are among them, but not the threshold that alerts on nothing.
        """
        recall, precision = self.recall[1:], self.precision[1:]
        way = np.append(0, np.cumsum(np.abs(np.diff(recall)) + np.abs(np.diff(precision))))
        at = np.unique(np.searchsorted(way, np.linspace(0, way[-1], points)))
        at[-1] = len(way) - 1
        return at + 1

    def frame(self) -> pd.DataFrame:
        """The curve as a table for people and for MLflow."""
        return pd.DataFrame(
            {
                "threshold": self.threshold,
                "precision": self.precision,
                "recall": self.recall,
                "f1": self.f_score(),
                "alerts_per_10000": self.alerts / self.rows * 10_000,
                "cost_per_10000": self.cost / self.rows * 10_000,
                "true_positives": self.true_positives,
                "false_positives": self.false_positives,
            }
        )
