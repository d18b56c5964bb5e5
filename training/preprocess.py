"""Impute, encode, log and scale: what is learned per column, kept as plain numbers and texts.

Each class learns with `fit` and holds its learned state in fields that JSON can carry, so the same
state serves in training and behind the endpoint, and no pickle is needed to move it. The results
equal those of scikit-learn's SimpleImputer, OneHotEncoder, StandardScaler and MinMaxScaler, which
a property test holds them to.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from training.errors import DataRefused

Values = NDArray[Any]
Matrix = NDArray[np.float64]
Probability = NDArray[np.float64]


class _Learned(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def most_frequent(values: Values) -> Any:
    """The most frequent value that is not missing, the smallest of several; None if all are."""
    counts = pd.Series(values).value_counts()
    return min(counts.index[counts == counts.max()]) if len(counts) else None


def impute(values: Values, fill: float | str) -> Values:
    """Replace missing values of shape (n,): NaN in floats, None in objects."""
    if values.dtype != object:
        return np.where(np.isnan(values), fill, values)
    missing = pd.isna(values)
    return np.where(missing, fill, values) if missing.any() else values


class OneHot(_Learned):
    """A category as one 0/1 column per value seen in training; all 0 for any other value."""

    kind: Literal["one-hot"] = "one-hot"
    values: tuple[str, ...]

    @classmethod
    def fit(cls, values: Iterable[str]) -> Self:
        """Learn the values of a column without missing ones."""
        return cls(values=tuple(sorted(set(values))))

    def names(self, column: str) -> list[str]:
        """Names of the columns made."""
        return [f"{column}={value}" for value in self.values]


class Scale(_Learned):
    """A number as (f(x) - center) / spread, f being the signed log for skewed numbers."""

    kind: Literal["scale"] = "scale"
    log: bool
    center: float
    spread: float

    @classmethod
    def fit(cls, values: Values, *, skewed: bool) -> Self:
        """Learn mean and deviation of the log of a skewed column, else its least value and range.

        Raises
        ------
        ValueError
            If a value is missing or infinite.
        DataRefused
            If the values lie further apart than a number can say.
        """
        if not np.isfinite(values).all():
            raise ValueError("impute and check the values before scaling them")
        if skewed:
            values = signed_log(values)
            center, spread = values.mean(), values.std()
        else:
            with np.errstate(over="ignore"):
                center, spread = values.min(), values.max() - values.min()
            if spread == np.inf:
                raise DataRefused(
                    f"numbers from {values.min():g} to {values.max():g} are too far apart to scale"
                )
        # A constant column may spread by a few ulps: noise is no spread.
        if not spread > 10 * np.finfo(float).eps * max(abs(center), 1.0):
            spread = 1.0
        return cls(log=skewed, center=float(center), spread=float(spread))

    def names(self, column: str) -> list[str]:
        """Names of the columns made: its own."""
        return [column]


class AsIs(_Learned):
    """A boolean, 0 or 1, unchanged."""

    kind: Literal["as-is"] = "as-is"

    def names(self, column: str) -> list[str]:
        """Names of the columns made: its own."""
        return [column]


Encoder = Annotated[OneHot | Scale | AsIs, Field(discriminator="kind")]


def signed_log(values: Values) -> NDArray[np.float64]:
    """log(1 + x) for x >= 0, mirrored below, so that no finite value becomes infinite or NaN."""
    return np.copysign(np.log1p(np.abs(values)), values)
