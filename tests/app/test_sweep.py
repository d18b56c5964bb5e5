"""A sweep survives what happens to it, and comes to what it would have come to anyway."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from mlflow.tracking import MlflowClient

from training.simulate import simulate, write

pytestmark = pytest.mark.slow

SPACE = """
[sampling]
smote = [0, 0.1]
[logistic-regression]
C = [0.1, 1]
[random-forest]
n_estimators = [40, 120]
max_depth = [6, 12]
[xgboost]
n_estimators = [50, 100]
max_depth = [3, 5]
"""
TRIALS = 2 * 2 + 2 * 4 + 2 * 4
GRID = "tune payments.csv --algorithm grid --space space.toml --folds 2"


@pytest.fixture(autouse=True)
def data(tmp_path: Path) -> None:
    write(simulate(16_000, seed=3), tmp_path / "payments.csv")
    (tmp_path / "space.toml").write_text(SPACE)


class Command:
    """A command of fraudray that runs."""

    def __init__(self, folder: Path, environment: dict[str, str], arguments: str) -> None:
        self.folder, self.log = folder, folder / f"{time.monotonic_ns()}.log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                ["fraudray", *arguments.split()], cwd=folder, env=environment,
                stdout=subprocess.PIPE, stderr=output, text=True,
            )  # fmt: skip

    def until(self, name: str, count: int) -> None:
        """Wait until so many trials of a sweep have ended."""
        deadline = time.monotonic() + 240
        while _ended(self.folder, name) < count:
            assert self.process.poll() is None, self.told
            assert time.monotonic() < deadline, self.told
            time.sleep(0.05)

    def workers(self) -> list[psutil.Process]:
        """The processes that trials run in."""
        below = psutil.Process(self.process.pid).children(recursive=True)
        titles = {p: " ".join(p.cmdline()) for p in below if p.is_running()}
        return [p for p, t in titles.items() if t.startswith("ray::") and ".train" in t]

    def wait(self, code: int = 0) -> str:
        """What it wrote to standard output, once it has ended."""
        output, _ = self.process.communicate(timeout=280)
        assert self.process.returncode == code, self.told
        return output

    @property
    def told(self) -> str:
        return self.log.read_text("utf-8")


def _ended(folder: Path, name: str) -> int:
    journal = folder / ".fraudray" / "sweeps" / name / "journal.jsonl"
    return journal.read_text().count('"trial": ') if journal.exists() else 0


@pytest.fixture
def fraudray(tmp_path: Path, environment: dict[str, str]) -> Iterator[Callable[[str], Command]]:
    started: list[Command] = []

    def run(arguments: str) -> Command:
        started.append(Command(tmp_path, environment, arguments))
        return started[-1]

    yield run
    for command in started:
        if command.process.poll() is None:
            command.process.kill()
            command.process.wait()
        if command.process.stdout is not None:
            command.process.stdout.close()


def _children(folder: Path, name: str) -> tuple[Any, list[Any]]:
    """The run of a sweep and those below it."""
    client = MlflowClient(f"sqlite:///{folder}/.fraudray/mlflow.db")
    experiment = client.get_experiment_by_name("fraudray-tune")
    assert experiment is not None
    ids = [experiment.experiment_id]
    (parent,) = client.search_runs(ids, f"tags.sweep = '{name}'")
    found = client.search_runs(
        ids, f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'", max_results=1000
    )
    return parent, list(found)


def _scores(children: list[Any]) -> dict[str, dict[str, float]]:
    kept = {run.data.tags["fraudray.trial"]: run.data.metrics for run in children}
    assert len(kept) == len(children)
    return {
        key: {n: v for n, v in metrics.items() if n != "seconds"} for key, metrics in kept.items()
    }


def test_a_sweep_whose_worker_and_driver_are_killed_ends_as_one_that_was_left_alone(
    fraudray: Callable[[str], Command], tmp_path: Path
) -> None:
    killed = fraudray(f"{GRID} --name killed --json")
    killed.until("killed", 3)
    killed.workers()[0].kill()
    killed.until("killed", 8)
    killed.process.kill()
    killed.process.wait()
    kept = _ended(tmp_path, "killed")
    assert kept < TRIALS
    resumed = fraudray("sweeps resume killed --json")
    first = json.loads(resumed.wait())
    assert f"{kept} trials are done already" in resumed.told
    alone = fraudray(f"{GRID} --name alone --concurrency 1 --json")
    second = json.loads(alone.wait())

    parent, children = _children(tmp_path, "killed")
    assert parent.info.status == "FINISHED"
    assert len(children) == TRIALS
    assert {run.info.status for run in children} == {"FINISHED"}
    assert {run.data.tags["status"] for run in children} == {"done"}
    assert all(run.data.tags["node"] for run in children)
    assert _ended(tmp_path, "killed") == TRIALS
    mine, theirs = _scores(children), _scores(_children(tmp_path, "alone")[1])
    assert mine.keys() == theirs.keys()
    for key, metrics in mine.items():
        assert metrics == pytest.approx(theirs[key], rel=1e-9, abs=1e-9)
    for name in ("family", "params", "smote", "threshold", "metrics"):
        assert first[name] == second[name]
    assert (first["version"], second["version"]) == ("1", "2")
    assert first["champion"]
    assert not second["champion"]  # it is the same model

    again = fraudray("sweeps resume killed")
    again.wait(2)
    assert "the sweep 'killed' is done: fraudray-payments version 1, champion" in again.told


def test_a_stopped_sweep_keeps_what_is_finished_and_says_how_to_go_on(
    fraudray: Callable[[str], Command], tmp_path: Path
) -> None:
    stopped = fraudray(f"{GRID} --name nightly")
    stopped.until("nightly", 4)
    below = psutil.Process(stopped.process.pid).children(recursive=True)
    stopped.process.send_signal(signal.SIGINT)
    stopped.wait(130)

    assert "go on with `fraudray sweeps resume nightly`" in stopped.told
    assert "Traceback" not in stopped.told
    assert not [p for p in below if p.is_running() and p.status() != "zombie"]
    parent, children = _children(tmp_path, "nightly")
    assert parent.info.status == "KILLED"
    assert {run.info.status for run in children} <= {"FINISHED", "KILLED"}
    (listed,) = json.loads(fraudray("sweeps list --json").wait())
    assert listed["state"] == "stopped"
    assert 4 <= listed["ended"] < listed["planned"] == TRIALS

    other = fraudray("tune payments.csv --resume nightly --trials 3")
    other.wait(2)
    assert "leave out --trials" in other.told
    write(simulate(16_000, seed=4), tmp_path / "others.csv")
    foreign = fraudray("tune others.csv --resume nightly")
    foreign.wait(2)
    assert "the sweep 'nightly' searched rows that" in foreign.told
    (tmp_path / "payments.csv").rename(tmp_path / "moved.csv")
    fraudray("tune moved.csv --resume nightly").wait()

    parent, children = _children(tmp_path, "nightly")
    assert parent.info.status == "FINISHED"
    assert len(_scores(children)) == TRIALS
    assert {run.info.status for run in children} == {"FINISHED"}
    fraudray("sweeps report nightly").wait()
    assert "nightly" in (tmp_path / "nightly.html").read_text("utf-8")


def test_a_sweep_led_by_scores_is_pruned_watched_and_ended_by_its_budget(
    fraudray: Callable[[str], Command], tmp_path: Path, require: Callable[[str], str],
    free_ports: Callable[[int], list[int]],
) -> None:  # fmt: skip
    prometheus = require("prometheus")
    metrics, port = free_ports(2)
    (tmp_path / "prometheus.yml").write_text(
        "scrape_configs:\n  - job_name: sweep\n    scrape_interval: 1s\n    static_configs:\n"
        f"      - targets: ['127.0.0.1:{metrics}']\n"
    )
    with (tmp_path / "prometheus.log").open("wb") as log:
        server = subprocess.Popen(
            [prometheus, f"--web.listen-address=127.0.0.1:{port}", "--config.file=prometheus.yml",
             "--storage.tsdb.path=prometheus"],
            cwd=tmp_path, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        command = fraudray(
            "tune payments.csv --algorithm tpe --scheduler asha --time-budget 45 --name watched "
            f"--metric cost_per_10000 --policy min-cost --metrics {metrics} --json"
        )
        seen = _watch(port, command)
        published = json.loads(command.wait())
    finally:
        server.terminate()
        server.wait()

    _, children = _children(tmp_path, "watched")
    status = [run.data.tags["status"] for run in children]
    assert set(status) <= {"done", "pruned", "stopped"}
    assert "pruned" in status
    done = [run for run in children if run.data.tags["status"] == "done"]
    best = min(run.data.metrics["cost_per_10000"] for run in done)
    won = {run.data.params["family"] for run in done
           if run.data.metrics["cost_per_10000"] <= best + 1e-6}  # fmt: skip
    assert published["family"] in won
    assert published["policy"] == "min-cost"
    assert seen["fraudray_sweep_trials"] >= 1
    assert seen["fraudray_sweep_best_score"] >= best
    assert seen["fraudray_sweep_trial_seconds_count"] >= 1
    assert seen["rate(fraudray_sweep_reports_total[1m])"] > 0


def _watch(port: int, command: Command) -> dict[str, float]:
    """Ask Prometheus until it knows every metric of the sweep."""
    wanted = {
        "fraudray_sweep_trials": 'fraudray_sweep_trials{sweep="watched",status="done"}',
        "fraudray_sweep_best_score": 'fraudray_sweep_best_score{metric="cost_per_10000"}',
        "fraudray_sweep_trial_seconds_count": "fraudray_sweep_trial_seconds_count",
        "rate(fraudray_sweep_reports_total[1m])": "rate(fraudray_sweep_reports_total[1m]) > 0",
    }
    seen: dict[str, float] = {}
    deadline = time.monotonic() + 200
    while seen.keys() != wanted.keys():
        assert command.process.poll() is None, f"{seen}\n{command.told}"
        assert time.monotonic() < deadline, f"{seen}\n{command.told}"
        time.sleep(0.5)
        for name, query in wanted.items():
            try:
                answer = httpx.get(
                    f"http://127.0.0.1:{port}/api/v1/query", params={"query": query}
                ).json()
            except httpx.HTTPError:
                break
            if results := answer["data"]["result"]:
                seen[name] = float(results[0]["value"][1])
    return seen
