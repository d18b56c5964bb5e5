"""LinearModel: logistic regression, kept as arrays."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from training.families.model import Label, Params
from training.families.settings import Rows, counts_up, row_weights, with_defaults
from training.preprocess import Matrix, Probability


@dataclass(frozen=True)
class LinearModel:
    """Logistic regression: one weight per column and an intercept."""

    family: ClassVar[str] = "logistic-regression"
    defaults: ClassVar[dict[str, float]] = {"C": 1.0}
    counted: ClassVar[str | None] = None
    margin_unit: ClassVar[str] = "log-odds"

    weights: NDArray[np.float64]
    intercept: float

    @classmethod
    def fit(
        cls, matrix: Matrix, label: Label, params: Params, *, seed: int, threads: int,
        weight: float = 1.0,
    ) -> Self:  # fmt: skip
        """Fit with scikit-learn's lbfgs solver, which draws nothing.

        Its products are small: sharing them between threads takes longer than doing them, many
        times so on a busy machine.
        """
        del seed
        prepared = cls.prepare(matrix, label, weight=weight, threads=threads)
        return cls._fitted(prepared, params)

    @classmethod
    def prepare(cls, matrix: Matrix, label: Label, *, weight: float, threads: int) -> Rows:
        """The rows as they are, with their weights."""
        del threads
        return Rows(matrix, label, row_weights(label, weight))

    @classmethod
    def grow(
        cls, prepared: Rows, params: Params, counts: Sequence[int], held_out: Matrix, *, seed: int,
        threads: int,
    ) -> Iterator[Probability]:  # fmt: skip
        """Give the probabilities of the held-out rows, once."""
        del seed, threads
        counts_up(cls, counts)
        yield cls._fitted(prepared, params).probability(held_out)

    @classmethod
    def _fitted(cls, prepared: Rows, params: Params) -> Self:
        from sklearn.linear_model import LogisticRegression
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1):
            fitted = LogisticRegression(**with_defaults(cls, params), max_iter=2000).fit(
                prepared.matrix, prepared.label, sample_weight=prepared.weights
            )
        return cls(fitted.coef_[0], float(fitted.intercept_[0]))

    def probability(self, matrix: Matrix) -> Probability:
        """Shape (n,)."""
        return 1 / (1 + np.exp(-np.clip(self.margin(matrix), -700, 700)))

    def margin(self, matrix: Matrix) -> NDArray[np.float64]:
        """Log-odds, shape (n,)."""
        return matrix @ self.weights + self.intercept

    def contributions(self, matrix: Matrix, background: NDArray[np.float64]) -> Matrix:
        """How far each column lies from the background, times its weight; shape (n, d + 1)."""
        base = np.full((len(matrix), 1), background @ self.weights + self.intercept)
        return np.hstack([(matrix - background) * self.weights, base])

    def to_bytes(self) -> bytes:
        """An uncompressed .npz file."""
        buffer = io.BytesIO()
        np.savez(buffer, weights=self.weights, intercept=self.intercept)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read back what `to_bytes` gave; object arrays, which would be pickles, are refused."""
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return cls(arrays["weights"], float(arrays["intercept"]))
