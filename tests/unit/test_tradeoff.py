"""What the page says of a threshold is what the model's curve and policies say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradio_ui.tradeoff import Costs, Tradeoff
from training.bundle import ModelBundle
from training.data import Dataset
from training.models import FAMILIES
from training.rechoose import rechosen
from training.split import Split

COSTS = Costs(100.0, 5.0)


@pytest.mark.parametrize("name", FAMILIES)
def test_numbers_are_those_of_the_validation_rows(
    name: str, bundles: dict[str, ModelBundle], dataset: Dataset, parts: Split
) -> None:
    bundle, tradeoff = bundles[name], Tradeoff(bundles[name])
    rows = dataset.take(parts.validation)
    probability, label = bundle.score(rows.columns), rows.label
    for threshold in (bundle.choice.threshold, 0.01, 0.5):
        alert = probability >= threshold
        hits, alarms = int((alert & (label == 1)).sum()), int((alert & (label == 0)).sum())
        missed = int(label.sum()) - hits
        said = tradeoff.numbers(threshold, COSTS)
        found = (
            f"{hits:,} frauds found and {missed:,} missed; {alarms:,} false alarms and "
            f"{int((label == 0).sum()) - alarms:,} legitimate payments let through"
        )
        assert found in said
        expected = (100 * missed + 5 * alarms) / len(rows) * 10_000
        assert tradeoff.cost(threshold, COSTS) == pytest.approx(expected)


def test_the_slider_reaches_from_no_alert_to_all_and_never_turns_back(bundle: ModelBundle) -> None:
    tradeoff = Tradeoff(bundle)
    thresholds = [tradeoff.at(step) for step in range(tradeoff.steps + 1)]
    assert thresholds == sorted(thresholds)
    alerts = [tradeoff.curve.alerts[tradeoff.curve.at(t)] for t in thresholds]
    assert (alerts[0], alerts[-1]) == (tradeoff.curve.rows, 0)
    assert [tradeoff.step_of(t) for t in thresholds] == list(range(tradeoff.steps + 1))
    assert (tradeoff.at(-5), tradeoff.at(1e9)) == (thresholds[0], thresholds[-1])


@given(missed=st.floats(0, 1e6), alarm=st.floats(0, 1e6))
def test_no_threshold_costs_less_than_the_least(
    bundle: ModelBundle, missed: float, alarm: float
) -> None:
    costs, tradeoff = Costs(missed, alarm), Tradeoff(bundle)
    least = next(o for o in tradeoff.optima(costs) if o.name == "Least cost")
    every = tradeoff.curve.priced(missed, alarm).cost / tradeoff.curve.rows * 10_000
    assert tradeoff.cost(least.threshold, costs) == pytest.approx(every.min(), rel=1e-6, abs=1e-6)


def test_optima_are_those_of_the_policies(bundle: ModelBundle) -> None:
    found = {o.name: o.threshold for o in Tradeoff(bundle).optima(COSTS)}
    assert found["In service now"] == bundle.choice.threshold
    assert found["Best F1"] == rechosen(bundle, "max-f1").threshold
    assert found["Recall of 90 % or more"] == rechosen(bundle, "recall>=0.9").threshold
    assert found["Least cost"] == rechosen(bundle, "min-cost=100:5").threshold


def test_flat_costs_are_flat_whatever_the_curve_was_made_with(bundle: ModelBundle) -> None:
    dear = replace(bundle, curve=bundle.curve.assign(cost_per_10000=0.0))
    assert dear.optimum("min-cost=100:5") == bundle.optimum("min-cost=100:5")


def test_the_spread_of_the_scores_counts_every_row_once(bundle: ModelBundle) -> None:
    tradeoff = Tradeoff(bundle)
    spread = tradeoff._spread
    assert sum(spread["fraud"]) == tradeoff.curve.frauds
    assert sum(spread["legitimate"]) == tradeoff.curve.rows - tradeoff.curve.frauds
    assert np.all(np.array(spread["legitimate"]) >= 0)
