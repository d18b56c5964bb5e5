"""A sweep of ours as `fraudray tune` runs one, with its journal and its runs in MLflow."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Final

from page import Broken
from sweep_case import Case
from sweep_peers import Searched

from fraudray import runtime
from training.threshold import DEFAULT_POLICY
from training.tracking import Tracking
from tuning.journal import Journal
from tuning.objective import METRIC, Fold
from tuning.plan import Planner
from tuning.record import recorded_in
from tuning.runs import ChildRuns
from tuning.samplers import Sampler, sampler
from tuning.sweep import rungs, sweep
from tuning.trials import Trial

EXPERIMENT: Final = "bench-sweep"
PATIENCE: Final = 120.0  # seconds for MLflow to have every run at the end
_NUMBERS: Final = count(1)


@dataclass(frozen=True)
class Swept(Searched):
    """A sweep that is over.

    Attributes
    ----------
    scores
        Of the trials that were judged on every fold.
    """

    trials: tuple[Trial, ...]

    @property
    def pruned(self) -> int:
        """Trials that were given up early."""
        return sum(trial.status == "pruned" for trial in self.trials)


def swept(case: Case, scheduler: str) -> Swept:
    """Search the whole grid of a case; the folds are made within the time, Ray runs already."""
    Tracking().experiment(EXPERIMENT)  # a new store takes seconds to lay out its tables
    grid = sampler("grid", case.bound, policy=DEFAULT_POLICY, seed=case.seed)
    began = time.perf_counter()
    trials = run(grid, case.folds(), concurrency=cluster_cpus(), scheduler=scheduler)
    return Swept(time.perf_counter() - began, _scores(trials), tuple(trials))


def run(
    sampler: Sampler, folds: Mapping[bool, Sequence[Fold]], *, concurrency: int, scheduler: str
) -> list[Trial]:
    """Try what a sampler gives; comes back when MLflow has every run.

    Raises
    ------
    Broken
        If a trial fails, or MLflow does not take a run.
    """
    journal, tracking = Journal(f"bench-{next(_NUMBERS)}"), Tracking()
    journal.folder.mkdir(parents=True)
    experiment = tracking.experiment(EXPERIMENT)
    parent = tracking.start(experiment, journal.name)
    runs = ChildRuns(tracking.uri, experiment, parent)
    try:
        planner = Planner(
            sampler, journal, rungs(scheduler, len(next(iter(folds.values())))), metric=METRIC,
            concurrency=concurrency, observers=[recorded_in(runs)],
        )  # fmt: skip
        trials = sweep(planner, folds, journal, policy=DEFAULT_POLICY, metric=METRIC)
        if not runs.flush(PATIENCE) or runs.problem:
            raise Broken(f"MLflow lacks {runs.waiting} runs: {runs.problem}")
    finally:
        runs.close()
    tracking.finish(parent)
    failed = [trial for trial in trials if trial.status not in ("done", "pruned")]
    if failed:
        raise Broken(f"{len(failed)} trials are {failed[0].status}: {failed[0].failure}")
    return trials


@contextmanager
def ray_running() -> Iterator[float]:
    """A Ray cluster of this machine; gives the seconds that its start took."""
    began = time.perf_counter()
    runtime.start_ray()
    try:
        yield time.perf_counter() - began
    finally:
        runtime.stop_ray()


def cluster_cpus() -> int:
    """CPUs of the cluster that runs."""
    import ray

    return int(ray.cluster_resources()["CPU"])


def _scores(trials: Sequence[Trial]) -> dict[str, float]:
    return {trial.key: trial.metrics[METRIC] for trial in trials if trial.status == "done"}
