"""The best a single column can do: what a model must beat for its numbers to mean something."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.audit.skill import cross_fitted_skill, dealt, level_edges, skill
from training.data import Dataset
from training.identity import row_hashes

_PRIOR_ROWS = 10.0  # rows at the overall rate that a value's own rate is mixed with
_CLEARLY = 0.02  # skill by which ranges must beat a plain higher or lower, which is simpler to say


@dataclass(frozen=True)
class ColumnScore:
    """A column as the only score, learned on training rows.

    Missing values take the median or the most frequent value, as they do for a model, and the
    overall rate where ranges are rated: that a value is missing may not be what tells.

    Attributes
    ----------
    skill
        Average precision on the training rows above that of alerting on every row: 1 is perfect,
        0 no better. Where rates are the score, each row is judged by rates learned without its
        fold.
    read
        `higher` or `lower` where values of a number are suspicious that are so; `ranges` or
        `values` where it is the share of frauds of each that scores.
    steps
        For `higher` and `lower` the distinct values, rising in suspicion; for `ranges` the edges.
    rates
        Share of frauds by the range's place or the category's value.
    """

    name: str
    skill: float
    read: Literal["higher", "lower", "ranges", "values"]
    fill: Any
    steps: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    rates: dict[Any, float] = field(default_factory=dict)
    prevalence: float = 0.0

    @property
    def label(self) -> str:
        """The column and how it is read, in words."""
        if self.read in ("ranges", "values"):
            return f"{self.name}, by the rate of each {self.read.removesuffix('s')}"
        return f"{self.name}, the {self.read} the more suspicious"

    def score(self, dataset: Dataset) -> NDArray[np.float64]:
        """Scores above 0 and below 1 that rise with suspicion, shape (n,); no probabilities."""
        if self.name not in dataset.frame:
            return np.full(len(dataset), 0.5)
        column = dataset.columns[self.name]
        if self.read == "ranges":
            place = np.searchsorted(self.steps, column.astype(np.float64), side="right")
            column = np.where(pd.isna(column), -1, place)  # no range: the overall rate
        else:
            column = np.where(pd.isna(column), self.fill, column)
        if self.read in ("ranges", "values"):
            rates = pd.Series(column).map(self.rates)
            return rates.to_numpy(np.float64, na_value=self.prevalence)
        signed = column if self.read == "higher" else -column
        place = np.searchsorted(self.steps, signed.astype(np.float64), side="right")
        return np.asarray((place + 0.5) / (len(self.steps) + 1), np.float64)


def best_column(train: Dataset, *, exclude: Collection[str] = ()) -> ColumnScore | None:
    """The column with the highest skill on training rows; None if no column holds a value."""
    label = train.label
    fold = dealt(label, row_hashes(train.columns))
    found = [
        _number(name, values, label, fold)
        if values.dtype != object
        else _category(name, values, label, fold)
        for name, values in train.columns.items()
        if name not in exclude and not pd.isna(values).all()
    ]
    return max(found, key=lambda column: column.skill, default=None)


def _number(
    name: str, values: NDArray[np.float64], label: NDArray[np.int8], fold: NDArray[np.intp]
) -> ColumnScore:
    known, fill = ~np.isnan(values), float(np.nanmedian(values))
    edges = level_edges(values[known])
    place = np.searchsorted(edges, values[known], side="right")
    by_range, rates = _rated(place, label[known], fold[known], len(edges) + 1)
    by_range *= float(label[known].sum() / max(label.sum(), 1))
    distinct, codes = np.unique(np.where(known, values, fill), return_inverse=True)
    rows, frauds = _counts(codes, label, len(distinct))
    high, low = skill(rows, frauds), skill(rows[::-1], frauds[::-1])
    if by_range > max(high, low) + _CLEARLY:
        by_place = dict(enumerate(rates.tolist()))
        return ColumnScore(
            name, by_range, "ranges", fill, edges, by_place, prevalence=float(label.mean())
        )
    if high >= low:
        return ColumnScore(name, high, "higher", fill, distinct)
    return ColumnScore(name, low, "lower", fill, -distinct[::-1])


def _category(
    name: str, values: NDArray[Any], label: NDArray[np.int8], fold: NDArray[np.intp]
) -> ColumnScore:
    codes, distinct = pd.factorize(values)
    fill = int(np.argmax(np.bincount(codes[codes >= 0])))
    codes = np.where(codes < 0, fill, codes)
    found, rates = _rated(codes, label, fold, len(distinct))
    return ColumnScore(
        name,
        found,
        "values",
        str(distinct[fill]),
        rates=dict(zip(map(str, distinct), rates.tolist(), strict=True)),
        prevalence=float(label.mean()),
    )


def _rated(
    codes: NDArray[np.intp], label: NDArray[np.int8], fold: NDArray[np.intp], size: int
) -> tuple[float, NDArray[np.float64]]:
    """Skill of the share of frauds of each code, and the shares, shape (size,)."""
    rows, frauds = _counts(codes, label, size)
    rates = (frauds + label.mean() * _PRIOR_ROWS) / (rows + _PRIOR_ROWS)
    return cross_fitted_skill(codes, rows, frauds, label, fold=fold), rates


def _counts(
    codes: NDArray[np.intp], label: NDArray[np.int8], size: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows and frauds of each code."""
    rows = np.bincount(codes, minlength=size).astype(np.float64)
    return rows, np.bincount(codes, label, minlength=size).astype(np.float64)
