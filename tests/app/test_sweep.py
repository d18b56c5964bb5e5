"""A sweep survives what happens to it, and comes to what it would have come to anyway."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from surroundings import alive

from training.simulate import simulate, write

pytestmark = [pytest.mark.slow, pytest.mark.timeout(700)]

SPACE = """
[sampling]
smote = [0, 0.1]
[logistic-regression]
C = [0.1, 1]
[random-forest]
n_estimators = [80]
max_depth = [6, 12]
[xgboost]
n_estimators = [80]
max_depth = [3, 5]
"""
TRIALS = 2 * 2 + 2 * 2 + 2 * 2
ROWS = 8_000
GRID = "tune payments.csv --algorithm grid --space space.toml --folds 2"


@pytest.fixture(autouse=True)
def data(tmp_path: Path) -> None:
    write(simulate(ROWS, seed=3), tmp_path / "payments.csv")
    (tmp_path / "space.toml").write_text(SPACE)


@pytest.mark.soak
def test_a_sweep_whose_worker_and_driver_are_killed_ends_as_one_that_was_left_alone(
    sweeps: Any,
) -> None:
    killed = sweeps.start(f"{GRID} --name killed --json")
    sweeps.wait_for(killed, "killed", 3)
    _kill_at_work(killed)
    sweeps.wait_for(killed, "killed", 6)
    killed.process.kill()
    killed.process.wait()
    kept = sweeps.ended("killed")
    assert kept < TRIALS
    resumed = sweeps.start("sweeps resume killed --json")
    first = json.loads(resumed.wait())
    assert f"{kept} trials are done already" in resumed.told
    second = json.loads(sweeps.start(f"{GRID} --name alone --concurrency 1 --json").wait())

    parent, children = sweeps.runs("killed")
    assert parent.info.status == "FINISHED"
    assert len(children) == TRIALS == sweeps.ended("killed")
    assert {run.info.status for run in children} == {"FINISHED"}
    assert {run.data.tags["status"] for run in children} == {"done"}
    assert all(run.data.tags["node"] for run in children)
    mine, theirs = sweeps.scores("killed"), sweeps.scores("alone")
    assert mine.keys() == theirs.keys()
    for key, metrics in mine.items():
        assert metrics == pytest.approx(theirs[key], rel=1e-9, abs=1e-9)
    for name in ("family", "params", "smote", "threshold", "metrics"):
        assert first[name] == second[name]
    assert (first["version"], second["version"]) == ("1", "2")
    assert first["champion"]
    assert not second["champion"]  # it is the same model

    again = sweeps.start("sweeps resume killed")
    again.wait(2)
    assert "the sweep 'killed' is done: fraudray-payments version 1, champion" in again.told


def test_a_stopped_sweep_keeps_what_is_finished_and_says_how_to_go_on(
    sweeps: Any, tmp_path: Path
) -> None:
    stopped = sweeps.start(f"{GRID} --name nightly")
    sweeps.wait_for(stopped, "nightly", 4)
    below = psutil.Process(stopped.process.pid).children(recursive=True)
    stopped.process.send_signal(signal.SIGINT)
    stopped.wait(130)

    assert "go on with `fraudray sweeps resume nightly`" in stopped.told
    assert "Traceback" not in stopped.told
    assert not alive(below)
    parent, children = sweeps.runs("nightly")
    assert parent.info.status == "KILLED"
    assert {run.info.status for run in children} <= {"FINISHED", "KILLED"}
    (listed,) = json.loads(sweeps.start("sweeps list --json").wait())
    assert listed["state"] == "stopped"
    assert 4 <= listed["ended"] < listed["planned"] == TRIALS

    other = sweeps.start("tune payments.csv --resume nightly --trials 3")
    other.wait(2)
    assert "leave out --trials" in other.told
    write(simulate(ROWS, seed=4), tmp_path / "others.csv")
    foreign = sweeps.start("tune others.csv --resume nightly")
    foreign.wait(2)
    assert "the sweep 'nightly' searched rows that" in foreign.told
    (tmp_path / "payments.csv").rename(tmp_path / "moved.csv")
    settings = tmp_path / ".fraudray" / "sweeps" / "nightly" / "sweep.json"
    kept = json.loads(settings.read_text())
    kept["facts"]["packages"]["numpy"] = "1.0"
    settings.write_text(json.dumps(kept))
    resumed = sweeps.start("tune moved.csv --resume nightly")
    resumed.wait()
    assert "begun with other versions: numpy 1.0, now" in resumed.told

    parent, children = sweeps.runs("nightly")
    assert parent.info.status == "FINISHED"
    assert len(sweeps.scores("nightly")) == TRIALS
    assert {run.info.status for run in children} == {"FINISHED"}
    sweeps.start("sweeps report nightly").wait()
    assert "nightly" in (tmp_path / "nightly.html").read_text("utf-8")


def test_a_sweep_led_by_scores_is_pruned_watched_and_ended_by_its_budget(
    sweeps: Any, tmp_path: Path, require: Callable[[str], str],
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
        sweep = sweeps.start(
            "tune payments.csv --algorithm tpe --scheduler asha --time-budget 60 --name watched "
            f"--metric cost_per_10000 --policy min-cost --metrics {metrics} --json"
        )
        seen = _watch(port, sweep)
        published = json.loads(sweep.wait())
    finally:
        server.terminate()
        server.wait()

    _, children = sweeps.runs("watched")
    status = [run.data.tags["status"] for run in children]
    assert set(status) <= {"done", "pruned", "stopped"}
    assert "pruned" in status
    done = [run for run in children if run.data.tags["status"] == "done"]
    best = min(run.data.metrics["cost_per_10000"] for run in done)
    won = {
        run.data.params["family"]
        for run in done
        if run.data.metrics["cost_per_10000"] <= best + 1e-6
    }
    assert published["family"] in won
    assert published["policy"] == "min-cost"
    assert seen["fraudray_sweep_trials"] >= 1
    assert seen["fraudray_sweep_best_score"] >= best
    assert seen["fraudray_sweep_trial_seconds_count"] >= 1
    assert seen["rate(fraudray_sweep_reports_total[1m])"] > 0


def _kill_at_work(sweep: Any) -> None:
    """Kill a process that trains; between two trials none does."""
    deadline = time.monotonic() + 60
    while not (found := sweep.workers()):
        assert time.monotonic() < deadline, sweep.told
        time.sleep(0.02)
    found[0].kill()


def _watch(port: int, sweep: Any) -> dict[str, float]:
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
        assert sweep.process.poll() is None, f"{seen}\n{sweep.told}"
        assert time.monotonic() < deadline, f"{seen}\n{sweep.told}"
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
