"""ColumnProfile: what one column of the training rows looks like, by class.

A profile holds all that its picture needs as a few counts, so a page can be made of it later
without the rows. A column of numbers is sorted once; its skill, quartiles and histogram come from
that order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.audit.absence import Absence, absence
from training.audit.skill import best_skill, cross_fitted_skill, dealt, number_levels
from training.data import Dataset
from training.identity import row_identities
from training.preprocess import Values, signed_log
from training.spec import Column

Label = NDArray[np.int8]
Counts = NDArray[np.float64]
Fold = NDArray[np.intp]

BARS = 24
"""The most bars of a picture of numbers."""
TOP_VALUES = 12
"""Values of a category, or of a number with few of them, that a picture shows."""

_FEW_VALUES = 3  # below which higher and lower say all
_TAIL = 0.005  # share of rows at either end that the outermost bar may hold together
_DENSE = 0.5  # share of their range that whole numbers must fill to be a count of something


@dataclass(frozen=True)
class Histogram:
    """Counts by class, of ranges between `edges` or of the values named in `labels`.

    Attributes
    ----------
    edges
        k + 1 of them for k ranges; the outermost ranges also hold what lies beyond. Empty where
        values are counted.
    log
        The ranges are of equal width on a log scale.
    labels
        The values counted; empty where ranges are.
    legitimate, fraud
        Rows, shape (k,); missing values are in neither.
    """

    legitimate: tuple[int, ...]
    fraud: tuple[int, ...]
    edges: tuple[float, ...] = ()
    log: bool = False
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class ColumnProfile:
    """A column of the training rows.

    Attributes
    ----------
    missing
        Rows without a value.
    missing_legitimate, missing_fraud
        The same as shares of the class.
    distinct
        Different values.
    quartiles
        Least value, quartiles, greatest value of a number; None for other types and without values.
    constant
        The only value there is, in words.
    identifier
        Values are nearly all different texts, or whole numbers that number the rows.
    skill
        Average precision of the column as the only score, on its known values, above that of
        alerting on every row: 1 is perfect, 0 is no better. The score of a category is
        its fraud rate in the other folds of the rows; that of a number is its value, rising or
        falling, or the rate of its range, whichever is better.
    missing_skill
        The same of the mere absence, or presence, of a value.
    stump
        For a number whose classes do not overlap: the threshold, in words.
    drift
        PSI of the later parts of the split against the training rows, by part.
    absence
        What it says that a row lacks a value.
    """

    name: str
    type: Literal["number", "category", "boolean"]
    missing: int
    missing_legitimate: float
    missing_fraud: float
    distinct: int
    quartiles: tuple[float, float, float, float, float] | None
    constant: str | None
    identifier: bool
    skill: float
    missing_skill: float
    stump: str | None
    histogram: Histogram
    drift: dict[str, float]
    absence: Absence = ""


def profile(train: Dataset, shifts: Mapping[str, Mapping[str, float]]) -> tuple[ColumnProfile, ...]:
    """Look at every input of the training rows.

    Parameters
    ----------
    shifts
        PSI by part and column, to be kept beside the rest.
    """
    label = train.label
    fold = dealt(label, row_identities(train))
    return tuple(
        _profile(
            name,
            train.spec.inputs[name],
            values,
            label,
            fold,
            {part: found[name] for part, found in shifts.items()},
        )
        for name, values in train.columns.items()
    )


def _profile(
    name: str, column: Column, values: Values, label: Label, fold: Fold, drift: dict[str, float]
) -> ColumnProfile:
    missing = pd.isna(values)
    rows, frauds = len(label), int(label.sum())
    gone, gone_frauds = int(missing.sum()), int(label[missing].sum())
    if gone:
        values, label, fold = values[~missing], label[~missing], fold[~missing]
    read = _category if column.type == "category" else _number
    found = read(values, label, fold, column)
    return ColumnProfile(
        name=name,
        type=column.type if column.type != "text" else "category",
        missing=gone,
        missing_legitimate=(gone - gone_frauds) / (rows - frauds),
        missing_fraud=gone_frauds / frauds,
        distinct=found.distinct,
        quartiles=found.quartiles,
        constant=found.only if found.distinct == 1 else None,
        identifier=found.identifier,
        skill=found.skill,
        missing_skill=best_skill(
            np.array([rows - gone, gone], np.float64),
            np.array([frauds - gone_frauds, gone_frauds], np.float64),
        ),
        absence=absence((gone_frauds, frauds), (gone - gone_frauds, rows - frauds)),
        stump=found.stump,
        histogram=found.histogram,
        drift=drift,
    )


@dataclass(frozen=True)
class _Known:
    """What the known values of a column say."""

    distinct: int
    histogram: Histogram
    only: str = ""
    quartiles: tuple[float, float, float, float, float] | None = None
    identifier: bool = False
    skill: float = 0.0
    stump: str | None = None


_NOTHING = _Known(0, Histogram((), ()))


def _number(known: Values, label: Label, fold: Fold, column: Column) -> _Known:
    if not len(known):
        return _NOTHING
    order = np.argsort(known, kind="stable")
    rising = known[order]
    starts = np.flatnonzero(np.append(True, rising[1:] != rising[:-1]))
    values = rising[starts]
    rows = np.diff(np.append(starts, len(rising))).astype(np.float64)
    frauds = np.add.reduceat(label[order].astype(np.float64), starts)
    low, first, middle, third, high = (
        float(rising[int(q * (len(rising) - 1))]) for q in (0, 0.25, 0.5, 0.75, 1)
    )
    return _Known(
        distinct=len(values),
        histogram=_histogram(values, rows, frauds, column),
        only=f"{values[0]:.10g}",
        quartiles=(low, first, middle, third, high),
        identifier=column.type == "number" and _numbers_rows(known, len(values)),
        skill=_number_skill(known, label, fold, rows, frauds),
        stump=_stump(values, rows, frauds),
    )


def _number_skill(known: Values, label: Label, fold: Fold, rows: Counts, frauds: Counts) -> float:
    """The best of reading a number as higher or lower, and value by value or range by range."""
    monotone = best_skill(rows, frauds)
    if len(rows) < _FEW_VALUES:
        return monotone
    codes = number_levels(known)
    level_rows = np.bincount(codes).astype(np.float64)
    level_frauds = np.bincount(codes, label).astype(np.float64)
    return max(monotone, cross_fitted_skill(codes, level_rows, level_frauds, label, fold=fold))


def _category(known: Values, label: Label, fold: Fold, column: Column) -> _Known:
    del column
    if not len(known):
        return _NOTHING
    codes, values = pd.factorize(known)
    rows = np.bincount(codes).astype(np.float64)
    frauds = np.bincount(codes, label).astype(np.float64)
    top = np.argsort(-rows, kind="stable")[:TOP_VALUES]
    labels = [str(v) for v in values[top]]
    counts = np.stack([rows[top] - frauds[top], frauds[top]])
    if len(values) > TOP_VALUES:
        labels.append("other")
        rest = np.array([len(known) - label.sum(), label.sum()]) - counts.sum(axis=1)
        counts = np.column_stack([counts, rest])
    legitimate, fraud = counts.astype(int).tolist()
    return _Known(
        distinct=len(values),
        histogram=Histogram(tuple(legitimate), tuple(fraud), labels=tuple(labels)),
        only=str(values[0]),
        identifier=len(known) >= 50 and len(values) >= 0.95 * len(known),
        skill=cross_fitted_skill(codes, rows, frauds, label, fold=fold),
    )


def _numbers_rows(known: Values, distinct: int) -> bool:
    """Whether all are different whole numbers that rise with the file or fill half their range."""
    if len(known) < 50 or distinct < len(known) or (known != np.floor(known)).any():
        return False
    steps = np.diff(known)
    span = known.max() - known.min() + 1
    return bool((steps > 0).all() or (steps < 0).all() or len(known) >= _DENSE * span)


def _stump(values: Values, rows: Counts, frauds: Counts) -> str | None:
    """The threshold of classes that do not overlap: values rise, with rows and frauds at each."""
    legitimate = rows - frauds
    for kind, these, others in (("fraud", frauds, legitimate), ("legitimate", legitimate, frauds)):
        last, first = np.flatnonzero(these), np.flatnonzero(others)
        if len(last) and len(first) and last[-1] < first[0]:
            return f"every row up to {values[last[-1]]:.10g} is {kind}, every other one is not"
    return None


def _histogram(values: Values, rows: Counts, frauds: Counts, column: Column) -> Histogram:
    """Counts by class of rising distinct values."""
    if len(values) <= TOP_VALUES:
        counts, labels = np.stack([rows - frauds, frauds]), [f"{v:g}" for v in values]
        legitimate, fraud = counts.astype(int).tolist()
        return Histogram(tuple(legitimate), tuple(fraud), labels=tuple(labels))
    share = np.cumsum(rows) / rows.sum()
    least, middle, most = (
        values[min(int(np.searchsorted(share, q)), len(values) - 1)]
        for q in (_TAIL, 0.5, 1 - _TAIL)
    )
    with np.errstate(over="ignore"):
        wide = not np.isfinite(values[-1] - values[0])
        tail = values[0] >= 0 and most - middle > 8 * (middle - least)
        low, high = 2 * least - middle, 2 * most - middle
    log = bool(column.skewed or wide or tail)
    if log:
        ends = signed_log(values[[0, -1]])
        scale = np.linspace(ends[0], ends[1], BARS + 1)
        edges = np.clip(np.sign(scale) * np.expm1(np.abs(scale)), values[0], values[-1])
    else:
        # One far value must not press all others into a single bar.
        least = values[0] if values[0] > low or least == most else least
        most = values[-1] if values[-1] < high or least >= most else most
        edges = np.linspace(least, most, BARS + 1)
    edges = np.unique(edges)
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    counts = np.stack(
        [np.bincount(place, c, minlength=len(edges) - 1) for c in (rows - frauds, frauds)]
    )
    legitimate, fraud = counts.astype(int).tolist()
    return Histogram(tuple(legitimate), tuple(fraud), edges=tuple(edges.tolist()), log=log)
