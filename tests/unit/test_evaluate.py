"""Metrics are what scikit-learn says, with the counts behind them, and None where undefined."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from training.evaluate import Metrics


@given(
    rows=st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=2, max_size=50),
    threshold=st.floats(0, 1),
)
def test_metrics_equal_those_of_scikit_learn(
    rows: list[tuple[int, float]], threshold: float
) -> None:
    label = np.array([fraud for fraud, _ in rows], np.int8)
    label[:2] = [0, 1]
    probability = np.array([p for _, p in rows])
    alert = (probability >= threshold).astype(int)

    found = Metrics.of(label, probability, threshold)

    tn, fp, fn, tp = reference.confusion_matrix(label, alert, labels=[0, 1]).ravel()
    assert (found.true_negatives, found.false_positives) == (tn, fp)
    assert (found.false_negatives, found.true_positives) == (fn, tp)
    assert (found.rows, found.frauds) == (len(label), label.sum())
    assert found.recall == pytest.approx(reference.recall_score(label, alert))
    assert found.precision == (
        pytest.approx(reference.precision_score(label, alert)) if alert.any() else None
    )
    assert found.f1 == pytest.approx(reference.f1_score(label, alert, zero_division=0))
    assert found.accuracy == pytest.approx(reference.accuracy_score(label, alert))
    assert found.pr_auc == pytest.approx(reference.average_precision_score(label, probability))
    assert found.roc_auc == pytest.approx(reference.roc_auc_score(label, probability))
    assert found.brier == pytest.approx(np.mean((label - probability) ** 2))


@pytest.mark.parametrize(("fraud", "recall"), [(0, None), (1, 0.0)])
def test_what_has_nothing_to_divide_by_is_none(fraud: int, recall: float | None) -> None:
    found = Metrics.of(np.full(4, fraud, np.int8), np.full(4, 0.2), 0.5)

    assert (found.pr_auc, found.roc_auc, found.precision, found.recall) == (
        None, None, None, recall,
    )  # fmt: skip
