"""What a trial says of its run in MLflow."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from training.fit import Recipe
from tuning.children import RunRecord
from tuning.record import record, recorded_in
from tuning.trials import Trial

DONE = Trial(
    7, Recipe("xgboost", {"n_estimators": 100}, smote=0.1), "done",
    {"pr_auc": 0.5, "pr_auc_fold_1": 0.4, "pr_auc_fold_2": 0.6},
    {"threshold": [0.9, 0.25], "recall": [0.5, 1.0]}, 1.5, "10.0.0.1", 100.0, 130.0,
)  # fmt: skip


def test_a_finished_trial_has_parameters_metrics_curve_and_place() -> None:
    found = record(DONE)

    assert (found.key, found.name, found.status) == (DONE.key, "0007 xgboost", "FINISHED")
    assert found.params["n_estimators"] == 100
    assert found.params["max_depth"] == 5  # a default
    assert found.params["smote"] == 0.1
    assert found.metrics == {**DONE.metrics, "seconds": 1.5}
    assert found.step == 2
    assert found.tags == {"trial": 7, "status": "done", "node": "10.0.0.1"}
    assert found.texts == {"threshold_curve.csv": "threshold,recall\n0.9,0.5\n0.25,1\n"}
    assert (found.began, found.at) == (100.0, 130.0)


@pytest.mark.parametrize(
    ("status", "run"),
    [("running", "RUNNING"), ("waiting", "RUNNING"), ("pruned", "FINISHED"), ("failed", "FAILED"),
     ("stopped", "KILLED")],
)  # fmt: skip
def test_a_reason_is_told_of_a_failure_and_of_nothing_that_may_yet_go_on(
    status: Any, run: str
) -> None:
    found = record(replace(DONE, status=status, failure="too little memory"))

    assert found.status == run
    assert ("reason" in found.tags) == (status == "failed")


def test_a_configuration_that_nobody_began_has_no_run() -> None:
    written: list[RunRecord] = []

    class Runs:
        write = staticmethod(written.append)

    observe = recorded_in(Runs())  # type: ignore[arg-type]
    observe(replace(DONE, status="waiting", metrics={}, began=0.0, ended=0.0))
    observe(replace(DONE, status="stopped", metrics={}, began=0.0))
    assert not written
    observe(DONE)
    assert len(written) == 1
