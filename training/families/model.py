"""Model: what every family offers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from training.preprocess import Matrix, Probability

Label = NDArray[np.int8]
Params = Mapping[str, float]


class Model(Protocol):
    """What every family offers."""

    family: ClassVar[str]
    """Name on the command line and in MLflow."""
    defaults: ClassVar[dict[str, float]]
    """Every parameter that may be set, with the value it has otherwise."""
    counted: ClassVar[str | None]
    """The parameter that counts trees or rounds, of which a larger model holds the smaller ones;
    None for a family that does not grow."""
    margin_unit: ClassVar[str]
    """What `margin` and `contributions` are measured in."""

    @classmethod
    def fit(
        cls, matrix: Matrix, label: Label, params: Params, *, seed: int, threads: int,
        weight: float = 1.0,
    ) -> Self:  # fmt: skip
        """Fit to a matrix of shape (n, d) and labels of shape (n,).

        `weight` is that of a fraud against a legitimate row: 2 counts every fraud twice.
        """

    @classmethod
    def prepare(cls, matrix: Matrix, label: Label, *, weight: float, threads: int) -> Any:
        """What fits on the same rows with the same weight can share, for `grow` of this family.

        It may hold the matrix itself, which must not be changed then.
        """

    @classmethod
    def grow(
        cls, prepared: Any, params: Params, counts: Sequence[int], held_out: Matrix, *, seed: int,
        threads: int,
    ) -> Iterator[Probability]:  # fmt: skip
        """Fit step by step, giving after each step what other rows get from the model so far.

        A step costs only what it adds to the one before, and nothing is fitted before it is asked
        for, so a caller may stop at any of them.

        Parameters
        ----------
        prepared
            From `prepare`; it is not changed, and one fit at a time may use it.
        counts
            Ascending values that take the place of the `counted` parameter in `params`. Empty for a
            family that does not grow: it gives its probabilities once.
        held_out
            Shape (m, d).

        Yields
        ------
        Probability
            Shape (m,), a new array per step: what a model fitted at once with that count says.

        Raises
        ------
        ValueError
            If the counts do not ascend from 1, or are not what the family needs.
        """

    def probability(self, matrix: Matrix) -> Probability:
        """Probability of fraud before calibration, shape (n,)."""

    def margin(self, matrix: Matrix) -> NDArray[np.float64]:
        """What the contributions add up to, shape (n,), in `margin_unit`, before calibration."""

    def contributions(self, matrix: Matrix, background: NDArray[np.float64]) -> Matrix:
        """Shapley values of the d columns, then the base value: shape (n, d + 1).

        A row adds up to its margin, to 1e-4 in trees, which count in float32.

        Parameters
        ----------
        background
            Shape (d,): mean row of the training matrix at natural prevalence. The linear model
            measures from it. Trees ignore it: they keep how many rows went each way at a split, so
            their base is that of the rows as fitted, after resampling and weights.
        """

    def to_bytes(self) -> bytes:
        """The fitted model as data."""

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read back what `to_bytes` gave."""
