"""Calibration brings scores to natural prevalence and never changes their order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from training.audit import Audit
from training.calibrate import Calibration
from training.data import Dataset
from training.features import FeatureEngineering
from training.fit import Recipe, fit_model
from training.models import FAMILIES
from training.split import split


@st.composite
def scored_rows(draw: st.DrawFn) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    score = st.floats(0, 1) | st.sampled_from([0.0, 1.0, 5e-324, 0.5])
    rows = draw(st.lists(st.tuples(st.booleans(), score), min_size=2, max_size=60))
    label = np.array([fraud for fraud, _ in rows], np.int8)
    label[:2] = [0, 1]
    return label, np.array([s for _, s in rows])


@given(rows=scored_rows())
def test_a_higher_score_never_gets_a_lower_probability(
    rows: tuple[NDArray[np.int8], NDArray[np.float64]],
) -> None:
    calibration = Calibration.fit(*rows)
    grid = np.sort(np.concatenate([np.linspace(0, 1, 200), rows[1]]))

    probability = calibration.probability(grid)

    assert calibration.slope > 0
    assert np.isfinite(probability).all()
    assert (np.diff(probability) >= 0).all()
    assert 0 <= probability[0] <= probability[-1] <= 1


@given(rows=scored_rows())
def test_the_mean_probability_is_the_base_rate_give_or_take_the_smoothing(
    rows: tuple[NDArray[np.int8], NDArray[np.float64]],
) -> None:
    label, score = rows
    calibration = Calibration.fit(label, score)
    frauds, legitimate = int(label.sum()), int((label == 0).sum())
    smoothed = frauds * (frauds + 1) / (frauds + 2) + legitimate / (legitimate + 2)
    if calibration.slope == 1e-3:  # worse than chance: the base rate of one row more of each
        smoothed = len(label) * (frauds + 1) / (len(label) + 2)

    mean = calibration.probability(score).mean()

    assert mean == pytest.approx(smoothed / len(label), abs=0.02)


def test_scores_that_separate_the_classes_get_finite_sensible_numbers() -> None:
    label = np.repeat([0, 1], [990, 10]).astype(np.int8)

    calibration = Calibration.fit(label, label.astype(float))

    assert np.isfinite([calibration.slope, calibration.offset]).all()
    low, high = calibration.probability(np.array([0.0, 1.0]))
    assert low < 0.01
    assert high > 0.9


def test_scores_worse_than_chance_keep_their_order_and_say_the_base_rate() -> None:
    label = np.repeat([0, 1], [90, 10]).astype(np.int8)

    calibration = Calibration.fit(label, 1 - label * 0.9)

    probability = calibration.probability(np.array([0.1, 0.5, 0.9]))
    assert (np.diff(probability) > 0).all()
    assert probability == pytest.approx(0.11, abs=0.01)


@pytest.mark.parametrize("family", FAMILIES)
def test_probabilities_come_back_to_the_base_rate_after_smote(
    family: str, dataset: Dataset, report: Audit, recipe: Callable[..., Recipe]
) -> None:
    parts = split(dataset)
    train_rows, rest = dataset.take(parts.train), dataset.take(parts.validation)
    features = FeatureEngineering(dataset.spec, exclude=report.excluded).fit(train_rows.columns)
    model = fit_model(
        features.transform(train_rows.columns), train_rows.label, recipe(family, smote=1.0)
    )
    score = model.probability(features.transform(rest.columns))

    probability = Calibration.fit(rest.label, score).probability(score)

    base_rate = rest.label.mean()
    assert score.mean() > 2 * base_rate  # what resampling does to raw scores
    assert probability.mean() == pytest.approx(base_rate, rel=0.3)
    order = np.argsort(score, kind="stable")
    assert (np.diff(probability[order]) >= 0).all()
