"""Policies that choose a decision threshold on the curve, and what a missed fraud costs them."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass
from typing import TypedDict

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import TypeAdapter

from training.curve import Curve
from training.data import Columns, Dataset
from training.errors import DataRefused, UsageError
from training.spec import Costs, DatasetSpec

__all__ = [
    "DEFAULT_POLICY",
    "MOST_BETA",
    "MOST_COST",
    "Choice",
    "Curve",
    "Policy",
    "RowCosts",
    "missed_costs",
]

DEFAULT_POLICY = "max-f1"
MOST_BETA = 1000.0
"""The largest beta of `max-fbeta`; there precision no longer counts."""
MOST_COST = 1e12
"""The largest cost a policy may name; sums over any file stay finite."""

_NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_POLICY = re.compile(
    rf"(?P<name>max-f1)|(?P<beta>max-fbeta)=(?P<b>{_NUMBER})"
    rf"|(?P<floor>recall|precision)>=(?P<f>{_NUMBER})|(?P<budget>alert-rate)<=(?P<a>{_NUMBER})"
    rf"|(?P<fixed>threshold)=(?P<t>{_NUMBER})"
)
# A column may be named with blanks and colons in it: the last colon is the one that divides.
_MIN_COST = re.compile(
    rf"\s*min-cost\s*(?:=\s*(?P<missed>\S|\S.*?\S)\s*:\s*(?P<alarm>{_NUMBER})\s*)?"
)
_SAME_COST = 1e-9  # relative: sums of amounts in another order differ in their last digits


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

    @classmethod
    def from_json(cls, text: str) -> Choice:
        """Read one from outside, strictly.

        Raises
        ------
        ValueError
            If a field is missing or no finite number, or the threshold is not above 0.
        UsageError
            If there is no such policy.
        """
        choice = _CHOICE.validate_json(text, strict=True)
        Policy.parse(choice.policy)
        for name, value in asdict(choice).items():
            if not (isinstance(value, str) or math.isfinite(value)):
                raise ValueError(f"{name} must be a finite number, it is {value}")
        if choice.threshold <= 0:
            raise ValueError(f"the threshold must be above 0, it is {choice.threshold}")
        return choice

    def to_json(self) -> str:
        """The text that `from_json` reads; equal choices have equal texts."""
        return json.dumps(asdict(self), sort_keys=True, allow_nan=False)


_CHOICE = TypeAdapter(Choice)


class RowCosts(TypedDict):
    """What errors on n rows cost, as `Curve.of` and `Metrics.of` take it.

    `missed` of shape (n,) is what a row costs if it is a fraud let through, `alarm` what an alert
    on a legitimate one costs.
    """

    missed: NDArray[np.float64]
    alarm: float


@dataclass(frozen=True)
class Policy:
    """How to choose a threshold.

    `max-f1`, `max-fbeta=B`, `recall>=R` (best precision with at least that recall),
    `precision>=P` (best recall with at least that precision), `alert-rate<=A` (best recall with at
    most that share of alerts), `min-cost` (least cost, as the spec has it), `min-cost=MISSED:ALARM`
    (as given here), `min-cost=COLUMN:ALARM` (a missed fraud costs what that column says of it) and
    `threshold=T` (that one, whatever the rows say).
    Numbers are decimal, as in 200, .5 or 1e3. In front of the colon whatever is no such number is
    a column; one that is called like a number has to be named by the spec's costs.

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
                f"and of a false alarm), min-cost=amount:5 (with your own numbers and column) and "
                f"threshold=0.5"
            )
        kind = next(filter(None, map(found.group, ("name", "beta", "floor", "budget", "fixed"))))
        value = float(next(filter(None, map(found.group, "bfat")), "1"))
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
        own = float(missed) if re.fullmatch(_NUMBER, missed) else missed
        flat = 0.0 if isinstance(own, str) else own
        if not (0 <= flat <= MOST_COST and 0 <= float(alarm) <= MOST_COST):
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

    def require(self, columns: Columns, source: str) -> None:
        """Refuse data that cannot say what the policy asks of them; `source` is their name.

        Of a whole file, before it is parted. Where the policy leaves the amounts to the spec, or
        names none, nothing is required: the flat cost stands in.

        Raises
        ------
        DataRefused
            If the policy names a column that is absent or has no known value.
        """
        if not isinstance(self.missed, str):
            return
        needs = f"{source}: the policy {self.text!r} needs known values of {self.missed!r}"
        if self.missed not in columns:
            raise DataRefused(f"{needs}; the file has no such column")
        if pd.isna(values := columns[self.missed]).all():
            raise DataRefused(f"{needs}; they are missing in all {len(values):,} rows")

    def row_costs(self, rows: Dataset) -> RowCosts:
        """What errors on these rows cost under this policy."""
        costs = self.costs(rows.spec)
        return RowCosts(
            missed=missed_costs(costs, rows.columns, len(rows)), alarm=costs.false_alarm
        )

    def choose(self, curve: Curve) -> Choice:
        """The best threshold of a curve under this policy.

        What comes out is defined in every case:

        - Of equally good thresholds the highest wins: the fewest alerts. Costs within a billionth
          of each other are equal.
        - A precision floor that no threshold reaches: the one of the highest precision, with `met`
          False. With a fraud among the rows every other policy can be met.
        - No fraud among the rows: no alert, and a floor is not met.
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
            case "threshold":
                allowed = np.arange(len(goal)) == curve.at(self.value)
            case _:
                goal = (curve.cost <= curve.cost.min() * (1 + _SAME_COST)).astype(float)
        if not (met := bool(allowed.any())):
            goal, allowed = curve.precision, np.ones(len(goal), bool)
        best = int(np.argmax(np.where(allowed, goal, -1.0)))
        return Choice(
            policy=self.text,
            threshold=self.value if self.kind == "threshold" else float(curve.threshold[best]),
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
