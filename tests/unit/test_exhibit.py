"""A sweep's run shows what there is to see while the sweep goes on."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.request import url2pathname

import pytest
from mlflow.tracking import MlflowClient

from fraudray import exhibit
from fraudray.exhibit import Exhibit
from fraudray.sweeps import versions_apart
from training.bundle import package_versions
from training.fit import Recipe
from training.tracking import Tracking
from tuning.report import SweepFacts
from tuning.trials import Trial

FACTS = SweepFacts(
    name="nightly", source="payments.csv", fingerprint="0123", spec="payments",
    split="by time", rows=30_000, frauds=300, folds=2, natural=0.01, algorithm="random",
    scheduler="none", families=("logistic-regression",), metric="pr_auc", policy="max-f1", seed=0,
    began=1e9, state="running",
)  # fmt: skip


def _done(number: int) -> Trial:
    metrics = {"pr_auc": number / 100, "pr_auc_fold_1": number / 100, "pr_auc_fold_2": number / 100}
    return Trial(
        number, Recipe("logistic-regression", {"C": float(number)}), "done", metrics,
        seconds=1.0, began=1e9 + number, ended=1e9 + number + 1,
    )  # fmt: skip


def _wait_for(seen: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 60
    while not seen():
        assert time.monotonic() < give_up
        time.sleep(0.05)


@pytest.mark.slow
def test_leaderboard_and_pictures_follow_a_sweep_that_goes_on(
    tmp_path: Path, empty_store: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRAUDRAY_HOME", str(tmp_path))
    monkeypatch.setattr(exhibit, "PAUSE", 0.05)
    monkeypatch.setattr(exhibit, "SHARE", 1)
    store = empty_store(tmp_path)
    tracking = Tracking(f"sqlite:///{store}")
    parent = tracking.start(tracking.experiment("sweeps"), "nightly")
    place = MlflowClient(tracking.uri).get_run(parent).info.artifact_uri
    folder = Path(url2pathname(place.removeprefix("file://")))
    board, trials = folder / "leaderboard.csv", [_done(1), _done(2)]

    with Exhibit(tracking, parent).renewed(FACTS, lambda: list(trials)):
        _wait_for((folder / "parallel_coordinates.png").exists)
        assert (folder / "progress.png").exists()
        with closing(sqlite3.connect(store, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")  # a store that takes nothing for a while
            trials.append(_done(3))
            time.sleep(0.5)
        _wait_for(lambda: len(board.read_text().splitlines()) == 1 + len(trials))

    assert not (folder / "sweep.html").exists()
    Exhibit(tracking, parent).show(FACTS, trials)
    assert "nightly" in (folder / "sweep.html").read_text("utf-8")


def test_versions_that_differ_from_those_a_sweep_began_with_are_told() -> None:
    here = package_versions()
    facts = SweepFacts(**{**vars(FACTS), "packages": here | {"numpy": "1.0", "gone": "2.0"}})

    assert versions_apart(facts) == f"numpy 1.0, now {here['numpy']}, gone 2.0, now none"
    assert not versions_apart(SweepFacts(**{**vars(FACTS), "packages": here}))
