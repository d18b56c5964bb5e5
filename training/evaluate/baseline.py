"""The best a single column can do: what a model must beat for its numbers to mean something."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.audit.skill import cross_fitted_skill, skill
from training.data import Dataset

_PRIOR_ROWS = 10.0  # rows at the overall rate that a value's own rate is mixed with


@dataclass(frozen=True)
class ColumnScore:
    """A column as the only score, learned on training rows.

    Missing values take the median or the most frequent value, as they do for a model: that a
    value is missing may not be what tells.

    Attributes
    ----------
    skill
        Average precision on the training rows above that of alerting on every row: 1 is perfect,
        0 no better. For a category each row is judged by rates learned without its fold.
    rising
        True where high values are the suspicious ones; None for a category.
    """

    name: str
    skill: float
    rising: bool | None
    fill: Any
    values: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    rates: dict[str, float] = field(default_factory=dict)
    prevalence: float = 0.0

    @property
    def label(self) -> str:
        """The column and how it is read, in words."""
        if self.rising is None:
            return f"{self.name}, by the rate of each value"
        return f"{self.name}, the {'higher' if self.rising else 'lower'} the more suspicious"

    def score(self, dataset: Dataset) -> NDArray[np.float64]:
        """Scores above 0 and below 1 that rise with suspicion, shape (n,); no probabilities."""
        if self.name not in dataset.frame:
            return np.full(len(dataset), 0.5)
        column = dataset.columns[self.name]
        column = np.where(pd.isna(column), self.fill, column)
        if self.rising is None:
            rates = pd.Series(column).map(self.rates)
            return rates.to_numpy(np.float64, na_value=self.prevalence)
        signed = column if self.rising else -column
        place = np.searchsorted(self.values, signed.astype(np.float64), side="right")
        return np.asarray((place + 0.5) / (len(self.values) + 1), np.float64)


def best_column(train: Dataset, *, exclude: Collection[str] = ()) -> ColumnScore | None:
    """The column with the highest skill on training rows; None if no column holds a value."""
    found = [
        _number(name, values, train.label)
        if values.dtype != object
        else _category(name, values, train.label)
        for name, values in train.columns.items()
        if name not in exclude and not pd.isna(values).all()
    ]
    return max(found, key=lambda column: column.skill, default=None)


def _number(name: str, values: NDArray[np.float64], label: NDArray[np.int8]) -> ColumnScore:
    fill = float(np.nanmedian(values))
    distinct, codes = np.unique(np.where(np.isnan(values), fill, values), return_inverse=True)
    rows, frauds = _counts(codes, label, len(distinct))
    high, low = skill(rows, frauds), skill(rows[::-1], frauds[::-1])
    rising = high >= low
    ordered = distinct if rising else -distinct[::-1]
    return ColumnScore(name, max(high, low), rising, fill, values=ordered)


def _category(name: str, values: NDArray[Any], label: NDArray[np.int8]) -> ColumnScore:
    codes, distinct = pd.factorize(values)
    fill = int(np.argmax(np.bincount(codes[codes >= 0])))
    codes = np.where(codes < 0, fill, codes)
    rows, frauds = _counts(codes, label, len(distinct))
    prevalence = float(label.mean())
    rates = (frauds + prevalence * _PRIOR_ROWS) / (rows + _PRIOR_ROWS)
    return ColumnScore(
        name,
        cross_fitted_skill(codes, rows, frauds, label),
        None,
        str(distinct[fill]),
        rates=dict(zip(map(str, distinct), rates.tolist(), strict=True)),
        prevalence=prevalence,
    )


def _counts(
    codes: NDArray[np.intp], label: NDArray[np.int8], size: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows and frauds of each code."""
    rows = np.bincount(codes, minlength=size).astype(np.float64)
    return rows, np.bincount(codes, label, minlength=size).astype(np.float64)
