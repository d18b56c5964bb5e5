"""Run a planned sweep on a Ray cluster that is already there."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler

from training.errors import UsageError
from tuning.callbacks import reason
from tuning.journal import Journal
from tuning.objective import Fold
from tuning.plan import Planner, SweepError
from tuning.pruning import Rungs
from tuning.trials import Trial
from tuning.worker import FIDELITIES, Judge

SCHEDULERS: Final = ("none", "asha")


def sweep(
    planner: Planner,
    folds: Mapping[bool, Sequence[Fold]],
    journal: Journal,
    *,
    policy: str,
    metric: str,
    time_budget: float | None = None,
) -> list[Trial]:
    """Try what the planner deals until it has no more, or the time is over.

    Each fold goes into the object store once; all workers of a node read that one copy. A batch
    asks for one CPU, or for its share where more are wanted at a time than there are.

    Parameters
    ----------
    folds
        By `Recipe.derived`.
    journal
        Of the sweep: Tune's own files lie in its folder until the end.
    time_budget
        Seconds, after which what is unfinished is given up.

    Returns
    -------
    list of Trial
        In the order drawn; at least one of them is done.

    Raises
    ------
    SweepError
        If no trial is done: with the commonest reason if all failed.
    """
    cpus = ray.cluster_resources().get("CPU", 1.0)
    references = {derived: [ray.put(fold) for fold in made] for derived, made in folds.items()}
    trainable = tune.with_parameters(Judge, folds=references, policy=policy, metric=metric)
    storage = journal.folder / "tune"
    shutil.rmtree(storage, ignore_errors=True)
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": min(1.0, cpus / planner.concurrency)}),
        tune_config=tune.TuneConfig(
            search_alg=planner,
            scheduler=Patient(),
            num_samples=-1,
            max_concurrent_trials=planner.concurrency,
            time_budget_s=time_budget,
            reuse_actors=True,
            trial_name_creator=_name,
            trial_dirname_creator=_name,
        ),
        run_config=tune.RunConfig(
            name=journal.name,
            storage_path=str(storage),
            callbacks=[PlannerCallback(planner)],
            # A batch keeps nothing; Tune would take the lack of a checkpoint for a failure.
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    )
    if time_budget is not None:
        planner.deadline = time.monotonic() + time_budget
    try:
        tuner.fit()
    except BaseException:
        planner.stop("the sweep was stopped", for_good=False)
        raise
    finally:
        shutil.rmtree(storage, ignore_errors=True)
    done = any(trial.status == "done" for trial in planner.trials.values())
    planner.stop("the time budget was over", for_good=done)
    return _ended(list(planner.trials.values()), time_budget)


class PlannerCallback(tune.Callback):  # type: ignore[misc]
    """Tells a planner what becomes of its batches."""

    def __init__(self, planner: Planner) -> None:
        self._planner = planner

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Pass on what was found; it leaves the result, which Tune would keep for good."""
        del iteration, trials, info
        self._planner.reported(trial.trial_id, result.pop("points", ()))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Pass on that a batch is over."""
        del iteration, trials, info
        self._planner.completed(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Pass on that a worker died."""
        del iteration, trials, info
        self._planner.lost(trial.trial_id, reason(trial))


class Patient(FIFOScheduler):  # type: ignore[misc]
    """Leaves a trial to the worker that is being started for it.

    Tune's own scheduler names the trial that has waited longest whenever a worker is free, and the
    worker that was starting for it is ended: where batches are shorter than a start, a second
    worker never comes to be. Tune deals trials in the same order where the scheduler names none.
    """

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """None."""


def rungs(scheduler: str, folds: int) -> Rungs:
    """The way of a point under a scheduler.

    With `asha` points are pruned after a third of the trees of the first fold, and after that fold.

    Raises
    ------
    UsageError
        If there is no such scheduler.
    """
    whole = FIDELITIES * folds
    if scheduler not in SCHEDULERS:
        raise UsageError(f"no scheduler {scheduler!r}; there are {', '.join(SCHEDULERS)}")
    return Rungs((1, FIDELITIES, whole) if scheduler == "asha" else (whole,))


def _ended(trials: list[Trial], time_budget: float | None) -> list[Trial]:
    if any(trial.status == "done" for trial in trials):
        return trials
    failures = Counter(trial.failure for trial in trials if trial.status == "failed")
    if failures:
        cause, count = failures.most_common(1)[0]
        raise SweepError(f"no trial of {len(trials)} is done; {count} failed with: {cause}")
    if time_budget is None:
        raise SweepError("there is no configuration to try")
    raise SweepError(
        f"no trial was done within the time budget of {time_budget:g} s; give it more time"
    )


def _name(trial: Any) -> str:
    """Short: Tune's own name would hold every recipe of a batch."""
    return str(trial.trial_id)
