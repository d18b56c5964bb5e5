"""SMOTE at a ratio, for rows that a model is fitted on and for no others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from training.errors import DataRefused, UsageError
from training.preprocess import Matrix

NEIGHBOURS = 5
MOST_NEIGHBOURS = 100


@dataclass(frozen=True)
class Neighbourhood:
    """The frauds of some rows and the nearest of each: all that SMOTE searches for.

    It owes nothing to ratio and seed, so one search serves every resampling of the same rows. It is
    what imbalanced-learn takes for a search of neighbours, with the answer known already.

    Attributes
    ----------
    frauds
        Shape (f, d).
    nearest
        Shape (f, neighbours + 1): places in `frauds`, from the nearest, which is the fraud itself.
    """

    frauds: Matrix
    nearest: NDArray[np.intp]

    @classmethod
    def of(cls, matrix: Matrix, label: NDArray[np.int8], neighbours: int = NEIGHBOURS) -> Self:
        """Search among the frauds of a matrix of shape (n, d), labels of shape (n,).

        Raises
        ------
        DataRefused
            If there are too few frauds to have that many neighbours.
        """
        from sklearn.neighbors import NearestNeighbors

        frauds = matrix[label == 1]
        if len(frauds) <= neighbours:
            raise DataRefused(
                f"SMOTE needs more than {neighbours} frauds in the rows it is given, to have "
                f"{neighbours} neighbours each; there are {len(frauds)}. Use ratio 0 or more data"
            )
        search = NearestNeighbors(n_neighbors=neighbours + 1).fit(frauds)
        return cls(frauds, search.kneighbors(frauds, return_distance=False))

    @property
    def neighbours(self) -> int:
        """How many each fraud has, itself not counted."""
        return int(self.nearest.shape[1]) - 1

    def fit(self, rows: Matrix) -> Self:
        """Nothing is left to learn."""
        del rows
        return self

    def kneighbors(self, rows: Matrix, *, return_distance: bool) -> NDArray[np.intp]:
        """What was found for the frauds."""
        del rows, return_distance
        return self.nearest

    def kneighbors_graph(self, rows: Matrix) -> Any:
        """Imbalanced-learn knows a search by having this, and never calls it."""
        raise NotImplementedError

    def __sklearn_clone__(self) -> Self:
        """A clone would be empty."""
        return self


def smote(
    matrix: Matrix, label: NDArray[np.int8], *, ratio: float, seed: int,
    neighbours: int = NEIGHBOURS, known: Neighbourhood | None = None,
) -> tuple[Matrix, NDArray[np.int8]]:  # fmt: skip
    """Add synthetic frauds until there are `ratio` frauds per legitimate row.

    Parameters
    ----------
    matrix
        Shape (n, d), the rows a model is about to be fitted on.
    label
        Shape (n,), 1 for fraud.
    ratio
        0 leaves the rows as they are; else above the natural ratio and at most 1.
    neighbours
        Nearest frauds of a fraud, one of which a synthetic one lies towards.
    known
        The neighbourhood of these rows with that many neighbours, if it has been searched already.

    Returns
    -------
    matrix, label
        Those given where nothing is added; else new ones that begin with them.

    Raises
    ------
    UsageError
        If the ratio is negative, above 1, or at most the natural one.
    DataRefused
        If there are too few frauds to have that many neighbours.
    """
    if ratio == 0:
        return matrix, label
    frauds = int(label.sum())
    legitimate = len(label) - frauds
    natural = frauds / max(legitimate, 1)
    if not natural < ratio <= 1:
        raise UsageError(
            f"the SMOTE ratio is 0 (none) or lies above the natural ratio of frauds to legitimate "
            f"rows, {natural:.4g}, and at most 1; it is {ratio:g}"
        )
    if known is None:
        known = Neighbourhood.of(matrix, label, neighbours)
    if (len(known.frauds), known.neighbours) != (frauds, neighbours):
        raise ValueError(f"the neighbourhood is not that of {frauds} frauds with {neighbours} each")
    wanted = int(legitimate * ratio)
    if wanted <= frauds:
        return matrix, label  # the ratio asks for less than one more row
    added = _synthetic(known, wanted - frauds, seed)
    return np.concatenate([matrix, added]), np.append(label, np.ones(len(added), label.dtype))


def _synthetic(known: Neighbourhood, count: int, seed: int) -> Matrix:
    from imblearn.over_sampling import SMOTE  # a second to import, and half the trials do without

    # SMOTE looks at frauds alone, and copies and checks whatever it is given. So it is given them
    # with the one other row that makes two classes, rather than millions.
    frauds = known.frauds
    rows, label = np.concatenate([frauds, frauds[:1]]), np.append(np.ones(len(frauds), int), 0)
    sampler = SMOTE(
        sampling_strategy={1: len(frauds) + count}, k_neighbors=known, random_state=seed
    )
    resampled: Matrix = sampler.fit_resample(rows, label)[0]
    return resampled[len(rows) :]
