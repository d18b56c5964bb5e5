"""How far predicted probabilities are from what came to pass: bins of equal counts, and errors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BINS = 10

Measured = dict[str, float]


def reliability(
    label: NDArray[np.int8], probability: NDArray[np.float64], bins: int = BINS
) -> list[Measured]:
    """Rows in bins of equal counts, from the lowest predictions to the highest.

    Parameters
    ----------
    label, probability
        Shape (n,), n above 0. Equal probabilities are never split, so bins may be fewer.
    """
    order = np.argsort(probability, kind="stable")
    ordered, frauds = probability[order], label[order]
    cuts = len(label) * np.arange(1, bins + 1) // bins
    ends = np.unique(ordered.searchsorted(ordered[cuts[cuts > 0] - 1], side="right"))
    return [
        {
            "mean_predicted": float(ordered[start:end].mean()),
            "observed": float(frauds[start:end].mean()),
            "rows": int(end - start),
            "frauds": int(frauds[start:end].sum()),
        }
        for start, end in zip([0, *ends[:-1]], ends, strict=True)
    ]


def expected_calibration_error(
    label: NDArray[np.int8], probability: NDArray[np.float64], bins: int = BINS
) -> float:
    """Mean distance of predicted and observed share of frauds, over bins weighted by their rows.

    Bins hold equal counts of rows, as far as equal probabilities, which are never split, allow.
    """
    return sum(
        abs(b["mean_predicted"] - b["observed"]) * b["rows"] / len(label)
        for b in reliability(label, probability, bins)
    )


def measure(label: NDArray[np.int8], probability: NDArray[np.float64]) -> Measured:
    """Mean squared error, calibration error and log loss of rows, arguments of shape (n,)."""
    clipped = np.clip(probability, 1e-15, 1 - 1e-15)
    return {
        "brier": float(np.mean((probability - label) ** 2)),
        "ece": expected_calibration_error(label, probability),
        "log_loss": float(-np.log(np.where(label == 1, clipped, 1 - clipped)).mean()),
    }
