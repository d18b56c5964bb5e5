"""Reference: how the training rows are spread over bins, for telling later that payments changed.

Counts of two sets of rows in the same bins add up to the counts of both, so windows can be counted
apart and put together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from training.bins import DECILES, Bins, NumberBins, ValueBins
from training.data import Columns
from training.spec import DatasetSpec

MODERATE, LARGE = 0.1, 0.25
"""A PSI above the first is a moderate shift, above the second a large one."""

Level = Literal["steady", "moderate", "large"]

# Most scores are small and alike; what is decided on is in the highest hundredth of them.
_SCORE_LEVELS = (*DECILES, 0.95, 0.99, 0.995)


@dataclass(frozen=True)
class Counts:
    """How many rows fell into each bin of a `Reference`.

    Attributes
    ----------
    rows
        How many were counted in the columns.
    columns
        Per input, the rows of each of its bins; the last bin holds missing values.
    score
        The same for a model's scores, which a reference has of other rows; None where there are
        none.
    """

    rows: int
    columns: dict[str, tuple[int, ...]]
    score: tuple[int, ...] | None = None

    def __add__(self, other: Counts) -> Counts:
        """Counts of both sets of rows.

        Raises
        ------
        ValueError
            If they were counted in different bins.
        """
        if self._shape() != other._shape():
            raise ValueError("counts of different bins cannot be added")
        return Counts(
            self.rows + other.rows,
            {name: _added(found, other.columns[name]) for name, found in self.columns.items()},
            None if self.score is None or other.score is None else _added(self.score, other.score),
        )

    def _shape(self) -> tuple[dict[str, int], int | None]:
        lengths = {name: len(found) for name, found in self.columns.items()}
        return lengths, None if self.score is None else len(self.score)


@dataclass(frozen=True)
class Reference:
    """Bins learned from the training rows, and how many of these fell into each.

    Attributes
    ----------
    bins
        Per input that the training rows have.
    counts
        Of the training rows; those of the score are of the rows given to `with_scores`.
    score
        Bins of the scores; None until `with_scores`.
    """

    bins: dict[str, Bins]
    counts: Counts
    score: NumberBins | None = None

    @classmethod
    def of(cls, columns: Columns, spec: DatasetSpec) -> Self:
        """Learn from training rows, columns of shape (n,)."""
        bins: dict[str, NumberBins | ValueBins] = {
            name: (NumberBins if column.type == "number" else ValueBins).of(columns[name])
            for name, column in spec.inputs.items()
            if name in columns
        }
        return cls(bins, _count(bins, columns))

    def with_scores(self, probability: NDArray[np.float64]) -> Reference:
        """With the histogram of a model's scores.

        Parameters
        ----------
        probability
            Scores of rows that the model was not fitted on, since it scores its own too well:
            `training.fit` gives those of the validation rows. Shape (m,), not that of the columns.
        """
        score = NumberBins.of(probability, _SCORE_LEVELS)
        return replace(
            self, score=score, counts=replace(self.counts, score=score.count(probability))
        )

    def count(self, columns: Columns, probability: NDArray[np.float64] | None = None) -> Counts:
        """Count other rows in the same bins.

        Parameters
        ----------
        columns
            Shape (n,) each; a column that is absent counts as missing in every row.
        probability
            Scores of the same rows, shape (n,); counted if the reference has bins for them.
        """
        counts = _count(self.bins, columns)
        if self.score is None or probability is None:
            return counts
        return replace(counts, score=self.score.count(probability))

    def empty(self) -> Counts:
        """Counts of no rows: where a sum begins."""
        return Counts(
            0,
            {name: (0,) * len(found) for name, found in self.counts.columns.items()},
            None if self.counts.score is None else (0,) * len(self.counts.score),
        )

    def unknown(self, counts: Counts) -> dict[str, float]:
        """Share of rows, per category, whose value has no bin of its own.

        The share that the training rows themselves had, rare values of a category of more than
        `training.bins.MOST_VALUES`, is taken off.
        """
        return {
            name: max(share - before, 0.0)
            for (name, share), before in zip(
                self.other(counts).items(), self.other(self.counts).values(), strict=True
            )
        }

    def missing(self, counts: Counts) -> dict[str, float]:
        """Share of rows, per input, that have no value."""
        return {name: counts.columns[name][-1] / max(counts.rows, 1) for name in self.bins}

    def other(self, counts: Counts) -> dict[str, float]:
        """Share of rows, per category, whose value has no bin of its own, as it is."""
        return {
            name: counts.columns[name][-2] / max(counts.rows, 1)
            for name, bins in self.bins.items()
            if bins.kind == "value"
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; `from_dict` reads them back to an equal reference."""
        content: dict[str, Any] = _REFERENCE.dump_python(self, mode="json")
        return content

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Reference:
        """Read back what `to_dict` gave."""
        return _REFERENCE.validate_python(content)


