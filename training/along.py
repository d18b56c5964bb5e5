"""Along: a number of one payment among those of the reference rows, and what it might be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from typing import Self

import numpy as np
from numpy.typing import NDArray

from training.bins import Bins, NumberBins
from training.spec import Column

_DIGITS = 6
_LEEWAY = 0.01  # share of the reference rows that a round number may lie further away


@dataclass(frozen=True)
class Along:
    """A number field of one payment: where its values lie among those of the reference rows.

    Attributes
    ----------
    now
        The present value.
    edges, shares
        Values of the reference rows, rising, and the share of the rows below each; shape (k,).
    low, high
        The least and the largest value that is allowed, if there are any.
    whole
        Whether only whole numbers are.
    """

    name: str
    now: float
    edges: NDArray[np.float64]
    shares: NDArray[np.float64]
    low: float | None
    high: float | None
    whole: bool

    @classmethod
    def of(
        cls, name: str, column: Column, now: float, bins: Bins | None, counts: tuple[int, ...]
    ) -> Self:
        """Of a column, with the bins of the reference rows and how many each holds."""
        edges, shares = np.empty(0), np.empty(0)
        if isinstance(bins, NumberBins) and bins.edges:
            known = np.array(counts[:-1], float)  # without the missing ones
            edges = np.array(bins.edges)
            shares = np.cumsum(known)[:-1] / max(known.sum(), 1.0)
        return cls(name, now, edges, shares, column.minimum, column.maximum, column.integer)

    @property
    def span(self) -> float:
        """From the first decile to the last: how far is far."""
        wide = float(self.edges[-1] - self.edges[0]) if len(self.edges) else 0.0
        return wide or max(abs(self.now), 1.0)

    def rank(self, value: float) -> float:
        """Share of the reference rows below a value, rising over all of the axis."""
        if not len(self.edges):
            return 0.5 + 0.5 * math.tanh((value - self.now) / self.span)
        first, last = float(self.edges[0]), float(self.edges[-1])
        if value < first:
            return float(self.shares[0]) * (1 - _tail(first - value, self.low, first, self.span))
        if value > last:
            rest = 1 - float(self.shares[-1])
            return float(self.shares[-1]) + rest * _tail(value - last, self.high, last, self.span)
        return float(np.interp(value, self.edges, self.shares))

    def distance(self, value: float) -> float:
        """Share of the reference rows between the present value and another."""
        return abs(self.rank(value) - self.rank(self.now))

    def tried(self) -> NDArray[np.float64]:
        """Values from end to end, rising, without the present one."""
        ends = [
            self.edges[:1] - self.span if self.low is None else [self.low],
            self.edges[-1:] + self.span if self.high is None else [self.high],
            self.edges[-1:] + 4 * self.span if self.high is None else [],
        ]
        middles = (self.edges[1:] + self.edges[:-1]) / 2
        return self.allowed(np.concatenate([self.edges, middles, *ends]))

    def allowed(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Those that a payment may hold, rising."""
        values = values[np.isfinite(values)]
        if self.whole:
            values = np.round(values)
        low = -np.inf if self.low is None else self.low
        high = np.inf if self.high is None else self.high
        return np.unique(values[(values >= low) & (values <= high) & (values != self.now)])

    def rounded(self, value: float) -> list[float]:
        """The same or a little further from the present one, in few digits first."""
        if value == 0 or self.whole:
            return [value]
        away = ROUND_CEILING if value > self.now else ROUND_FLOOR
        found = []
        for digits in range(1, _DIGITS + 1):
            short = float(Context(prec=digits, rounding=away).create_decimal_from_float(value))
            if self.distance(short) <= self.distance(value) + _LEEWAY:
                found.append(short)
        values = [short for short in dict.fromkeys(found) if len(self.allowed(np.array([short])))]
        return [*values, value]


def _tail(way: float, limit: float | None, edge: float, span: float) -> float:
    """How much of what lies beyond the outermost edge is passed on the way from there."""
    if limit is not None and limit != edge:
        return min(way / abs(limit - edge), 1.0)
    return way / (way + span)
