"""Samplers: which points of a space are tried, one after the other."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Protocol

import numpy as np

from training.errors import UsageError
from training.models import FAMILIES
from training.recipe import Recipe
from training.threshold import DEFAULT_POLICY
from tuning.axis import Axis
from tuning.bound import BoundSpace, Point

ALGORITHMS = ("random", "grid", "tpe")

_TRIES = 1_000
"""Draws that may all have been there before a range counts as used up."""


class Sampler(Protocol):
    """What every algorithm offers. Whatever happens, no configuration is handed out twice."""

    @property
    def total(self) -> int | None:
        """How many trials there will be, those taken up by `replay` among them; None if unknown."""

    def ask(self) -> Point | None:
        """The next point; None if there is no other."""

    def tell(self, point: Point, score: float | None) -> None:
        """Say what a point is worth; one that `ask` did not give, too.

        Parameters
        ----------
        score
            The best of its recipes, higher is better. None for a point that failed or was pruned.
        """

    def look(self, point: Point, rung: int, score: float) -> None:
        """Say what a point that waits on a rung has scored there; it may never go further."""

    def replay(self, history: Iterable[tuple[Point, float | None]]) -> None:
        """Take up what an earlier sampler of the same space, policy and seed was asked and told.

        Afterwards grid and random go on as if they had been that one; TPE knows what it knew, and
        draws with other dice.

        Parameters
        ----------
        history
            Every point that was asked, in order, with the score that was told; None for those that
            failed, were pruned, or are yet to be told.
        """


class Ledger:
    """Which configurations were handed out, and how many more may be.

    Parameters
    ----------
    trials
        The most recipes to hand out; None for no limit.

    Raises
    ------
    UsageError
        If the limit is below 1.
    """

    def __init__(self, trials: int | None) -> None:
        if trials is not None and trials < 1:
            raise UsageError(f"--trials must be 1 or more, it is {trials}")
        self._trials = trials
        self._keys: set[str] = set()

    @property
    def full(self) -> bool:
        """Whether nothing more may be handed out."""
        return self._trials is not None and len(self._keys) >= self._trials

    def add(self, point: Point) -> None:
        """Note a point that was handed out already."""
        self._keys.update(recipe.key for recipe in point)

    def take(self, point: Point) -> Point:
        """The recipes of a point that are new, and no more than may be handed out; note them."""
        left = None if self._trials is None else max(self._trials - len(self._keys), 0)
        new = tuple(recipe for recipe in point if recipe.key not in self._keys)[:left]
        self.add(new)
        return new

    def total(self, there: int | None) -> int | None:
        """How many recipes will be handed out, of as many as there are."""
        return min((n for n in (self._trials, there) if n is not None), default=None)


class Series:
    """Points in an order that owes nothing to their scores.

    Parameters
    ----------
    points
        All of them, from the first; the same for the same sweep.
    there
        How many recipes they hold; None if without end.
    """

    def __init__(self, points: Iterator[Point], there: int | None, trials: int | None) -> None:
        self._points = points
        self._ledger = Ledger(trials)
        self.total = self._ledger.total(there)

    def ask(self) -> Point | None:
        """The next point of the series that is new."""
        if self._ledger.full:
            return None
        return next((new for point in self._points if (new := self._ledger.take(point))), None)

    def tell(self, point: Point, score: float | None) -> None:
        """Nothing follows from a score."""
        del score
        self._ledger.add(point)

    def look(self, point: Point, rung: int, score: float) -> None:
        """Nothing follows from a score."""

    def replay(self, history: Iterable[tuple[Point, float | None]]) -> None:
        """Pass over what was asked."""
        for point, score in history:
            self.tell(point, score)


def sampler(
    algorithm: str,
    space: BoundSpace,
    *,
    trials: int | None = None,
    policy: str = DEFAULT_POLICY,
    seed: int = 0,
) -> Sampler:
    """Make a sampler.

    Parameters
    ----------
    algorithm
        `random`: families take turns, each beginning with its defaults. `grid`: every combination.
        `tpe`: as random first, then near what scored well.
    trials
        The most recipes to try; None for all that the space holds, or without end.
    policy, seed
        Of every recipe; the seed is the sampler's, too.

    Raises
    ------
    UsageError
        If there is no such algorithm, `trials` is below 1, or a grid is asked of a range that does
        not say how many values to take.
    """
    match algorithm:
        case "random":
            points = random_points(space, policy=policy, seed=seed)
            return Series(points, space.trials, trials)
        case "grid":
            grid = space.as_grid()
            return Series(grid_points(grid, policy=policy, seed=seed), grid.trials, trials)
        case "tpe":
            from tuning.tpe import TPE  # Optuna takes half a second to import

            return TPE(space, trials=trials, policy=policy, seed=seed)
    raise UsageError(f"no search algorithm {algorithm!r}; there are {', '.join(ALGORITHMS)}")


def grid_points(grid: BoundSpace, *, policy: str, seed: int) -> Iterator[Point]:
    """Every point of a space without ranges, family by family, simple ones first."""
    for family, smote, chosen in grid.every():
        yield grid.point(family, smote, chosen, policy=policy, seed=seed)


def random_points(space: BoundSpace, *, policy: str, seed: int) -> Iterator[Point]:
    """Points at random, none twice, until the space is used up.

    Families take turns, and each goes through the SMOTE ratios in order. A family's first point is
    as near to its defaults as the space has it. What a family draws owes nothing to the others.
    """
    turns = [_of_family(space, family, policy, seed) for family in space.families]
    while turns:
        for turn in tuple(turns):
            if point := next(turn, None):
                yield point
            else:
                turns.remove(turn)


def _of_family(space: BoundSpace, family: str, policy: str, seed: int) -> Iterator[Point]:
    rng = np.random.default_rng([seed, list(FAMILIES).index(family)])
    usual = vars(Recipe(family)) | FAMILIES[family].defaults
    tried: dict[float, set[tuple[float, ...]]] = {smote: set() for smote in space.smote}
    left = list(space.smote)
    while left:
        for smote in tuple(left):
            axes = space.axes(family, smote)
            if not any(tried.values()):
                values = tuple(axis.nearest(usual[name]) for name, axis in axes.items())
            elif (new := _draw(rng, axes, tried[smote])) is not None:
                values = new
            else:
                left.remove(smote)
                continue
            tried[smote].add(values)
            chosen = dict(zip(axes, values, strict=True))
            yield space.point(family, smote, chosen, policy=policy, seed=seed)


def _draw(
    rng: np.random.Generator, axes: Mapping[str, Axis], tried: set[tuple[float, ...]]
) -> tuple[float, ...] | None:
    """Values that were not tried together yet; None if there are no others."""
    size = math.prod(axis.size for axis in axes.values())
    if len(tried) >= size:
        return None
    for _ in range(_TRIES) if math.isinf(size) else count():
        values = tuple(axis.draw(rng) for axis in axes.values())
        if values not in tried:
            return values
    return None