_REFERENCE: TypeAdapter[Reference] = TypeAdapter(Reference)


def psi(expected: Counts, actual: Counts) -> dict[str, float]:
    """Population stability index per column: 0 where the rows are spread alike.

    The sum over bins of `(a - e) * ln(a / e)`, with a and e the shares of the bin. A bin that is
    empty on one side would make it infinite; it counts as half a row there, or as the share on the
    other side if that is less, since too few rows leave rare bins empty. So the index is 0 for
    equal shares, never negative, and the same either way round. Where nothing was counted on one
    side it is 0: no rows tell nothing.
    """
    return {
        name: sum(parts_of_psi(found, actual.columns[name]))
        for name, found in expected.columns.items()
    }


def score_psi(expected: Counts, actual: Counts) -> float | None:
    """The index of the scores; None where they were not counted."""
    if expected.score is None or actual.score is None:
        return None
    return sum(parts_of_psi(expected.score, actual.score))


def chance(expected: Counts, actual: Counts) -> dict[str, float]:
    """The PSI per column that chance alone hardly exceeds in so few rows.

    Of rows drawn alike the index is `1 / n + 1 / m` times a chi-square of as many degrees of
    freedom as there are filled bins less one; this is its mean plus four deviations.
    """
    return {
        name: chance_of(found, actual.columns[name]) for name, found in expected.columns.items()
    }


def chance_of(expected: tuple[int, ...], actual: tuple[int, ...]) -> float:
    """The same of one column, or of the scores."""
    n, m = sum(expected), sum(actual)
    if not n or not m:
        return math.inf
    filled = sum(e + a > 0 for e, a in zip(expected, actual, strict=True))
    free = max(filled - 1, 1)
    return (1 / n + 1 / m) * (free + 4 * math.sqrt(2 * free))


def parts_of_psi(expected: tuple[int, ...], actual: tuple[int, ...]) -> tuple[float, ...]:
    """What each bin of a column, or of the scores, adds to the index."""
    n, m = sum(expected), sum(actual)
    if not n or not m:
        return (0.0,) * len(expected)
    parts = []
    for one, other in zip(expected, actual, strict=True):
        e = one / n if one else min(0.5 / n, other / m)
        a = other / m if other else min(0.5 / m, one / n)
        parts.append((a - e) * math.log(a / e) if e and a else 0.0)
    return tuple(parts)


def level(shift: float, limit: float) -> Level:
    """What a PSI is called; one that chance alone may reach, the limit, is no shift."""
    if shift <= max(MODERATE, limit):
        return "steady"
    return "large" if shift > LARGE else "moderate"


def _count(bins: Mapping[str, NumberBins | ValueBins], columns: Columns) -> Counts:
    rows = len(next(iter(columns.values())))
    return Counts(
        rows,
        {
            name: found.count(columns[name])
            if name in columns
            else found.count(np.full(rows, None if found.kind == "value" else np.nan))
            for name, found in bins.items()
        },
    )


def _added(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(one, other, strict=True))
