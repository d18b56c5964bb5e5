"""Trials told to a real tracking server on PostgreSQL, which goes away and comes back."""

from __future__ import annotations

import doctest
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import ray
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from ray import tune
from surroundings import bare

from training.tracking import SWEEPS, Tracking
from tuning.callbacks import MLflowCallback
from tuning.children import KEY_TAG, RunRecord
from tuning.runs import ChildRuns

pytestmark = pytest.mark.slow


class Server:
    """`mlflow server` on a database, which can be killed and started again."""

    def __init__(self, database: str, folder: Path, port: int) -> None:
        self.database, self.folder, self.port = database, folder, port
        self.url = f"http://127.0.0.1:{port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "mlflow.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port",
                 str(self.port), "--workers", "1", "--artifacts-destination",
                 str(self.folder / "artifacts")],
                env=bare(
                    MLFLOW_BACKEND_STORE_URI=self.database,
                    MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
                ),
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + 120
        while True:
            assert self.process.poll() is None, Path(log.name).read_text()
            assert time.monotonic() < deadline, Path(log.name).read_text()
            try:
                httpx.get(f"{self.url}/health", timeout=5, trust_env=False).raise_for_status()
            except httpx.HTTPError:
                time.sleep(0.2)
            else:
                return

    def kill(self) -> None:
        if self.process is not None:
            family = psutil.Process(self.process.pid).children(recursive=True)
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(30)
            psutil.wait_procs(family, 30)
            self.process = None


@pytest.fixture(scope="module")
def server(
    postgres: str, tmp_path_factory: pytest.TempPathFactory,
    free_ports: Callable[[int], list[int]],
) -> Iterator[Server]:  # fmt: skip
    server = Server(postgres, tmp_path_factory.mktemp("mlflow"), free_ports(1)[0])
    server.start()
    yield server
    server.kill()


def _children(server: Server, experiment: str, parent: str) -> dict[str, Run]:
    found = MlflowClient(server.url).search_runs(
        [experiment], f"tags.`mlflow.parentRunId` = '{parent}'", max_results=1000
    )
    assert len(found) == len({run.data.tags[KEY_TAG] for run in found}), "twins"
    return {run.data.tags[KEY_TAG]: run for run in found}


def _record(number: int, status: Any = "FINISHED") -> RunRecord:
    return RunRecord(
        f"{number:03}", f"trial {number}", params={"number": number},
        metrics={"score": number / 100} if status == "FINISHED" else {}, status=status,
        texts={"threshold_curve.csv": f"{number}\n"} if status == "FINISHED" else {},
        at=1e9 + number,
    )  # fmt: skip


def test_sweeps_and_their_texts_are_read_back_from_a_server(server: Server) -> None:
    tracking = Tracking(server.url)
    experiment = tracking.experiment(SWEEPS)
    sweep = tracking.start(experiment, "nightly", tags={"sweep": "nightly"})
    trial = tracking.start(experiment, "0001 xgboost", parent=sweep)
    tracking.text(trial, "threshold,precision,recall\n", "threshold_curve.csv")

    (found,) = tracking.sweeps()

    assert [run.run_id for run in tracking.trials(found)] == [trial]
    assert tracking.kept_text(trial, "threshold_curve.csv") == "threshold,precision,recall\n"
    assert tracking.kept_text(sweep, "importance.csv") is None
    address = tracking.page(found)
    assert address == f"{server.url}/#/experiments/{experiment}/runs/{sweep}"


def test_a_server_killed_amid_a_stream_of_records_costs_and_doubles_nothing(
    server: Server,
) -> None:
    tracking = Tracking(server.url)
    experiment = tracking.experiment("stream")
    parent = tracking.start(experiment, "parent")
    runs = ChildRuns(server.url, experiment, parent)

    for number in range(60):
        runs.write(_record(number, "RUNNING"))
        runs.write(_record(number))
        if number in (20, 40):
            while runs.waiting > 15:
                time.sleep(0.02)
            server.kill()  # with a request on its way
            begun = time.monotonic()
            runs.write(_record(100 + number))
            assert time.monotonic() - begun < 5, "the sweep waits for MLflow"
            while not runs.problem:
                assert not runs.flush(1)
            assert server.url in runs.problem
            server.start()

    assert runs.flush(120), runs.problem
    assert runs.close()
    assert runs.problem == ""
    children = _children(server, experiment, parent)
    assert set(children) == {f"{i:03}" for i in (*range(60), 120, 140)}
    for key, run in children.items():
        assert run.info.status == "FINISHED"
        assert run.data.params == {"number": str(int(key))}
        history = MlflowClient(server.url).get_metric_history(run.info.run_id, "score")
        assert [m.value for m in history] == [int(key) / 100]
    kept = MlflowClient(server.url).download_artifacts(
        children["040"].info.run_id, "threshold_curve.csv", str(server.folder)
    )
    assert Path(kept).read_text() == "40\n"


