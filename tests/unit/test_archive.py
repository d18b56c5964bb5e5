"""Runs of sweeps are read back from MLflow as they were told, whatever else is in the store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from training.tracking import SWEEPS, Tracking, TrackingError, place_of


@pytest.fixture
def tracking(
    tmp_path: Path, empty_store: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> Tracking:
    monkeypatch.setenv("FRAUDRAY_HOME", str(tmp_path))
    return Tracking(f"sqlite:///{empty_store(tmp_path)}")


def test_a_store_without_a_sweep_has_none(tracking: Tracking) -> None:
    assert tracking.sweeps() == []


def test_sweeps_come_newest_first_and_trials_in_the_order_they_began(tracking: Tracking) -> None:
    experiment = tracking.experiment(SWEEPS)
    old, new = (
        tracking.start(experiment, name, tags={"sweep": name}, began=began)
        for name, began in (("old", 1e9), ("new", 2e9))
    )
    for number, began in ((2, 2e9 + 20), (1, 2e9 + 10)):
        child = tracking.start(
            experiment, f"{number:04d} xgboost", parent=new, tags={"trial": number}, began=began
        )
        tracking.log(child, params={"smote": 0.1}, metrics={"pr_auc": number / 10})
        tracking.finish(child, ended=began + 5)
    tracking.start(experiment, "something else")
    tracking.finish(old, "FAILED", ended=1e9 + 60)

    found = tracking.sweeps()
    trials = tracking.trials(found[0])

    assert [(run.name, run.status) for run in found] == [("new", "RUNNING"), ("old", "FAILED")]
    assert (found[0].ended, found[1].ended) == (None, 1e9 + 60)
    assert found[0].tags["sweep"] == "new"
    assert not [name for run in [*found, *trials] for name in run.tags if name.startswith("mlflow")]
    assert [run.tags["trial"] for run in trials] == ["1", "2"]
    assert [run.metrics for run in trials] == [{"pr_auc": 0.1}, {"pr_auc": 0.2}]
    assert trials[0].params == {"smote": "0.1"}
    assert (trials[0].began, trials[0].ended) == (2e9 + 10, 2e9 + 15)
    assert tracking.trials(found[1]) == []
    assert place_of(found[0]) == f"#/experiments/{experiment}/runs/{new}"
    assert tracking.page(found[0]) is None  # a database has no page of its own


def test_more_sweeps_than_asked_for_are_left_out(tracking: Tracking) -> None:
    experiment = tracking.experiment(SWEEPS)
    for number in range(5):
        tracking.start(experiment, str(number), tags={"sweep": number}, began=1e9 + number)

    assert [run.name for run in tracking.sweeps(most=2)] == ["4", "3"]


def test_texts_of_a_run_are_read_and_absent_ones_are_none(tracking: Tracking) -> None:
    run = tracking.start(tracking.experiment(SWEEPS), "nightly", tags={"sweep": "nightly"})
    tracking.text(run, "número,score\n1,0.5\n", "leaderboard.csv")

    assert tracking.kept_text(run, "leaderboard.csv") == "número,score\n1,0.5\n"
    assert tracking.kept_text(run, "importance.csv") is None
    with pytest.raises(TrackingError):
        tracking.kept_text("0" * 32, "leaderboard.csv")
