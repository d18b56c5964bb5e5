"""What one parameter may be: values of a list, or anything of a range."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_DIGITS = 3  # significant ones of a number drawn from a range: short to read, finer than matters


@dataclass(frozen=True)
class Values:
    """A list to choose from.

    Examples
    --------
    >>> Values((0.1, 1.0, 10.0)).nearest(0.3)
    0.1
    """

    values: tuple[float, ...]

    @property
    def size(self) -> float:
        """How many values there are."""
        return len(self.values)

    def __contains__(self, value: float) -> bool:
        return value in self.values

    def draw(self, rng: np.random.Generator) -> float:
        """Any of the values, all as likely."""
        return self.values[int(rng.integers(len(self.values)))]

    def nearest(self, value: float) -> float:
        """The value that is least far from another; the first of two as far."""
        return min(self.values, key=lambda mine: abs(mine - value))

    def grid(self) -> Sequence[float]:
        """Every value, in the order of the list."""
        return self.values


@dataclass(frozen=True)
class Range:
    """All numbers between two, which belong to it.

    Attributes
    ----------
    whole
        Whether only whole numbers are meant.
    log
        Whether numbers are drawn evenly by their logarithm, as many from 0.1 to 1 as from 1 to 10.
    points
        How many values a grid takes of it; None if that is not said.

    Examples
    --------
    >>> list(Range(0.1, 10, log=True, points=3).grid())
    [0.1, 1.0, 10.0]
    """

    low: float
    high: float
    whole: bool = False
    log: bool = False
    points: int | None = None

    @property
    def size(self) -> float:
        """How many values there are; infinite unless they are whole."""
        return self.high - self.low + 1 if self.whole else math.inf

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high and (not self.whole or value == int(value))

    def draw(self, rng: np.random.Generator) -> float:
        """Any of the numbers."""
        # A whole number has as much room as the numbers that are rounded to it.
        margin = 0.5 if self.whole else 0.0
        low, high = self.low - margin, self.high + margin
        if self.log:
            return self.nearest(math.exp(rng.uniform(math.log(low), math.log(high))))
        return self.nearest(rng.uniform(low, high))

    def nearest(self, value: float) -> float:
        """The number of the range, as short as drawn ones are, that is least far from another."""
        if not self.low < value < self.high:
            return min(max(value, self.low), self.high)
        short = round(value) if self.whole else float(f"{value:.{_DIGITS}g}")
        return min(max(short, self.low), self.high)

    def grid(self) -> Sequence[float]:
        """As many values as `points` says, both ends among them; fewer if there are not as many."""
        space = np.geomspace if self.log else np.linspace
        steps = space(self.low, self.high, self.points or 1)
        return tuple(dict.fromkeys(self.nearest(float(step)) for step in steps))


Axis = Values | Range
"""What one parameter may be."""
