"""The pictures of a model show its numbers."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from training.card.figures import (
    confusion_figure,
    over_time_figure,
    pr_curve_figure,
    reliability_figure,
    scores_figure,
    slices_figure,
    threshold_figure,
)
from training.evaluate import Metrics
from training.threshold import Curve

LABEL = np.array([0, 0, 0, 1, 1], np.int8)
PROBABILITY = np.array([0.1, 0.2, 0.7, 0.6, 0.9])
COSTS: dict[str, Any] = {"missed": np.full(5, 10.0), "alarm": 1.0}


def drawn(figure: Figure) -> bytes:
    """Draw it for good: what cannot be laid out fails here."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg")
    return buffer.getvalue()


@pytest.mark.parametrize("thin", [False, True])
def test_the_pictures_show_the_numbers(thin: bool) -> None:
    found = Metrics.of(LABEL, PROBABILITY, 0.5, **COSTS)
    whole = Curve.of(LABEL, PROBABILITY, **COSTS)
    given: Any = (
        {"recall": whole.recall[1:].tolist(), "precision": whole.precision[1:].tolist()}
        if thin
        else whole
    )

    curve = pr_curve_figure(given, found, "Validation").axes[0]
    counts = confusion_figure(found, "Test").axes[0]

    assert "Validation: PR-AUC 0.833 (2 frauds in 5 rows)" in curve.get_title()
    point = curve.lines[-1]
    assert (list(point.get_xdata()), list(point.get_ydata())) == ([1.0], [2 / 3])
    assert list(curve.lines[0].get_xdata()) == [0.5, 0.5, 1, 1, 1]
    assert [t.get_text().split("\n")[0] for t in counts.texts] == ["2", "1", "0", "2"]


def test_the_interval_stands_beside_the_pr_auc() -> None:
    found = Metrics.of(LABEL, PROBABILITY, 0.5, **COSTS)

    axes = pr_curve_figure(
        Curve.of(LABEL, PROBABILITY, **COSTS), found, "Test", interval=(0.61, 0.97)
    ).axes[0]

    assert "PR-AUC 0.833, 95 %: 0.610 to 0.970" in axes.get_title()


def test_a_model_that_alerts_on_nothing_still_has_a_picture() -> None:
    label, probability = np.array([0, 1], np.int8), np.array([0.1, 0.2])
    costs: dict[str, Any] = {"missed": np.ones(2), "alarm": 1.0}

    axes = pr_curve_figure(
        Curve.of(label, probability, **costs),
        Metrics.of(label, probability, 0.9, **costs),
        "Test",
    ).axes[0]

    assert len(axes.lines) == 2  # the curve and the floor, no point


def test_thresholds_keep_their_ends_and_mark_the_chosen_one() -> None:
    rng = np.random.default_rng(0)
    label = (rng.random(5_000) < 0.1).astype(np.int8)
    frame = Curve.of(label, rng.random(5_000), missed=np.ones(5_000), alarm=2.0).frame()

    figure = threshold_figure(frame, chosen=0.5)

    upper, lower = figure.axes
    precision, recall, chosen = upper.lines
    assert list(chosen.get_xdata()) == [0, 0]  # log-odds of one half
    y = np.asarray(recall.get_ydata(), float)
    assert (y[0], y[-1], len(y) < 500) == (0, 1, True)
    assert np.isnan(np.asarray(precision.get_ydata(), float)[0])  # no alert, no precision
    assert np.asarray(lower.lines[0].get_ydata(), float)[0] == frame["cost_per_10000"][0]
    assert "0.5" in [t.get_text() for t in lower.get_xticklabels()]
    assert drawn(figure)


def test_bins_without_fraud_are_hollow_marks_on_the_floor() -> None:
    def part(*pairs: tuple[float, float]) -> list[dict[str, float]]:
        return [{"mean_predicted": x, "observed": y, "rows": 10, "frauds": 1} for x, y in pairs]

    figure = reliability_figure({"before": part((0.5, 0.1)), "after": part((0.01, 0), (0.1, 0.2))})

    axes = figure.axes[0]
    _, before, _, after, without = axes.lines
    assert (list(before.get_xdata()), list(before.get_ydata())) == ([0.5], [0.1])
    assert (list(after.get_xdata()), list(after.get_ydata())) == ([0.1], [0.2])
    assert list(without.get_xdata()) == [0.01]
    assert drawn(figure)
    assert drawn(reliability_figure({"before": [], "after": []}))


def test_time_goes_on_where_a_window_has_no_fraud() -> None:
    window = {"begins": "2026-01-01T00:00:00", "frauds": 2, "alerts": 3, "recall": 0.5,
              "precision": 0.4, "pr_auc": 0.6}  # fmt: skip
    empty = window | {"frauds": 0, "alerts": 0, "recall": None, "precision": None, "pr_auc": None}

    figure = over_time_figure([window, empty, window])

    recall = np.asarray(figure.axes[0].lines[0].get_ydata(), float)
    assert recall[[0, 2]].tolist() == [0.5, 0.5]
    assert np.isnan(recall[1])
    assert [bar.get_height() for bar in figure.axes[1].patches] == [2, 0, 2, 3, 0, 3]
    assert drawn(figure)


def test_slices_are_drawn_from_the_lowest_recall_and_names_cannot_break_it() -> None:
    def part(value: str, recall: float, weak: bool) -> dict[str, Any]:
        return {"column": "a$b", "value": value, "frauds": 10, "recall": recall, "weak": weak,
                "true_positives": int(10 * recall), "recall_interval": (0.0, 1.0)}  # fmt: skip

    none = part("x", 0.0, False) | {"frauds": 0, "recall": None, "recall_interval": None}
    figure = slices_figure([part("high$_", 0.9, False), none, part("low", 0.1, True)], 0.5)

    axes = figure.axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == [
        r"a\$b: low (1 of 10)", r"a\$b: high\$_ (9 of 10)",
    ]  # fmt: skip
    assert axes.lines[1].get_color() != axes.lines[3].get_color()
    assert drawn(figure)
    assert drawn(slices_figure([none], 0.0))


def test_scores_are_shares_of_their_class() -> None:
    edges = [0, *(1 / (1 + np.exp(-np.arange(-9.0, 10)))), 1]
    fraud = [0] * 19 + [4]
    figure = scores_figure({"edges": edges, "legitimate": [30, *[0] * 17, 10, 0], "fraud": fraud},
                           1e-9)  # fmt: skip

    legitimate, _, frauds, _ = figure.axes[0].patches
    assert legitimate.get_data().values.tolist()[:2] == [0.75, 0]
    assert frauds.get_data().values.sum() == 1
    assert figure.axes[0].lines[0].get_xdata()[0] == -10  # far below: at the edge
    assert drawn(figure)
