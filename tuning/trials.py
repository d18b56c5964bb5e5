"""Trial: one configuration of a sweep, and what became of it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, Self

from training.models import family, with_defaults
from training.recipe import Recipe

Status = Literal["waiting", "running", "done", "pruned", "failed", "stopped"]
"""`done`: judged on every fold. `pruned`: a scheduler gave it up early. `stopped`: the sweep ended
first."""

ENDED: Final = ("done", "pruned", "failed")
"""What becomes of a trial for good."""
CURVE: Final = ("threshold", "precision", "recall", "alerts_per_10000", "cost_per_10000")
"""The columns of a trial's curve."""


@dataclass(frozen=True)
class Trial:
    """One configuration of a sweep, and what became of it.

    Attributes
    ----------
    number
        From 1, in the order in which the configurations were drawn.
    metrics
        As `tuning.objective.measure` has them, of the folds it was judged on so far.
    curve
        What thresholds over its scores on the rows held out give, a column each of `CURVE`.
    seconds
        Time its fits took; of a fit that several share, its part.
    node
        Address of the node it ran on.
    began, ended
        Unix time; 0 where it has not.
    failure
        Why it failed; empty if it did not.
    """

    number: int
    recipe: Recipe
    status: Status = "waiting"
    metrics: Mapping[str, float] = field(default_factory=dict)
    curve: Mapping[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0
    node: str = ""
    began: float = 0.0
    ended: float = 0.0
    failure: str = ""

    @property
    def key(self) -> str:
        """Names the configuration; one key is one trial is one run."""
        return self.recipe.key

    def to_dict(self) -> dict[str, Any]:
        """As JSON carries it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Read back what `to_dict` gave."""
        return cls(**{**content, "recipe": Recipe(**content["recipe"])})


def rows_key(recipe: Recipe) -> tuple[Hashable, ...]:
    """Recipes with equal keys are fitted to the same rows of a fold."""
    return (recipe.derived, recipe.smote, recipe.neighbours, recipe.seed)


def trees(recipe: Recipe) -> int | None:
    """Trees or boosting rounds; None for a family without."""
    counted = with_defaults(family(recipe.family), recipe.params).get("n_estimators")
    return None if counted is None else int(counted)
