"""Which points are worth more: asynchronous successive halving, by promotion."""

from __future__ import annotations

from collections.abc import Iterable

from tuning.bound import Point

REDUCTION = 3
"""Of the points of a rung, one in so many is promoted to the next."""


class Rungs:
    """Steps on the way to a whole cross-validation, and the points that have come to each.

    The rule is that of ASHA: a point goes on as soon as it is among the best third of those that
    have come as far. One that is not waits for others to be worse. With one rung nothing is pruned.

    Parameters
    ----------
    fidelities
        What is spent on a point up to each rung, ascending; the last is everything.

    Examples
    --------
    >>> rungs = Rungs((1, 9))
    >>> a, b, c = ((Recipe("logistic-regression", {"C": c}),) for c in (1, 2, 3))
    >>> for point, score in ((a, 0.1), (b, 0.3), (c, 0.2)):
    ...     rungs.add(point, 0, score)
    >>> rungs.promote(0, closed=False) == b
    True
    >>> rungs.promote(0, closed=False) is None
    True
    >>> rungs.left(0) == [c, a]
    True
    """

    def __init__(self, fidelities: Iterable[int]) -> None:
        self.fidelities = tuple(fidelities)
        self._scores: list[dict[str, tuple[float, Point]]] = [{} for _ in self.fidelities]
        self._promoted: list[set[str]] = [set() for _ in self.fidelities]

    @property
    def last(self) -> int:
        """The rung of points that are through."""
        return len(self.fidelities) - 1

    def add(self, point: Point, rung: int, score: float) -> None:
        """Note what a point that has come to a rung scores there, higher being better."""
        self._scores[rung][point[0].key] = (score, point)
        for promoted in self._promoted[:rung]:
            promoted.add(point[0].key)

    def retire(self, point: Point) -> None:
        """Promote a point no more; what it scored still counts for the others."""
        for promoted in self._promoted:
            promoted.add(point[0].key)

    def promote(self, rung: int, *, closed: bool) -> Point | None:
        """The best point of a rung that may go on and has not; None if there is none.

        Parameters
        ----------
        closed
            Whether no further point will come to the rung: then at least one goes on.
        """
        if rung == self.last:
            return None
        ranked = self._ranked(rung)
        best = ranked[: -(-len(ranked) // REDUCTION) if closed else len(ranked) // REDUCTION]
        for point in best:
            if point[0].key not in self._promoted[rung]:
                self._promoted[rung].add(point[0].key)
                return point
        return None

    def left(self, rung: int) -> list[Point]:
        """The points of a rung that were not promoted, the best first."""
        return [p for p in self._ranked(rung) if p[0].key not in self._promoted[rung]]

    def _ranked(self, rung: int) -> list[Point]:
        # Equal scores by key, so that nothing depends on who came first.
        found = sorted(self._scores[rung].items(), key=lambda item: (-item[1][0], item[0]))
        return [point for _, (_, point) in found]