_LIFE = """
import os, sys, time
from tuning.children import RunRecord
from tuning.runs import ChildRuns
url, experiment, parent, many, left = sys.argv[1:]
runs = ChildRuns(url, experiment, parent)
for i in range(int(many)):
    known = {"key": f"{i:03}", "name": f"trial {i}", "at": 1e9 + i}
    runs.write(RunRecord(**known, params={"number": i}))
    runs.write(RunRecord(**known, metrics={"score": i / 100}, status="FINISHED"))
while runs.waiting > int(left):
    time.sleep(0.001)
os.kill(os.getpid(), 9)
"""


def test_a_process_killed_amid_its_records_is_gone_on_with_by_the_next(server: Server) -> None:
    tracking = Tracking(server.url)
    experiment = tracking.experiment("lives")
    parent = tracking.start(experiment, "parent")
    for left in ("20", "10"):
        life = subprocess.run(
            [sys.executable, "-c", _LIFE, server.url, experiment, parent, "30", left], check=False
        )
        assert life.returncode == -signal.SIGKILL

    runs = ChildRuns(server.url, experiment, parent)
    for number in range(30):
        runs.write(_record(number))

    assert runs.close(120), runs.problem
    children = _children(server, experiment, parent)
    assert len(children) == 30
    assert {run.info.status for run in children.values()} == {"FINISHED"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FRAUDRAY_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield
        ray.shutdown()


@pytest.mark.usefixtures("cluster")
def test_any_tuner_has_a_run_for_every_trial(server: Server, tmp_path: Path) -> None:
    def work(config: dict[str, Any]) -> None:
        for step in (1, 2):
            if config["x"] == 2 and step == 2:
                raise ValueError("two is too much")
            tune.report({"score": config["x"] * step, "deep": {"score": float("nan")}})

    tracking = Tracking(server.url)
    experiment = tracking.experiment("tuner")
    parent = tracking.start(experiment, "parent")

    tune.Tuner(
        work,
        param_space={"x": tune.grid_search([1, 2, 3])},
        run_config=tune.RunConfig(
            storage_path=str(tmp_path / "results"), verbose=0,
            callbacks=[MLflowCallback(server.url, experiment, parent)],
        ),
    ).fit()  # fmt: skip

    found = {run.data.params["x"]: run for run in _children(server, experiment, parent).values()}
    assert {x: run.info.status for x, run in found.items()} == {
        "1": "FINISHED", "2": "FAILED", "3": "FINISHED",
    }  # fmt: skip
    assert "two is too much" in found["2"].data.tags["reason"]
    assert found["2"].data.metrics["score"] == 2
    history = MlflowClient(server.url).get_metric_history(found["3"].info.run_id, "score")
    assert sorted((m.step, m.value) for m in history) == [(1, 3), (2, 6)]
    assert found["3"].data.metrics["time_total_s"] > 0
    assert found["3"].data.tags["node"]
    assert "deep.score" not in found["3"].data.metrics


@pytest.mark.usefixtures("cluster")
def test_the_example_of_the_documentation_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'example.db'}")
    (example,) = doctest.DocTestFinder(recurse=False).find(MLflowCallback, "example")
    *steps, last = example.examples
    names: dict[str, Any] = {}

    for step in steps:  # Tune writes to the terminal, which doctest would take for their outcome
        here = f"verbose=0, storage_path={str(tmp_path / 'results')!r}"
        exec(step.source.replace("verbose=0", here), names)  # noqa: S102

    assert str(eval(last.source, names)) == last.want.strip()  # noqa: S307
