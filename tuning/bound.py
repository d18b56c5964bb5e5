"""BoundSpace: a space held against data, and the points in it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from training.errors import UsageError
from training.models import FAMILIES
from training.recipe import Recipe
from training.spec.mistake import place
from tuning.axis import Axis, Range, Values

Point = tuple[Recipe, ...]
"""Recipes that share one fit: they are equal but for the number of trees, which ascends."""

Chosen = Mapping[str, Any]
"""A value for every axis of a point."""


SHARED = ("neighbours", "fraud_weight", "derived")
"""Axes that every family has, beside its own and the SMOTE ratio."""


@dataclass(frozen=True)
class BoundSpace:
    """Every point that a sweep may try.

    Attributes
    ----------
    source
        The file of the space, for messages.
    families
        By name: what each parameter may be.
    smote
        Ratios above the natural one, and 0 for none.
    neighbours, fraud_weight, derived
        As in `tuning.space.Space`, in numbers.
    """

    source: str
    families: Mapping[str, Mapping[str, Axis]]
    smote: tuple[float, ...]
    neighbours: Values
    fraud_weight: Values
    derived: Values

    def counts(self, family: str) -> tuple[int, ...]:
        """The numbers of trees that every point of a family has; none if they are not listed."""
        axis = self.families[family].get(FAMILIES[family].counted or "")
        return tuple(map(int, axis.values)) if isinstance(axis, Values) else ()

    def axes(self, family: str, smote: float) -> dict[str, Axis]:
        """What is left to choose in a family at a SMOTE ratio; without what has no effect there."""
        shared: dict[str, Axis] = {"neighbours": self.neighbours} if smote else {}
        own, counted = self.families[family].items(), FAMILIES[family].counted
        return {
            **shared,
            "fraud_weight": self.fraud_weight,
            "derived": self.derived,
            **{k: axis for k, axis in own if k != counted or isinstance(axis, Range)},
        }

    def size(self, family: str, smote: float) -> float:
        """How many points a family has at a SMOTE ratio; infinite with a range of any numbers."""
        return math.prod(axis.size for axis in self.axes(family, smote).values())

    @property
    def trials(self) -> int | None:
        """How many recipes there are in all; None if without end."""
        sizes = [
            self.size(family, smote) * max(len(self.counts(family)), 1)
            for family, smote in product(self.families, self.smote)
        ]
        return None if math.inf in sizes else int(sum(sizes))

    def point(self, family: str, smote: float, chosen: Chosen, *, policy: str, seed: int) -> Point:
        """The recipes of one fit.

        Parameters
        ----------
        chosen
            A value for each of `axes(family, smote)`.
        """
        shared = {key: chosen[key] for key in ("neighbours", "fraud_weight") if key in chosen}
        params = {key: chosen[key] for key in chosen if key in FAMILIES[family].defaults}
        counted = FAMILIES[family].counted or ""
        counts = [{counted: n} for n in self.counts(family)] or [{}]
        return tuple(
            Recipe(
                family=family, params=params | count, smote=smote, **shared,
                derived=bool(chosen["derived"]), policy=policy, seed=seed,
            )
            for count in counts
        )  # fmt: skip

    def chosen(self, point: Point) -> dict[str, Any]:
        """What `point` was given to make a point."""
        recipe = point[0]
        values = {**recipe.params, **{key: getattr(recipe, key) for key in SHARED}}
        return {key: values[key] for key in self.axes(recipe.family, recipe.smote)}

    def as_grid(self) -> BoundSpace:
        """The space with as many values in place of each range as the range says.

        Raises
        ------
        UsageError
            If a range does not say how many.
        """
        return replace(
            self,
            families={
                family: {name: self._listed(family, name, axis) for name, axis in axes.items()}
                for family, axes in self.families.items()
            },
        )

    def every(self) -> Iterator[tuple[str, float, Chosen]]:
        """Every family, simple ones first, with every ratio and all that is to choose there.

        Only for a space without ranges.
        """
        for family in sorted(self.families, key=list(FAMILIES).index):
            for smote in self.smote:
                axes = self.axes(family, smote)
                for values in product(*(axis.grid() for axis in axes.values())):
                    yield family, smote, dict(zip(axes, values, strict=True))

    def _listed(self, family: str, name: str, axis: Axis) -> Values:
        if isinstance(axis, Range) and axis.points is None:
            raise UsageError(
                f"{self.source}: {place(family, name)}: a grid takes a list, or a range that says "
                f"how many values to take of it, as in points = 3"
            )
        return Values(tuple(axis.grid()))
