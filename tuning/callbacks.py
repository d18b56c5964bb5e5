"""Callbacks for any `ray.tune.Tuner`: runs in MLflow, and progress a person can read."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ray import tune

from training.tracking import RunStatus, Tracking

_OWN = ("trial_id", "timestamp", "pid", "date", "hostname", "node_ip", "done", "experiment_tag")


class MLflowCallback(tune.Callback):
    """One child run per trial below a parent run, with parameters, metrics and duration.

    Everything of a report goes out in one call. A trial that never started gets a run as well,
    so that the children are the trials, whatever became of them.

    Parameters
    ----------
    uri
        The MLflow store.
    experiment, parent
        Ids of the experiment and of the parent run, which the caller starts and finishes.
    """

    def __init__(self, uri: str, experiment: str, parent: str) -> None:
        self.uri = uri
        self.experiment = experiment
        self.parent = parent
        self.runs: dict[str, str] = {}
        self.open: dict[str, str] = {}

    @cached_property
    def _tracking(self) -> Tracking:
        return Tracking(self.uri)

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles callbacks with its state; a database connection cannot go along."""
        return {k: v for k, v in self.__dict__.items() if k != "_tracking"}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Make the trial's run, unless a restart finds it there."""
        del iteration, trials, info
        self._run(trial)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Log what the trial reported."""
        del iteration, trials, info
        self._tracking.log(
            self._run(trial),
            metrics=numbers(result),
            tags={"node": result.get("node_ip", "")},
            step=int(result.get("training_iteration", 1)),
        )

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Finish the run."""
        del iteration, trials, info
        self._finish(trial, "FINISHED")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Finish the run as failed, with the reason."""
        del iteration, trials, info
        self._tracking.log(self._run(trial), tags={"reason": reason(trial)})
        self._finish(trial, "FAILED")

    def stop(self) -> None:
        """Finish the runs of trials that were cut off."""
        for run in self.open.values():
            self._tracking.finish(run, "KILLED")
        self.open.clear()

    def _finish(self, trial: Any, status: RunStatus) -> None:
        self._tracking.finish(self._run(trial), status)
        self.open.pop(trial.trial_id, None)

    def _run(self, trial: Any) -> str:
        if trial.trial_id not in self.runs:
            run = self._tracking.start(
                self.experiment, str(trial), parent=self.parent, tags={"trial": trial.trial_id}
            )
            self._tracking.log(run, params=flat(trial.config))
            self.runs[trial.trial_id] = self.open[trial.trial_id] = run
        return self.runs[trial.trial_id]


@dataclass(frozen=True)
class TrialEnd:
    """What became of a trial, and how far the sweep is.

    Attributes
    ----------
    seconds
        Since the sweep began.
    failure
        Why it failed; empty if it did not.
    """

    done: int
    total: int
    seconds: float
    config: dict[str, Any]
    result: dict[str, Any]
    failure: str


class ProgressCallback(tune.Callback):
    """Tell a function of every trial that ends."""

    def __init__(self, total: int, tell: Callable[[TrialEnd], None]) -> None:
        self.total = total
        self.tell = tell
        self.done = 0
        self.started = time.monotonic()

    def __getstate__(self) -> dict[str, Any]:
        """What is told may be a terminal: it stays with this process."""
        return self.__dict__ | {"tell": _silent}

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tell of its result."""
        del iteration, trials, info
        self._ended(trial, "")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tell of its reason."""
        del iteration, trials, info
        self._ended(trial, reason(trial))

    def _ended(self, trial: Any, failure: str) -> None:
        self.done += 1
        self.tell(
            TrialEnd(
                done=self.done,
                total=self.total,
                seconds=time.monotonic() - self.started,
                config=trial.config,
                result=dict(trial.last_result or {}),
                failure=failure,
            )
        )


def reason(trial: Any) -> str:
    """The last line of a failed trial's error, which says what happened."""
    # The local copy: Tune carries it to the sweep's storage only after the callbacks.
    path = Path(trial.local_path, trial.run_metadata.error_filename or "-")
    lines = path.read_text("utf-8").split("\n") if path.is_file() else []
    told = [line.strip() for line in lines if line.strip()]
    return told[-1][-500:] if told else "its worker died"


def numbers(result: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of a report, nested names joined by a dot, Tune's own fields left out."""
    return {
        key: float(value)
        for key, value in flat(result).items()
        if isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and key.split(".")[0] not in (*_OWN, "config")
    }


def flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, names joined by a dot."""
    joined: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            joined |= flat(value, f"{prefix}{key}.")
        else:
            joined[f"{prefix}{key}"] = value
    return joined


def _silent(end: TrialEnd) -> None:
    del end
