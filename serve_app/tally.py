"""Tally: what an ingress scored, counted for drift by the bins of the version that scored it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from training.data import Columns
from training.reference import Counts, Reference

if TYPE_CHECKING:
    from training.bundle import ModelBundle

MOST: Final = 4096
"""Payments counted between two calls of `Tally.take`; of more, some are."""


@dataclass(frozen=True)
class Yardstick:
    """What the payments of a version are held against.

    Attributes
    ----------
    daily, weekly
        Fields that follow the time of day, and those that follow that of the week.
    alert_rate
        Share of the validation rows that the version alerts on.
    """

    expected: Reference
    daily: frozenset[str]
    weekly: frozenset[str]
    alert_rate: float

    @classmethod
    def of(cls, bundle: ModelBundle) -> Self:
        """Of a bundle, as it decides."""
        daily, weekly = (
            frozenset(n for n, column in bundle.spec.inputs.items() if column.cycle == cycle)
            for cycle in ("day", "week")
        )
        return cls(bundle.reference, daily, weekly, bundle.choice.alerts_per_10000 / 10_000)


class Seen(NamedTuple):
    """Payments that a version scored, counted."""

    yardstick: Yardstick
    counts: Counts

    def plus(self, other: Seen | None) -> Seen:
        """Both together, of the same version."""
        return self if other is None else self._replace(counts=self.counts + other.counts)


class Noted(NamedTuple):
    """Payments of one version that were not counted yet, request by request."""

    yardstick: Yardstick
    columns: list[Columns]
    probability: list[NDArray[np.float64]]

    def counted(self) -> Seen:
        """Look at all of them."""
        columns = {
            name: np.concatenate([some[name] for some in self.columns]) for name in self.columns[0]
        }
        probability = np.concatenate(self.probability)
        return Seen(self.yardstick, self.yardstick.expected.count(columns, probability))


class Tally:
    """Keeps what was scored until it is counted.

    Requests are noted on the event loop, which costs next to nothing; `Noted.counted` takes some
    milliseconds and is for a thread.
    """

    def __init__(self) -> None:
        self._begin()

    def note(
        self,
        version: str,
        yardstick: Yardstick,
        columns: Columns,
        probability: NDArray[np.float64],
    ) -> None:
        """Keep the payments of one request, shape (n,); every k-th if there is no room for all."""
        room = MOST - self._rows
        if room <= 0:
            return
        rows = len(probability)
        if rows > room:
            step = -(-rows // room)
            columns = {name: values[::step] for name, values in columns.items()}
            probability = probability[::step]
        self._rows += len(probability)
        noted = self._noted.get(version)
        if noted is None:
            noted = self._noted[version] = Noted(yardstick, [], [])
        noted.columns.append(columns)
        noted.probability.append(probability)

    def take(self) -> Mapping[str, Noted]:
        """What was noted since the last time, by version."""
        noted = self._noted
        self._begin()
        return noted

    def _begin(self) -> None:
        self._noted: dict[str, Noted] = {}
        self._rows = 0
