"""Decision thresholds: the whole curve over observed scores, and the policies that choose on it.

Candidates are the midpoints between neighbouring observed scores, one more above the highest score
(no alert) and one at half the lowest (every row alerts). So each set of alerts that any threshold
could give is looked at once, and the threshold chosen lies as far as it can from the scores on
either side of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.data import Columns
from training.errors import UsageError
from training.spec import Costs, DatasetSpec

DEFAULT_POLICY = "max-f1"
MOST_BETA = 1000.0
"""The largest beta of `max-fbeta`; there precision no longer counts."""
MOST_COST = 1e12
"""The largest cost a policy may name; sums over any file stay finite."""

_POLICY = re.compile(
    r"(?P<name>max-f1)|(?P<beta>max-fbeta)=(?P<b>[0-9.]+)|(?P<floor>recall|precision)>=(?P<f>[0-9.]+)"
    r"|(?P<budget>alert-rate)<=(?P<a>[0-9.]+)"
)
# A column may be named with blanks and colons in it: the last colon is the one that divides.
_MIN_COST = re.compile(
    r"\s*min-cost\s*"
    r"(?:=\s*(?P<missed>\S|\S.*?\S)\s*:\s*(?P<alarm>[0-9]+\.?[0-9]*|\.[0-9]+)\s*)?"
)
_SAME_COST = 1e-9  # relative: sums of amounts in another order differ in their last digits


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
        """Make the curve of rows with both classes.

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
                "cost_per_10000": self.cost / self.rows * 10_000,
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
    cost_per_10000, alerts_per_10000
        At this threshold, for 10,000 rows like those it was chosen on.
    """

    policy: str
    threshold: float
    precision: float
    recall: float
    f1: float
    met: bool
    cost_per_10000: float
    alerts_per_10000: float


@dataclass(frozen=True)
class Policy:
    """How to choose a threshold.

    `max-f1`, `max-fbeta=B`, `recall>=R` (best precision with at least that recall),
    `precision>=P` (best recall with at least that precision), `alert-rate<=A` (best recall with at
    most that share of alerts), `min-cost` (least cost, as the spec has it), `min-cost=MISSED:ALARM`
    (as given here) and `min-cost=COLUMN:ALARM` (a missed fraud costs what that column says of it).

    Attributes
    ----------
    value
        The number of the policy; 1 where it has none.
    missed, alarm
        The policy's own costs, a column's name taking the place of the first; None without any.
    """

    text: str
    kind: str
    value: float
    missed: float | str | None = None
    alarm: float | None = None

    @classmethod
    def parse(cls, text: str) -> Policy:
        """Read a policy as written on the command line.

        Raises
        ------
        UsageError
            If it is none of the above, or its number is out of range.
        """
        if priced := _MIN_COST.fullmatch(text):
            return cls._priced(text, *priced.groups())
        found = _POLICY.fullmatch(text.replace(" ", ""))
        if found is None:
            raise UsageError(
                f"no threshold policy {text!r}; there are max-f1, max-fbeta=2, recall>=0.9, "
                f"precision>=0.5, alert-rate<=0.01, min-cost, min-cost=200:5 (of a missed fraud "
                f"and of a false alarm) and min-cost=amount:5 (with your own numbers and column)"
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

    @classmethod
    def _priced(cls, text: str, missed: str | None, alarm: str | None) -> Policy:
        if missed is None or alarm is None:
            return cls("min-cost", "min-cost", 1.0)
        try:
            own: float | str = float(missed)
        except ValueError:
            own = missed
        flat = 0.0 if isinstance(own, str) else own
        if not (0 <= flat <= MOST_COST and float(alarm) <= MOST_COST):
            raise UsageError(
                f"the costs in the policy {text!r} must be 0 or more and at most {MOST_COST:g}"
            )
        return cls(f"min-cost={missed}:{alarm}", "min-cost", 1.0, own, float(alarm))

    def costs(self, spec: DatasetSpec) -> Costs:
        """The policy's own costs, or else the spec's.

        Where the amount of a row is missing, the spec's `missed_fraud` counts.

        Raises
        ------
        UsageError
            If the policy names a column that is no number among the spec's inputs.
        """
        if self.missed is None or self.alarm is None:
            return spec.costs
        if isinstance(self.missed, float):
            return Costs(missed_fraud=self.missed, false_alarm=self.alarm)
        numbers = [name for name, column in spec.inputs.items() if column.type == "number"]
        if self.missed not in numbers:
            raise UsageError(
                f"the policy {self.text!r} needs a number among the inputs of the spec "
                f"{spec.name!r}, which {self.missed!r} is not; there are {', '.join(numbers)}"
            )
        return Costs(
            missed_fraud=spec.costs.missed_fraud, false_alarm=self.alarm, amount=self.missed
        )

    def choose(self, curve: Curve) -> Choice:
        """The best threshold of a curve under this policy.

        What comes out is defined in every case:

        - Of equally good thresholds the highest wins: the fewest alerts. Costs within a billionth
          of each other are equal.
        - A precision floor that no threshold reaches: the one of the highest precision, with `met`
          False. Every other policy can be met.
        - An alert budget too small for the rows that share the highest score: no alert at all.
        - All scores equal: no alert or an alert on every row, whichever the policy likes better.
        """
        goal, allowed = curve.recall, np.ones(len(curve.threshold), bool)
        match self.kind:
            case "max-f1" | "max-fbeta":
                goal = curve.f_score(self.value)
            case "recall":
                goal, allowed = curve.precision, curve.recall >= self.value
            case "precision":
                allowed = curve.precision >= self.value
            case "alert-rate":
                allowed = curve.alerts / curve.rows <= self.value
            case _:
                goal = (curve.cost <= curve.cost.min() * (1 + _SAME_COST)).astype(float)
        if not (met := bool(allowed.any())):  # only a precision floor can be out of reach
            goal, allowed = curve.precision, np.ones(len(goal), bool)
        best = int(np.argmax(np.where(allowed, goal, -1.0)))
        return Choice(
            policy=self.text,
            threshold=float(curve.threshold[best]),
            precision=float(curve.precision[best]),
            recall=float(curve.recall[best]),
            f1=float(curve.f_score()[best]),
            met=met,
            cost_per_10000=float(curve.cost[best] / curve.rows * 10_000),
            alerts_per_10000=float(curve.alerts[best] / curve.rows * 10_000),
        )


def missed_costs(costs: Costs, columns: Columns, rows: int) -> NDArray[np.float64]:
    """What letting each row through costs if it is a fraud, shape (rows,).

    That is its amount where the costs name a column, the columns have it and the value is known;
    else the flat cost of a missed fraud. An amount below 0, a refund, costs nothing.
    """
    if costs.amount is None or costs.amount not in columns:
        return np.full(rows, costs.missed_fraud)
    amount = columns[costs.amount]
    return np.where(np.isnan(amount), costs.missed_fraud, np.maximum(amount, 0.0))
