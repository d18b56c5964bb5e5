"""Bring scores back to probabilities at natural prevalence after resampling (Platt scaling)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_EDGE = 1e-6  # a forest says exactly 0 or 1; its log-odds must stay finite


@dataclass(frozen=True)
class Calibration:
    """probability = sigmoid(slope * log-odds(score) + offset); rising, so no order is reversed.

    References
    ----------
    Platt, "Probabilistic outputs for support vector machines", 1999, with its smoothed targets.
    """

    slope: float
    offset: float

    @classmethod
    def fit(cls, label: NDArray[np.int8], score: NDArray[np.float64]) -> Calibration:
        """Learn from rows no model was fitted on, each argument of shape (n,)."""
        from sklearn.linear_model import LogisticRegression  # not needed where one is only applied

        frauds = int(label.sum())
        legitimate = len(label) - frauds
        # A row of either class counts a little as the other one, so that separable scores still
        # have an answer: weights t and 1 - t on the row taken once as fraud and once as not.
        target = np.where(label == 1, (frauds + 1) / (frauds + 2), 1 / (legitimate + 2))
        odds = _log_odds(score)[:, None]
        # tol: the smoothed targets make a flat optimum; the default stops early on it.
        fitted = LogisticRegression(C=1e6, tol=1e-8, max_iter=1000).fit(
            np.vstack([odds, odds]),
            np.repeat([1, 0], len(label)),
            sample_weight=np.concatenate([target, 1 - target]),
        )
        slope, offset = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
        if slope <= 0:  # scores worse than chance: keep their order, say the base rate
            slope = 1e-3
            offset = float(np.log((frauds + 1) / (legitimate + 1)))
        return cls(slope, offset)

    def probability(self, score: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrated probabilities of scores in 0..1, shape (n,)."""
        return 1 / (1 + np.exp(-(self.slope * _log_odds(score) + self.offset)))


def _log_odds(score: NDArray[np.float64]) -> NDArray[np.float64]:
    clipped = np.clip(score, _EDGE, 1 - _EDGE)
    return np.log(clipped) - np.log1p(-clipped)
