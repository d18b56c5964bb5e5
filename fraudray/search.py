"""What a sweep is to search, held against the data before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from fraudray.commands.options import DEFAULT_TRIALS
from fraudray.pipeline import Audited
from training.errors import UsageError
from training.threshold import DEFAULT_POLICY, Policy
from tuning.batches import MOST_POINTS
from tuning.bound import BoundSpace
from tuning.objective import METRIC, Fold, direction, natural_ratio, prepare
from tuning.samplers import Sampler, sampler
from tuning.space import Space
from tuning.sweep import rungs


@dataclass(frozen=True)
class Search:
    """The settings of a sweep that its results depend on.

    Attributes
    ----------
    trials
        Configurations to try; None for all that a grid has, or as many as a time budget allows.

    Raises
    ------
    UsageError
        On construction, for what no data could make right.
    """

    space: Space
    algorithm: str = "random"
    scheduler: str = "none"
    trials: int | None = DEFAULT_TRIALS
    folds: int = 3
    metric: str = METRIC
    policy: str = DEFAULT_POLICY
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be meant, before the data are read."""
        rungs(self.scheduler, self.folds)
        direction(self.metric)
        Policy.parse(self.policy)
        if self.folds < 2:
            raise UsageError(f"--folds must be 2 or more, it is {self.folds}")
        self.sampler(self._unbound)

    @property
    def _unbound(self) -> BoundSpace:
        """The space for data of which nothing is known yet."""
        return self.space.bind(natural=1e-9, fewest_frauds=10**9, data="any data")

    @property
    def endless(self) -> bool:
        """Whether only time ends it."""
        return self.sampler(self._unbound).total is None

    @property
    def ahead(self) -> int:
        """Points that may be drawn before their turn: one where scores lead the way."""
        return 1 if self.algorithm == "tpe" else MOST_POINTS

    def to_dict(self) -> dict[str, Any]:
        """As JSON carries it."""
        space = {"source": self.space.source, "content": self.space.to_dict()}
        return {k: getattr(self, k) for k in self.__dataclass_fields__} | {"space": space}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Read back what `to_dict` gave."""
        space = content["space"]
        return cls(**{**content, "space": Space.from_dict(space["content"], space["source"])})

    def sampler(self, bound: BoundSpace) -> Sampler:
        """Draws the points, from the first on."""
        return sampler(
            self.algorithm, bound, trials=self.trials, policy=self.policy, seed=self.seed
        )

    def prepare(self, material: Audited) -> PreparedSearch:
        """Make the folds; everything that can be refused is refused here, before Ray.

        Raises
        ------
        UsageError
            If a SMOTE ratio of the space is not above the natural one.
        DataRefused
            If there are too few frauds for the folds, or for SMOTE in any of them, or the policy's
            amounts are not in the file.
        """
        dataset, parts = material.dataset, material.parts
        policy = Policy.parse(self.policy)
        policy.costs(dataset.spec)
        policy.require(dataset.columns, dataset.source)
        options = self.space.derived if dataset.spec.features else (True,)
        folds = {
            derived: prepare(
                dataset, parts, material.report, self.folds, self.policy, derived=derived
            )
            for derived in options
        }
        made = next(iter(folds.values()))
        # The newest rows are fitted on by the winner alone, and may hold more frauds.
        whole = float(dataset.label[parts.train].mean())
        bound = self.space.bind(
            natural=max(natural_ratio(made), whole / (1 - whole)),
            fewest_frauds=min(int(fold.fit_label.sum()) for fold in made),
            data=dataset.source,
            derives=bool(dataset.spec.features),
        )
        return PreparedSearch(self, material, folds, bound)


@dataclass(frozen=True)
class PreparedSearch:
    """A sweep that only waits for a cluster.

    Attributes
    ----------
    folds
        By `Recipe.derived`.
    """

    search: Search
    material: Audited
    folds: dict[bool, list[Fold]]
    bound: BoundSpace
