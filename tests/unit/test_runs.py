"""What is told of trials is in MLflow once and whole, whatever happens to who tells it."""

from __future__ import annotations

import pickle
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from training.tracking import StoreAway, Tracking, TrackingError
from tuning.callbacks import MLflowCallback, flat, numbers
from tuning.children import KEY_TAG, RunRecord
from tuning.runs import ChildRuns


class Store:
    """A real SQLite store with a parent run, and what MLflow itself says of its children."""

    def __init__(self, file: Path) -> None:
        self.uri = f"sqlite:///{file}"
        self.tracking = Tracking(self.uri)
        self.experiment = self.tracking.experiment("trials")
        self.client = MlflowClient(self.uri)

    def parent(self) -> str:
        return self.tracking.start(self.experiment, "parent")

    def children(self, parent: str) -> dict[str, Run]:
        found = self.client.search_runs(
            [self.experiment], f"tags.`mlflow.parentRunId` = '{parent}'", max_results=5000
        )
        assert len(found) == len({run.data.tags[KEY_TAG] for run in found}), "twins"
        return {run.data.tags[KEY_TAG]: run for run in found}


@pytest.fixture(scope="module")
def store(
    tmp_path_factory: pytest.TempPathFactory, empty_store: Callable[[Path], Path]
) -> Iterator[Store]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("store")
        patch.setenv("FRAUDRAY_HOME", str(folder))
        yield Store(empty_store(folder))


def _write(store: Store, parent: str, *records: RunRecord) -> ChildRuns:
    runs = ChildRuns(store.uri, store.experiment, parent)
    for record in records:
        runs.write(record)
    assert runs.close(60), runs.problem
    return runs


def test_a_run_says_all_that_was_told_of_its_trial(store: Store) -> None:
    parent = store.parent()
    _write(
        store, parent,
        RunRecord("a", "first", params={"depth": 3}, tags={"node": "n1"}, began=1e9),
        RunRecord("a", "first", metrics={"f1": 0.5}, step=1),
        RunRecord("a", "first", metrics={"f1": 0.75}, step=2, status="FINISHED",
                  texts={"threshold_curve.csv": "threshold\n0.5\n"}, at=1e9 + 7),
    )  # fmt: skip

    run = store.children(parent)["a"]

    assert run.info.run_name == "first"
    assert run.info.status == "FINISHED"
    assert run.info.end_time - run.info.start_time == 7000
    assert run.data.params == {"depth": "3"}
    assert run.data.tags["node"] == "n1"
    history = store.client.get_metric_history(run.info.run_id, "f1")
    assert sorted((m.step, m.value) for m in history) == [(1, 0.5), (2, 0.75)]
    uri = f"{run.info.artifact_uri}/threshold_curve.csv".removeprefix("file://")
    assert Path(uri).read_text() == "threshold\n0.5\n"


def test_a_run_can_be_seen_while_its_trial_runs(store: Store) -> None:
    parent = store.parent()
    runs = ChildRuns(store.uri, store.experiment, parent)

    runs.write(RunRecord("a", "first", params={"depth": 3}))

    assert runs.flush(60)
    assert store.children(parent)["a"].info.status == "RUNNING"
    runs.write(RunRecord("a", "first", status="FAILED", tags={"reason": "no memory"}))
    assert runs.close(60)
    assert store.children(parent)["a"].info.status == "FAILED"
    assert store.children(parent)["a"].data.tags["reason"] == "no memory"


STATUSES = ("RUNNING", "FINISHED", "FAILED", "KILLED")
LIVES = st.lists(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(STATUSES)), max_size=5),
    min_size=1, max_size=3,
)  # fmt: skip


@given(lives=LIVES)
def test_however_many_processes_tell_of_a_trial_it_has_one_run(
    store: Store, lives: list[list[tuple[str, Any]]]
) -> None:
    parent = store.parent()
    expected: dict[str, str] = {}
    for life in lives:
        before = dict(expected)
        records = [RunRecord(key, key, status=status, at=1e9) for key, status in life]
        _write(store, parent, *records)
        for key, status in life:
            if before.get(key) != "FINISHED":  # a trial that is done is done
                expected[key] = status

    found = {key: run.info.status for key, run in store.children(parent).items()}

    assert found == expected


def test_a_record_written_again_by_a_later_process_leaves_no_trace(store: Store) -> None:
    parent = store.parent()
    record = RunRecord("a", "first", params={"depth": 3}, metrics={"f1": 0.5}, at=1e9)
    for status in ("RUNNING", "KILLED", "RUNNING", "FINISHED", "FINISHED"):
        _write(store, parent, RunRecord(**vars(record) | {"status": status}))

    run = store.children(parent)["a"]

    assert run.info.status == "FINISHED"
    assert len(store.client.get_metric_history(run.info.run_id, "f1")) == 1


