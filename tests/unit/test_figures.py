"""The pictures of a model show its numbers."""

from __future__ import annotations

import numpy as np

from training.evaluate import Metrics
from training.figures import confusion_figure, pr_curve_figure
from training.threshold import Curve


def test_the_pictures_show_the_numbers() -> None:
    label = np.array([0, 0, 0, 1, 1], np.int8)
    probability = np.array([0.1, 0.2, 0.7, 0.6, 0.9])
    found = Metrics.of(label, probability, 0.5)

    curve = pr_curve_figure(Curve.of(label, probability), found, "Validation").axes[0]
    counts = confusion_figure(found, "Test").axes[0]

    assert "Validation: PR-AUC 0.833 (2 frauds in 5 rows)" in curve.get_title()
    point = curve.lines[-1]
    assert (list(point.get_xdata()), list(point.get_ydata())) == ([1.0], [2 / 3])
    assert [t.get_text().split("\n")[0] for t in counts.texts] == ["2", "1", "0", "2"]


def test_a_model_that_alerts_on_nothing_still_has_a_picture() -> None:
    label, probability = np.array([0, 1], np.int8), np.array([0.1, 0.2])

    axes = pr_curve_figure(
        Curve.of(label, probability), Metrics.of(label, probability, 0.9), "Test"
    ).axes[0]

    assert len(axes.lines) == 2  # the curve and the floor, no point
