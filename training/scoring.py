"""The hot path: columns of payments to the matrix a model sees, and on to probabilities.

What FeatureEngineering learned is compiled once into a few tables, and a handful of NumPy calls
apply them to one row or a million. One row costs some tens of microseconds; the scikit-learn
transformers it is held equal to take tens of milliseconds, nearly all of it spent on checking and
indexing frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.data import Columns
from training.preprocess import AsIs, Encoder, Matrix, OneHot, Probability, Scale, signed_log
from training.spec import Bins, Cross, DatasetSpec, Ratio

BLOCK = 50_000
"""Rows scored at a time: the matrices of a block stay small, however many rows there are."""

_FAR = 1e30
"""Scaled values end here: beyond any real one, and sums of many stay finite, in float32 too."""
_MOST = float(np.finfo(float).max)


class _Codes(dict[Any, int]):
    """Texts to codes: the place of a value among those learned, one more for any other."""

    def __init__(self, learned: tuple[str, ...], fill: str) -> None:
        super().__init__((value, code) for code, value in enumerate(learned))
        self.learned = learned
        self.missing = self[fill]
        self[None] = self.missing  # the usual one, found at once

    def __missing__(self, value: Any) -> int:
        # Nearly all are texts, and `isna` takes longer than all else here.
        if not isinstance(value, str) and pd.isna(value):
            return self.missing
        return len(self.learned)

    def of(self, values: NDArray[Any] | None, rows: int) -> NDArray[np.intp]:
        if values is None:
            return np.full(rows, self.missing)
        return np.fromiter(map(self.__getitem__, values.tolist()), np.intp, rows)


class FeaturePlan:
    """Compiled features: `plan(columns)` is the matrix, shape (n, d), without missing values.

    Parameters
    ----------
    spec
        Columns and feature recipe.
    fill
        Value for missing ones, per input used.
    encoders
        Per column and derived feature, in the order of the matrix.
    """

    def __init__(
        self,
        spec: DatasetSpec,
        fill: Mapping[str, float | str],
        encoders: Mapping[str, Encoder],
    ) -> None:
        starts, self.width = {}, 0
        for name, encoder in encoders.items():
            starts[name] = self.width
            self.width += len(encoder.names(name))

        scaled = {n: e for n, e in encoders.items() if isinstance(e, Scale | AsIs)}
        # Skewed ones first, so that the logarithm is taken of one slice.
        order = sorted(scaled, key=lambda n: not _skewed(scaled[n]))
        place = {name: i for i, name in enumerate(order)}
        self._skewed = sum(_skewed(e) for e in scaled.values())
        self._numbers = [(place[n], n) for n in order if n in fill]
        self._fill = np.array([fill.get(n, 0.0) for n in order], np.float64)
        scales = [e if isinstance(e, Scale) else _UNCHANGED for n in order for e in [scaled[n]]]
        self._center = np.array([e.center for e in scales])
        self._spread = np.array([e.spread for e in scales])
        self._columns = np.array([starts[n] for n in order], np.intp)
        self._ratios = [
            (place[n], place[f.numerator], place[f.denominator])
            for n, f in spec.features.items()
            if isinstance(f, Ratio) and n in place
        ]

        self._codes = {
            name: _Codes(encoder.values, str(fill[name]))
            for name, encoder in encoders.items()
            if isinstance(encoder, OneHot) and name in fill
        }
        # Tables from codes to columns of the matrix; -1 is the spare one that nobody looks at.
        self._singles = []
        self._crosses = []
        self._bins = []
        for name, encoder in encoders.items():
            if not isinstance(encoder, OneHot):
                continue
            at = {value: starts[name] + i for i, value in enumerate(encoder.values)}
            feature = spec.features.get(name)
            if isinstance(feature, Cross):
                rows, across = (self._codes[source].learned for source in feature.inputs)
                table = [[at.get(cross(a, b), -1) for b in across] + [-1] for a in rows]
                table.append([-1] * (len(across) + 1))
                self._crosses.append((feature.left, feature.right, np.array(table, np.intp)))
            elif isinstance(feature, Bins):
                places = np.array([at.get(label, -1) for label in feature.labels], np.intp)
                self._bins.append((place[feature.input], np.array(feature.edges), places))
            else:
                self._singles.append((name, np.array([*at.values(), -1], np.intp)))
        self._blocks = len(self._singles) + len(self._crosses) + len(self._bins)

    def __call__(self, columns: Columns) -> Matrix:
        """Make the matrix; an input absent from `columns` counts as missing in every row."""
        rows = len(next(iter(columns.values())))
        numbers = np.empty((rows, len(self._fill)))
        numbers[:] = self._fill
        for place, name in self._numbers:
            if name in columns:
                numbers[:, place] = columns[name]
        np.copyto(numbers, self._fill, where=np.isnan(numbers))
        np.clip(numbers, -_MOST, _MOST, out=numbers)
        for place, numerator, denominator in self._ratios:
            numbers[:, place] = ratio(numbers[:, numerator], numbers[:, denominator])

        # One column more than the model sees: whatever has no column of its own lands there.
        matrix = np.zeros((rows, self.width + 1))
        if self._blocks:
            ones = np.empty((rows, self._blocks), np.intp)
            codes = {name: known.of(columns.get(name), rows) for name, known in self._codes.items()}
            block = 0
            for name, table in self._singles:
                ones[:, block] = table[codes[name]]
                block += 1
            for left, right, table in self._crosses:
                ones[:, block] = table[codes[left], codes[right]]
                block += 1
            for place, edges, table in self._bins:
                ones[:, block] = table[np.searchsorted(edges, numbers[:, place], side="right")]
                block += 1
            matrix[np.arange(rows)[:, None], ones] = 1.0

        skewed = numbers[:, : self._skewed]
        skewed[:] = signed_log(skewed)
        with np.errstate(over="ignore"):
            numbers -= self._center
            numbers /= self._spread
        np.clip(numbers, -_FAR, _FAR, out=numbers)
        matrix[:, self._columns] = numbers
        return np.ascontiguousarray(matrix[:, :-1])


class Scores(Protocol):
    """What turns a matrix, or scores, of n rows into n probabilities."""

    def probability(self, values: Any, /) -> Probability:
        """Shape (n, ...) to (n,)."""


class Transforms(Protocol):
    """What turns columns of n rows into a matrix of n rows."""

    def transform(self, columns: Columns) -> Matrix:
        """Shape (n, d)."""


def score(
    features: Transforms, model: Scores, calibration: Scores, columns: Columns
) -> Probability:
    """Calibrated probability of fraud for columns of shape (n,), block by block."""
    rows = len(next(iter(columns.values())))
    if rows <= BLOCK:
        return calibration.probability(model.probability(features.transform(columns)))
    return np.concatenate(
        [
            score(features, model, calibration, {n: v[i : i + BLOCK] for n, v in columns.items()})
            for i in range(0, rows, BLOCK)
        ]
    )


def ratio(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    """One number by another, shapes (n,): 0 where the denominator is 0, finite for finite ones."""
    quotient = np.zeros(len(numerator))
    with np.errstate(over="ignore"):
        np.divide(numerator, denominator, out=quotient, where=denominator != 0)
    return np.clip(quotient, -_MOST, _MOST)


def cross(left: str, right: str) -> str:
    """The value of two categories taken together."""
    return f"{left}|{right}"


_UNCHANGED = Scale(log=False, center=0.0, spread=1.0)


def _skewed(encoder: Encoder) -> bool:
    return isinstance(encoder, Scale) and encoder.log
