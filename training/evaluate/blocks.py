"""Rows in the order of falling scores, as few counts as their average precision needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Blocks:
    """Counts of rows that lie together in the order of falling scores.

    A block is all rows of one score that frauds have, or a run of scores that no fraud has.

    Attributes
    ----------
    frauds, others
        Shape (b,).
    place
        The block of each row, shape (n,).
    """

    frauds: NDArray[np.int64]
    others: NDArray[np.int64]
    place: NDArray[np.intp]

    @classmethod
    def of(cls, label: NDArray[np.int8], score: NDArray[np.float64]) -> Blocks:
        """Count labels by score, each of shape (n,)."""
        order = np.argsort(-score, kind="stable")
        ordered, fraud = score[order], label[order].astype(np.int64)
        starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
        rows = np.diff(np.append(starts, len(ordered)))
        frauds = np.add.reduceat(fraud, starts)
        place = np.empty(len(order), np.intp)
        place[order] = np.repeat(np.arange(len(starts)), rows)
        parted = np.append(True, (frauds[1:] > 0) | (frauds[:-1] > 0))
        return cls(frauds, rows - frauds, place)._joined(parted)

    def merged(self, most: int) -> Blocks:
        """At most about `most` blocks, of equal numbers of frauds; the same where there are few."""
        if len(self.frauds) <= 2 * most + 2:
            return self
        total = int(self.frauds.sum())
        group = (np.cumsum(self.frauds) - self.frauds) * most // max(total, 1)
        return self._joined(np.append(True, group[1:] != group[:-1]))

    def average_precision(self) -> float:
        """Area under the precision-recall curve as steps."""
        # A sum of many terms, so 1 can come out as 1 + 2e-16.
        return min(float(area(self.frauds[None], self.others[None])[0]), 1.0)

    def _joined(self, begins: NDArray[np.bool_]) -> Blocks:
        at = np.flatnonzero(begins)
        return Blocks(
            np.add.reduceat(self.frauds, at),
            np.add.reduceat(self.others, at),
            (np.cumsum(begins) - 1)[self.place],
        )


def area(frauds: NDArray[Any], others: NDArray[Any]) -> NDArray[np.float64]:
    """Average precision of each row of counts of shape (m, b), scores falling along b."""
    hits = np.cumsum(frauds, axis=1)
    alerts = hits + np.cumsum(others, axis=1)
    gained = (frauds * (hits / np.maximum(alerts, 1))).sum(1)
    return np.asarray(gained / np.maximum(hits[:, -1], 1), np.float64)
