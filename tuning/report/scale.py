"""Scale: where the values of a hyperparameter or a score lie along a line, and its ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

Kind = Literal["choices", "linear", "log"]
Values = NDArray[np.float64]

_MOST_CHOICES = 6
_DECADE = 10.0
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_ZERO_BELOW = 0.18  # share of a log line that 0 stands away from the smallest other value
_NONE = {"smote": "none"}  # what 0 is called
_YES_NO = ("derived",)


@dataclass(frozen=True)
class Scale:
    """Where the values of one quantity lie from 0 to 1.

    A few distinct values are choices, as far from each other as their order says; values over a
    decade or more are on a log scale, with 0 a step below the others; the rest are linear.

    Attributes
    ----------
    known
        The distinct values, rising; without NaN.
    """

    name: str
    kind: Kind
    known: tuple[float, ...]

    @classmethod
    def of(cls, name: str, values: Sequence[float] | Values) -> Self:
        """Choose the scale of values; NaN is none."""
        found = np.asarray(values, np.float64)
        known = tuple(float(v) for v in np.unique(found[np.isfinite(found)]))
        if len(known) <= _MOST_CHOICES:
            return cls(name, "choices", known)
        above = [v for v in known if v != 0]
        wide = above[0] > 0 and above[-1] / above[0] >= _DECADE
        return cls(name, "log" if wide else "linear", known)

    @property
    def varies(self) -> bool:
        """Whether there is more than one value."""
        return len(self.known) > 1

    def place(self, values: Sequence[float] | Values) -> Values:
        """Where values lie; those beyond the ends lie at the ends, NaN nowhere."""
        found = np.asarray(values, np.float64)
        if not self.known:
            return np.full(found.shape, np.nan)
        if self.kind == "choices":
            places = np.linspace(0, 1, len(self.known)) if self.varies else [0.5]
            # With one known value, interpolation places even NaN.
            return np.where(np.isnan(found), np.nan, np.interp(found, self.known, places))
        if self.kind == "linear":
            low, high = self.known[0], self.known[-1]
            return np.clip((found - low) / (high - low), 0, 1)
        above = [v for v in self.known if v > 0]
        low, high = math.log(above[0]), math.log(above[-1])
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.clip((np.log(found) - low) / (high - low), 0, 1)
        if self.known[0] == 0:
            share = np.where(found <= 0, 0.0, _ZERO_BELOW + (1 - _ZERO_BELOW) * share)
        return np.where(np.isnan(found), np.nan, share)

    def ticks(self, most: int = 5) -> list[tuple[float, str]]:
        """Places with what is written there, rising, none upon another."""
        if self.kind == "choices":
            values = list(self.known)
        elif self.kind == "linear":
            values = _round(self.known[0], self.known[-1], most)
        else:
            values = _round_log(min(v for v in self.known if v > 0), self.known[-1], most)
            values = [0.0, *values] if self.known[0] == 0 else values
        places = self.place(values)
        return [(float(p), self.told(v)) for p, v in zip(places, values, strict=True)]

    def told(self, value: float) -> str:
        """A value as it is written."""
        if self.name in _YES_NO:
            return "yes" if value else "no"
        if value == 0:
            return _NONE.get(self.name, "0")
        return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def _round(low: float, high: float, most: int) -> list[float]:
    """Round numbers between two, at most that many; the ends where none lies between them."""
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(s for s in _STEPS if s * power >= raw * (1 - 1e-9)) * power
    found = [
        k * step for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    ]
    return found if len(found) > 1 else [low, high]


def _round_log(low: float, high: float, most: int) -> list[float]:
    """Powers of ten between two, and 2 and 5 times them while there is room."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for parts in ((1, 2, 5), (1, 3), (1,)):
        found = [p * 10.0**e for e in range(first, last + 1) for p in parts]
        found = [v for v in found if low * (1 - 1e-9) <= v <= high * (1 + 1e-9)]
        if len(found) <= most:
            break
    return found[:: -(-len(found) // most)] if found else [low, high]


def focus(scores: Sequence[float], *, higher_is_better: bool) -> tuple[float, float]:
    """The range of finite scores worth drawing, from low to high.

    The best end is always in it. The worse end reaches three times as far from the middle score as
    the best one does, so that a few hopeless trials do not squeeze all others into a line.
    """
    found = np.asarray(scores, np.float64)
    turned = found if higher_is_better else -found
    best, middle, worst = float(turned.max()), float(np.median(turned)), float(turned.min())
    # Where half of them are as good as the best, the worst must be drawn to see anything.
    least = max(worst, middle - 3 * (best - middle)) if best > middle else worst
    low, high = (least, best) if higher_is_better else (-best, -least)
    if low == high:
        pad = abs(low) * 0.05 or 0.05
        return low - pad, high + pad
    return low, high
