"""What a resample holds: each group of rows a Poisson(1) number of times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 2_000_000  # numbers drawn in one go, so that memory stays small


@dataclass(frozen=True)
class Units:
    """What is drawn: groups of rows, and the cells that each puts its rows into.

    Groups that put the same number of rows into one and the same cell are drawn together.

    Attributes
    ----------
    groups
        Of each unit, shape (u,).
    unit, cell, rows
        That a group of the unit has so many rows in the cell, by rising cell; shape (e,).
    """

    groups: NDArray[np.float64]
    unit: NDArray[np.intp]
    cell: NDArray[np.intp]
    rows: NDArray[np.float64]

    @classmethod
    def of(cls, cell: NDArray[np.intp], groups: NDArray[Any] | None) -> Units:
        """Find the units among rows of which each lies in a cell and belongs to a group.

        Parameters
        ----------
        cell, groups
            Shape (n,); without groups all rows stand alone.
        """
        if groups is None:
            held, counts = np.unique(cell, return_counts=True)
            alone = np.arange(len(held))
            return cls(counts.astype(np.float64), alone, held, np.ones(len(held)))
        _, group = np.unique(groups, return_inverse=True)
        size = int(cell.max()) + 1
        pair, rows = np.unique(group.astype(np.int64) * size + cell, return_counts=True)
        group, cell = pair // size, pair % size
        alone, most = np.bincount(group)[group] == 1, int(rows.max()) + 1
        kinds, counts = np.unique(cell[alone] * most + rows[alone], return_counts=True)
        several, mixed = np.unique(group[~alone], return_inverse=True)
        unit = np.concatenate([np.arange(len(kinds)), len(kinds) + mixed])
        cell = np.concatenate([kinds // most, cell[~alone]])
        put = np.concatenate([kinds % most, rows[~alone]]).astype(np.float64)
        order = np.argsort(cell, kind="stable")
        drawn = np.concatenate([counts, np.ones(len(several))]).astype(np.float64)
        return cls(drawn, unit[order], cell[order], put[order])

    def draw(
        self, rng: np.random.Generator, resamples: int, size: int
    ) -> Iterator[NDArray[np.float64]]:
        """Rows per cell of some resamples at a time, shape (some, size)."""
        for drawn in poisson(rng, self.groups, resamples):
            yield summed(drawn[:, self.unit] * self.rows, self.cell, size)


def poisson(
    rng: np.random.Generator, rates: NDArray[np.float64], resamples: int
) -> Iterator[NDArray[np.float64]]:
    """Poisson numbers of these rates, shape (u,), for some resamples at a time: (some, u)."""
    step = max(1, _AT_ONCE // max(len(rates), 1))
    for start in range(0, resamples, step):
        shape = (min(step, resamples - start), len(rates))
        yield rng.poisson(rates, shape).astype(np.float64)


def summed(values: NDArray[np.float64], cell: NDArray[np.intp], size: int) -> NDArray[np.float64]:
    """Columns of values of shape (m, e) added up by their cells, shape (e,): shape (m, size)."""
    order = np.argsort(cell, kind="stable")
    held, begins = np.unique(cell[order], return_index=True)
    sums = np.zeros((len(values), size))
    sums[:, held] = np.add.reduceat(values[:, order], begins, axis=1)
    return sums
