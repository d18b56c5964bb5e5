"""What every search of the sweep benchmark gets: the same payments, folds and configurations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.audit import Audit, audit
from training.data import Dataset, check
from training.recipe import Recipe
from training.simulate import simulate
from training.spec import DatasetSpec
from training.split import Split, folds, split
from training.threshold import DEFAULT_POLICY
from tuning.bound import BoundSpace
from tuning.objective import Fold, natural_ratio, prepare
from tuning.samplers import grid_points
from tuning.space import Space

GRID: Final = Path(__file__).with_name("sweep_grid.toml")
FOLDS: Final = 3

Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Case:
    """Payments, split and audited, and a grid of configurations for them.

    Attributes
    ----------
    space
        Without ranges.
    """

    dataset: Dataset
    parts: Split
    report: Audit
    space: Space
    seed: int = 0

    @classmethod
    def of(cls, rows: int, space: Space | None = None) -> Case:
        """Simulate so many payments."""
        dataset = check(simulate(rows, seed=1), DatasetSpec.load("payments"), source="simulated")
        parts = split(dataset)
        grid = space or Space.load(str(GRID))
        return cls(dataset, parts, audit(dataset, parts), grid)

    def folds(self) -> dict[bool, list[Fold]]:
        """As a sweep gets them, made anew."""
        return {True: prepare(self.dataset, self.parts, self.report, FOLDS)}

    @cached_property
    def bound(self) -> BoundSpace:
        """The grid held against the payments."""
        made = self.folds()[True]
        return self.space.bind(
            natural=natural_ratio(made),
            fewest_frauds=min(int(fold.fit_label.sum()) for fold in made),
            data=self.dataset.source,
        )

    @cached_property
    def recipes(self) -> list[Recipe]:
        """Every configuration of the grid."""
        points = grid_points(self.bound.as_grid(), policy=DEFAULT_POLICY, seed=self.seed)
        return [recipe for point in points for recipe in point]

    @cached_property
    def cuts(self) -> list[tuple[Rows, Rows]]:
        """Rows to fit and rows held out of every fold."""
        return folds(self.dataset, self.parts, FOLDS)

    @property
    def inputs(self) -> list[str]:
        """The columns a model may see."""
        there = [name for name in self.dataset.spec.inputs if name in self.dataset.columns]
        return [name for name in there if name not in self.report.excluded]

    @property
    def frame(self) -> pd.DataFrame:
        """Every payment, with those columns."""
        return self.dataset.frame[self.inputs]

    def words(self) -> str:
        """What it is, for the page."""
        fitted = ", ".join(f"{len(fit):,}" for fit, _ in self.cuts)
        frauds = int(self.dataset.label[self.parts.train].sum())
        return (
            f"{len(self.dataset):,} simulated payments, of which {len(self.parts.train):,} to "
            f"train on ({frauds} frauds); {FOLDS} folds by time, fitted on {fitted} payments; "
            f"{len(self.recipes)} configurations"
        )
