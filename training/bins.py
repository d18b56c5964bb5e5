"""Bins: where the values of a column are counted, chosen on the training rows.

Numbers are counted between the deciles of the training rows. A value that holds a tenth of them or
more, so that two deciles coincide, gets a bin of its own: a column that is mostly 0, or always 3,
is compared value against value. Categories are counted per value. Missing values have a bin of
their own everywhere.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise, repeat
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

MOST_VALUES = 50
"""Values of a category with a bin of their own; the rest are counted together."""
DECILES = tuple(i / 10 for i in range(1, 10))

OTHER, MISSING = "another value", "no value"
"""What the last two bins of a category hold, in words; the last of a number is that of missing."""


@dataclass(frozen=True)
class NumberBins:
    """Ranges of a number: bin i holds `edges[i - 1] <= x < edges[i]`, the last bin missing values.

    Attributes
    ----------
    edges
        Rising; k of them make k + 1 ranges, open at both ends.
    """

    edges: tuple[float, ...]
    kind: Literal["number"] = "number"

    @classmethod
    def of(cls, values: NDArray[np.float64], levels: tuple[float, ...] = DECILES) -> Self:
        """Choose edges at quantiles of the known values, shape (n,)."""
        known = values[~np.isnan(values)]
        if not len(known):
            return cls(())
        places = np.quantile(known, levels, method="inverted_cdf")
        repeated = places[1:][places[1:] == places[:-1]]
        with np.errstate(over="ignore"):
            above = np.nextafter(repeated, np.inf)
        edges = np.unique(np.concatenate([places, above]))
        return cls(tuple(edges[np.isfinite(edges)].tolist()))

    def count(self, values: NDArray[Any]) -> tuple[int, ...]:
        """Rows per bin, values of shape (n,)."""
        missing = np.isnan(values)
        place = np.searchsorted(self.edges, values[~missing], side="right")
        found = np.bincount(place, minlength=len(self.edges) + 1).tolist()
        return (*found, int(missing.sum()))

    @property
    def labels(self) -> tuple[str, ...]:
        """What each bin holds, in words, as `count` has them."""
        told = []
        alone: float | None = None  # the value that the bin before holds and no other
        for low, high in pairwise((-math.inf, *self.edges, math.inf)):
            told.append(_range(low, high, alone))
            alone = low if high == math.nextafter(low, math.inf) else None
        return (*told, MISSING)


@dataclass(frozen=True)
class ValueBins:
    """Values of a category or boolean; after them a bin for all others, the last for missing.

    Attributes
    ----------
    values
        The most frequent first; a boolean's are "0" and "1".
    """

    values: tuple[str, ...]
    kind: Literal["value"] = "value"

    @classmethod
    def of(cls, values: NDArray[Any]) -> Self:
        """Choose the most frequent values, shape (n,); ties go by the alphabet."""
        if values.dtype != object:
            return cls(("0", "1"))
        counted = Counter(values.tolist())
        del counted[None]
        ranked = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
        return cls(tuple(value for value, _ in ranked[:MOST_VALUES]))

    def count(self, values: NDArray[Any]) -> tuple[int, ...]:
        """Rows per bin, values of shape (n,)."""
        other = len(self.values)
        if values.dtype != object:
            zeros, ones = int((values == 0).sum()), int((values == 1).sum())
            missing = int(np.isnan(values).sum())
            return (zeros, ones, len(values) - zeros - ones - missing, missing)
        place: dict[Any, int] = {value: i for i, value in enumerate(self.values)}
        place[None] = other + 1
        found = np.fromiter(map(place.get, values.tolist(), repeat(other)), np.intp, len(values))
        return tuple(np.bincount(found, minlength=other + 2).tolist())

    @property
    def labels(self) -> tuple[str, ...]:
        """What each bin holds, in words, as `count` has them."""
        return (*self.values, OTHER, MISSING)


Bins = Annotated[NumberBins | ValueBins, Field(discriminator="kind")]


def short(value: float) -> str:
    """A number in few digits."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def _range(low: float, high: float, alone: float | None) -> str:
    if math.isinf(low):
        return "any number" if math.isinf(high) else f"below {short(high)}"
    if high == math.nextafter(low, math.inf):
        return f"exactly {short(low)}"
    if alone is not None:
        below = "" if math.isinf(high) else f", below {short(high)}"
        return f"above {short(alone)}{below}"
    return f"{short(low)} or more" if math.isinf(high) else f"{short(low)} to {short(high)}"
