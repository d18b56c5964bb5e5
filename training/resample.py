"""SMOTE at a ratio, for rows that a model is fitted on and for no others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.errors import DataRefused, UsageError
from training.preprocess import Matrix

NEIGHBOURS = 5
MOST_NEIGHBOURS = 100


def smote(
    matrix: Matrix, label: NDArray[np.int8], *, ratio: float, seed: int
) -> tuple[Matrix, NDArray[np.int8]]:
    """Add synthetic frauds until there are `ratio` frauds per legitimate row.

    Parameters
    ----------
    matrix
        Shape (n, d), the rows a model is about to be fitted on.
    label
        Shape (n,), 1 for fraud.
    ratio
        0 leaves the rows as they are; else above the natural ratio and at most 1.

    Raises
    ------
    UsageError
        If the ratio is negative, above 1, or at most the natural one.
    DataRefused
        If there are too few frauds to have `NEIGHBOURS` neighbours.
    """
    if ratio == 0:
        return matrix, label
    frauds = int(label.sum())
    natural = frauds / max(len(label) - frauds, 1)
    if not natural < ratio <= 1:
        raise UsageError(
            f"the SMOTE ratio is 0 (none) or lies above the natural ratio of frauds to legitimate "
            f"rows, {natural:.4g}, and at most 1; it is {ratio:g}"
        )
    if frauds <= NEIGHBOURS:
        raise DataRefused(
            f"SMOTE needs more than {NEIGHBOURS} frauds in the rows it is given, to have "
            f"{NEIGHBOURS} neighbours each; there are {frauds}. Use ratio 0 or more data"
        )
    if int(ratio * (len(label) - frauds)) <= frauds:
        return matrix, label  # the ratio asks for less than one more row
    from imblearn.over_sampling import SMOTE  # a second to import, and half the trials do without

    sampler = SMOTE(sampling_strategy=ratio, k_neighbors=NEIGHBOURS, random_state=seed)
    resampled, labels = sampler.fit_resample(matrix, label)
    return resampled, labels
