"""Tradeoff: what each threshold of a model finds, alerts on and costs, in numbers and pictures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gradio_ui import charts
from gradio_ui.look import Raw, bold, card, figures, joined, number, paragraph, percent, table

_STEPS = 400
_PER = 10_000
# What is alike in odds is alike in width; even steps would put nearly all rows into the first.
_EDGES = (0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97, 1)


@dataclass(frozen=True)
class Costs:
    """What the two kinds of error cost the person who looks, in one currency."""

    missed: float
    alarm: float


@dataclass(frozen=True)
class Optimum:
    """The threshold of one policy, under the letter that marks it in the pictures."""

    letter: str
    name: str
    threshold: float
    met: bool = True


class Tradeoff:
    """The whole threshold curve of a bundle.

    Parameters
    ----------
    bundle
        A ModelBundle; its choice is the threshold in service.
    """

    def __init__(self, bundle: Any) -> None:
        self.bundle = bundle
        self.curve = bundle.thresholds
        # From low to high: to the right there are fewer alerts.
        self._optima: dict[Costs, list[Optimum]] = {}
        self._places = np.append(self.curve.evenly(_STEPS)[::-1], 0)

    @property
    def steps(self) -> int:
        """Positions of the slider, from 0 to this."""
        return len(self._places) - 1

    def at(self, step: float) -> float:
        """The threshold at a position of the slider."""
        place = self._places[int(np.clip(round(step), 0, self.steps))]
        return float(self.curve.threshold[place])

    def step_of(self, threshold: float) -> int:
        """The position of the slider that is nearest to a threshold."""
        place = self.curve.at(threshold)
        return int(np.argmin(np.abs(self._places - place)))

    def cost(self, threshold: float, costs: Costs) -> float:
        """Of 10,000 payments like those of validation."""
        place = self.curve.at(threshold)
        missed = self.curve.frauds - self.curve.true_positives[place]
        spent = costs.missed * missed + costs.alarm * self.curve.false_positives[place]
        return float(spent / self.curve.rows * _PER)

    def optima(self, costs: Costs) -> list[Optimum]:
        """What the policies choose, the threshold in service first."""
        if costs not in self._optima:
            self._optima = {costs: self._chosen(costs)}
        return self._optima[costs]

    def _chosen(self, costs: Costs) -> list[Optimum]:
        wanted = {
            "Best F1": "max-f1",
            "Least cost": f"min-cost={_plain(costs.missed)}:{_plain(costs.alarm)}",
            "Recall of 90 % or more": "recall>=0.9",
            "Precision of 90 % or more": "precision>=0.9",
            "Alerts on 1 % or fewer": "alert-rate<=0.01",
        }
        found = [Optimum("A", "In service now", self.bundle.choice.threshold)]
        for letter, (name, policy) in zip("BCDEF", wanted.items(), strict=True):
            choice = self.bundle.optimum(policy)
            found.append(Optimum(letter, name, choice.threshold, choice.met))
        return found

    def numbers(self, threshold: float, costs: Costs) -> Raw:
        """What a threshold does, on the validation rows."""
        curve, place = self.curve, self.curve.at(threshold)
        hits, alarms = int(curve.true_positives[place]), int(curve.false_positives[place])
        legitimate = curve.rows - curve.frauds
        alerts = round(float(curve.alerts[place]) / curve.rows * _PER, 1)
        return joined(
            figures({
                "Precision": percent(float(curve.precision[place]), 1),
                "Recall": percent(float(curve.recall[place]), 1),
                "F1": f"{float(curve.f_score()[place]):.3f}",
                "Alerts per 10,000": number(alerts),
                "Cost per 10,000": number(round(self.cost(threshold, costs))),
            }),
            card(
                "What becomes of payments",
                charts.confusion(legitimate - alarms, alarms, curve.frauds - hits, hits),
                paragraph(
                    f"Counted on {curve.rows:,} validation payments with {curve.frauds:,} frauds, "
                    "which the model was not fitted on."
                ),
            ),
        )  # fmt: skip

    def pictures(self, threshold: float, costs: Costs) -> Raw:
        """The precision-recall curve and the spread of the scores, with a threshold marked."""
        curve, place = self.curve, self.curve.at(threshold)
        shown = curve.evenly(_STEPS)
        recall, precision = float(curve.recall[place]), float(curve.precision[place])
        # Policies that choose the same stand under one mark.
        letters: dict[tuple[float, float], list[str]] = {}
        for optimum, i in self._marked(costs):
            at = (float(curve.recall[i]), float(curve.precision[i]))
            letters.setdefault(at, []).append(optimum.letter)
        letters.setdefault((recall, precision), []).append("here")
        marks = [(*at, " ".join(found)) for at, found in letters.items()]
        line = charts.lines(
            {"curve": (curve.recall[shown].tolist(), curve.precision[shown].tolist())},
            "recall: share of the frauds that are found", "precision of the alerts",
            marks=marks, x_range=(0, 1), y_range=(0, 1),
            told=f"Precision over recall. At this threshold recall is {percent(recall, 1)} and "
            f"precision {percent(precision, 1)}.",
        )  # fmt: skip
        spread = charts.histogram(
            _EDGES, self._spread, mark=threshold, x_label="probability of fraud",
            told=f"How the probabilities of legitimate payments and of frauds are spread, with the "
            f"threshold at {percent(threshold)}",
        )  # fmt: skip
        return joined(
            card("Precision against recall", line),
            card("Where the scores lie", spread),
        )

    def policies(self, costs: Costs) -> Raw:
        """What each policy chooses, beside each other."""
        rows = []
        for optimum, i in self._marked(costs):
            name = optimum.name if optimum.met else f"{optimum.name} (not reached anywhere)"
            rows.append((
                bold(optimum.letter), name, percent(optimum.threshold),
                percent(float(self.curve.precision[i]), 1), percent(float(self.curve.recall[i]), 1),
                round(float(self.curve.alerts[i] / self.curve.rows * _PER), 1),
                round(self.cost(optimum.threshold, costs)),
            ))  # fmt: skip
        headers = (
            "Mark", "Policy", "Threshold", "Precision", "Recall", "Alerts per 10,000",
            "Cost per 10,000",
        )  # fmt: skip
        return table(headers, rows, "What each policy would choose")

    def _marked(self, costs: Costs) -> list[tuple[Optimum, int]]:
        return [(optimum, self.curve.at(optimum.threshold)) for optimum in self.optima(costs)]

    @cached_property
    def _spread(self) -> dict[str, list[float]]:
        """Rows of either class by probability: what lies between two thresholds of the curve."""
        curve = self.curve
        between = (curve.threshold[1:] + curve.threshold[:-1]) / 2
        frauds, others = np.diff(curve.true_positives), np.diff(curve.false_positives)
        place = np.clip(np.searchsorted(_EDGES, between, side="right") - 1, 0, len(_EDGES) - 2)
        counted = (np.bincount(place, rows, len(_EDGES) - 1).tolist() for rows in (others, frauds))
        return dict(zip(("legitimate", "fraud"), counted, strict=True))


def _plain(value: float) -> str:
    """A number as a policy may name it."""
    return f"{value:.12g}" if value < 1e12 else "1e12"
