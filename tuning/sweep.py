"""Run recipes as trials on a Ray cluster that is already there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ray import tune

from training.errors import FraudrayError, UsageError
from training.fit import Recipe
from training.home import home
from tuning.callbacks import MLflowCallback, ProgressCallback, TrialEnd
from tuning.objective import METRIC, Fold, trial


class SweepError(FraudrayError):
    """A sweep without a single result."""


@dataclass(frozen=True)
class Trial:
    """A recipe with what its trial measured.

    Attributes
    ----------
    metrics
        As `tuning.objective.judge` returns them; empty if the trial failed.
    seconds
        Time the trial took.
    failure
        Why it failed; empty if it did not.
    """

    recipe: Recipe
    metrics: dict[str, float]
    seconds: float
    failure: str = ""


def sweep(
    recipes: Sequence[Recipe],
    folds: Sequence[Fold],
    *,
    name: str,
    tracked_by: MLflowCallback,
    tell: Callable[[TrialEnd], None],
    concurrency: int = 2,
) -> list[Trial]:
    """Judge every recipe, some at a time, each in one trial on one CPU.

    The folds go into the object store once; trials read them there without a copy.

    Parameters
    ----------
    name
        Names the folder of the sweep's state under the home folder.
    tell
        Called in this process at the end of every trial.

    Raises
    ------
    UsageError
        If there is a sweep of that name.
    SweepError
        If every trial failed, with the commonest reason.
    """
    require_new(name)
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(trial, folds=list(folds)), {"cpu": 1}),
        param_space={"recipe": tune.grid_search([asdict(recipe) for recipe in recipes])},
        tune_config=tune.TuneConfig(
            metric=METRIC, mode="max", max_concurrent_trials=concurrency, reuse_actors=True
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=str(_storage()),
            callbacks=[tracked_by, ProgressCallback(len(recipes), tell)],
            verbose=0,
        ),
    )
    try:
        results = tuner.fit()
    except BaseException:
        tracked_by.stop()  # no run of a trial stays open, whatever ended the sweep
        raise
    trials = [_read(result) for result in results]
    if all(t.failure for t in trials):
        cause, count = Counter(t.failure for t in trials).most_common(1)[0]
        raise SweepError(f"all {len(trials)} trials failed, {count} of them with: {cause}")
    return trials


def require_new(name: str) -> None:
    """Check that no sweep bears a name.

    Raises
    ------
    UsageError
        If one does.
    """
    if (_storage() / name).exists():
        raise UsageError(f"there is a sweep {name!r} already; choose another --name")


def _storage() -> Path:
    return home() / "sweeps"


def _read(result: Any) -> Trial:
    metrics = dict(result.metrics or {})
    recipe = Recipe(**(result.config or metrics["config"])["recipe"])
    seconds = float(metrics.get("time_total_s", 0.0))
    if result.error is not None:
        cause = getattr(result.error, "cause", None) or result.error
        return Trial(recipe, {}, seconds, " ".join(str(cause).split())[-500:])
    numbers = {k: v for k, v in metrics.items() if k in _MEASURED or k.startswith(METRIC)}
    return Trial(recipe, numbers, seconds)


_MEASURED = ("threshold", "precision", "recall", "f1", "cost_per_10000")