@pytest.mark.slow
def test_what_a_locked_store_did_not_take_is_written_when_it_is_free(store: Store) -> None:
    parent = store.parent()
    runs = ChildRuns(store.uri, store.experiment, parent)
    runs.write(RunRecord("a", "first"))
    assert runs.flush(60)

    other = sqlite3.connect(store.uri.removeprefix("sqlite:///"), isolation_level=None)
    with closing(other):
        other.execute("BEGIN EXCLUSIVE")
        runs.write(RunRecord("a", "first", params={"depth": 3}, metrics={"f1": 0.5}, at=1e9))
        give_up = time.monotonic() + 60
        while not runs.problem and time.monotonic() < give_up:
            time.sleep(0.05)
        assert "locked" in runs.problem

    assert runs.close(60), runs.problem
    run = store.children(parent)["a"]
    assert run.data.params == {"depth": "3"}
    assert [m.value for m in store.client.get_metric_history(run.info.run_id, "f1")] == [0.5]


def test_what_mlflow_refuses_is_told_and_holds_nothing_up(store: Store) -> None:
    parent = store.parent()

    runs = _write(
        store, parent,
        RunRecord("a", "bad", metrics={"no name?*": 1.0}, status="FINISHED"),
        RunRecord("b", "good", metrics={"f1": 1.0}, status="FINISHED"),
        RunRecord("c", "worse", metrics={"f1": "none"}),  # type: ignore[dict-item]
    )  # fmt: skip

    assert set(runs.refused) == {"a", "c"}
    assert "no name?*" in runs.refused["a"]
    assert "trial" in runs.problem
    children = store.children(parent)
    assert children["b"].data.metrics == {"f1": 1.0}
    assert children["a"].info.status == "FINISHED"
    assert "no name?*" in children["a"].data.tags["refused"]


def test_a_twin_that_a_lost_answer_left_is_discarded(store: Store) -> None:
    parent = store.parent()
    for _ in range(2):
        store.tracking.start(store.experiment, "twin", parent=parent, tags={KEY_TAG: "a"})

    _write(store, parent, RunRecord("a", "one", status="FINISHED"))

    assert store.children(parent)["a"].info.status == "FINISHED"


def test_more_runs_than_a_page_holds_are_found_again(store: Store) -> None:
    parent = store.parent()
    records = [RunRecord(str(i), str(i), status="FINISHED") for i in range(30)]
    _write(store, parent, *records)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["training.tracking.runs"], "_PAGE", 7)

        found = store.tracking.children(store.experiment, parent, KEY_TAG)

    assert {key: [c.status for c in runs] for key, runs in found.items()} == {
        str(i): ["FINISHED"] for i in range(30)
    }


def test_a_store_that_is_away_is_waited_for_in_the_background(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(StoreAway, match="cannot be opened"):
        Tracking("http://me:hunter2@127.0.0.1:9")
    runs = ChildRuns("http://me:hunter2@127.0.0.1:9", "0", "parent")

    runs.write(RunRecord("a", "first"))

    give_up = time.monotonic() + 60
    while not runs.problem:
        assert not runs.flush(0.1)
        assert time.monotonic() < give_up
    assert runs.waiting == 1
    assert "cannot be opened" in runs.problem
    assert "hunter2" not in runs.problem
    assert not runs.close(0.1)
    with pytest.raises(RuntimeError, match="closed"):
        runs.write(RunRecord("a", "first"))
    runs._thread.join(60)
    assert not runs._thread.is_alive()


def test_a_run_that_is_not_there_cannot_be_gone_on_with(store: Store) -> None:
    with pytest.raises(TrackingError, match="refuses"):
        store.tracking.reopen("0" * 32)


def test_a_callback_goes_through_pickle_without_its_thread(store: Store) -> None:
    parent = store.parent()
    callback = MLflowCallback(store.uri, store.experiment, parent)
    trial: Any = SimpleNamespace(trial_id="t1", config={"x": {"y": 2}})
    callback.on_trial_start(0, [], trial)

    restored = pickle.loads(pickle.dumps(callback))  # noqa: S301
    restored.on_trial_result(0, [], trial, {"score": 1.5, "training_iteration": 3, "node_ip": "n"})
    assert restored.stop()
    assert callback.stop()

    run = store.children(parent)["t1"]
    assert run.data.params == {"x.y": "2"}
    assert run.data.metrics == {"score": 1.5, "training_iteration": 3}
    assert run.info.status == "KILLED"


@given(st.recursive(st.floats() | st.booleans() | st.text(max_size=3),
                    lambda inner: st.dictionaries(st.text("ab", min_size=1, max_size=2), inner),
                    max_leaves=8))  # fmt: skip
def test_numbers_are_finite_and_named_after_their_place(nested: Any) -> None:
    found = numbers({"r": nested})

    assert all(isinstance(v, float) and abs(v) < float("inf") for v in found.values())
    for name, value in flat({"r": nested}).items():
        counts = isinstance(value, int | float) and not isinstance(value, bool)
        if counts and abs(value) < float("inf"):
            assert found.pop(name) == value
    assert not found
