"""Callbacks for any `ray.tune.Tuner`: what happens to its trials becomes runs in MLflow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray import tune

from training.tracking import RunStatus
from tuning.children import RunRecord
from tuning.runs import ChildRuns

_OWN = ("trial_id", "timestamp", "pid", "date", "hostname", "node_ip", "done", "experiment_tag")


class MLflowCallback(tune.Callback):
    """One child run per trial below a parent run, with parameters, metrics and duration.

    A trial that never started gets a run as well, so that the children are the trials, whatever
    became of them. Of a failed one the tag `reason` says why. The Tuner never waits for MLflow, and
    goes on where it is away; a restored one continues the same runs.

    Parameters
    ----------
    uri
        The MLflow store.
    experiment, parent
        Ids of the experiment and of the parent run, which the caller starts and finishes.

    Examples
    --------
    >>> from ray import tune
    >>> from training.tracking import Tracking
    >>> from tuning.callbacks import MLflowCallback
    >>> def square(config):
    ...     tune.report({"score": config["x"] ** 2})
    >>> tracking = Tracking()
    >>> experiment = tracking.experiment("squares")
    >>> with tracking.run("squares", "up to three") as parent:
    ...     told = MLflowCallback(tracking.uri, experiment, parent)
    ...     results = tune.Tuner(
    ...         square,
    ...         param_space={"x": tune.grid_search([1, 2, 3])},
    ...         run_config=tune.RunConfig(callbacks=[told], verbose=0),
    ...     ).fit()
    >>> len(tracking.children(experiment, parent, "fraudray.trial"))
    3
    """

    def __init__(self, uri: str, experiment: str, parent: str) -> None:
        self.uri = uri
        self.experiment = experiment
        self.parent = parent
        self._runs: ChildRuns | None = None
        self._open: dict[str, Any] = {}

    @property
    def runs(self) -> ChildRuns:
        """Where the records go."""
        if self._runs is None:
            self._runs = ChildRuns(self.uri, self.experiment, self.parent)
        return self._runs

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles callbacks with its state; a thread and trials that run cannot go along."""
        return self.__dict__ | {"_runs": None, "_open": {}}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tell that it runs."""
        del iteration, trials, info
        self._open[trial.trial_id] = trial
        self._tell(trial, "RUNNING")

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Tell what it reported."""
        del iteration, trials, info
        self._tell(trial, "RUNNING", result)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tell that it ended well."""
        del iteration, trials, info
        self._ended(trial, "FINISHED")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tell that it failed, also where it never started."""
        del iteration, trials, info
        self._ended(trial, "FAILED")

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """Tell of trials that were cut off, and wait for MLflow to have it all."""
        del trials, info
        self.stop()

    def stop(self, timeout: float = 60.0) -> bool:
        """End the runs of trials that were cut off; for a Tuner that ended with an exception.

        Returns
        -------
        bool
            Whether MLflow has everything; what the store did not take in time is lost.
        """
        for trial in list(self._open.values()):
            self._ended(trial, "KILLED")
        runs, self._runs = self._runs, None
        return runs is None or runs.close(timeout)

    def _ended(self, trial: Any, status: RunStatus) -> None:
        self._open.pop(trial.trial_id, None)
        self._tell(trial, status)

    def _tell(self, trial: Any, status: RunStatus, result: Mapping[str, Any] | None = None) -> None:
        self.runs.write(_record(trial, status, result or {}))


def _record(trial: Any, status: RunStatus, result: Mapping[str, Any]) -> RunRecord:
    tags = {"node": result["node_ip"]} if "node_ip" in result else {}
    return RunRecord(
        key=trial.trial_id,
        name=str(trial),
        params=flat(trial.config),
        metrics=numbers(result),
        tags=tags | ({"reason": reason(trial)} if status == "FAILED" else {}),
        step=int(result.get("training_iteration", 1)),
        status=status,
        at=result.get("timestamp"),
    )


def reason(trial: Any) -> str:
    """The last line of a failed trial's error, which says what happened."""
    # The local copy: Tune carries it to the sweep's storage only after the callbacks.
    path = Path(trial.local_path, trial.run_metadata.error_filename or "-")
    lines = path.read_text("utf-8").split("\n") if path.is_file() else []
    told = [line.strip() for line in lines if line.strip()]
    return told[-1][-500:] if told else "its worker died"


def numbers(result: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of a report, nested names joined by a dot.

    What Tune says of trial, process and machine is left out.
    """
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
