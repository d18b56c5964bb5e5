"""Whatever workers, schedulers and drivers do, each configuration comes to exactly one end."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ray.tune.search import Searcher

from training.fit import Recipe
from tuning.journal import Journal
from tuning.plan import BATCH_SECONDS, MOST_DEATHS, Planner
from tuning.samplers import Sampler, sampler
from tuning.space import Space
from tuning.trials import Trial

SPACE = Space.from_dict(
    {
        "sampling": {"smote": [0, 0.1]},
        "logistic-regression": {"C": [0.1, 1, 10]},
        "xgboost": {"max_depth": [2, 3], "n_estimators": [10, 20, 40]},
    }
).bind(natural=0.01, fewest_frauds=100, data="data")
ENDS = ("done", "pruned", "failed")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FRAUDRAY_HOME", str(tmp_path))
    return tmp_path


def _sampler(algorithm: str = "grid", trials: int | None = None) -> Sampler:
    return sampler(algorithm, SPACE, trials=trials, policy="max-f1", seed=0)


def _journal(name: str = "s") -> Journal:
    journal = Journal(name)
    journal.describe({})
    return journal


def _planner(journal: Journal, algorithm: str = "grid", **settings: Any) -> Planner:
    settings = {"metric": "pr_auc", "concurrency": 2} | settings
    trials = None if algorithm == "grid" else 14
    planner = Planner(_sampler(algorithm, trials), journal, **settings)
    planner.resume()
    return planner


def _outcome(recipe: Recipe, status: str, seconds: float = 0.5) -> dict[str, Any]:
    """What a worker reports; the score follows from the configuration."""
    found = {
        "key": recipe.key, "status": status, "node": "here", "began": 100.0,
        "ended": 100.0 + seconds,
    }  # fmt: skip
    if status == "failed":
        return found | {"failure": "ValueError: no"}
    return found | {"metrics": {"pr_auc": int(recipe.key, 16) / 16**12}, "curve": {}}


def _recipes(batch: Any) -> list[list[Recipe]]:
    return [[Recipe(**recipe) for recipe in point] for point in batch["points"]]


class World:
    """What Tune would do around a planner, by the dice."""

    def __init__(self, planner: Planner, dice: random.Random, *, kills: float = 0.0) -> None:
        self.planner, self.dice, self.kills = planner, dice, kills
        self.live: dict[str, list[list[Recipe]]] = {}
        self.number = 0

    def run(self, events: int | None = None) -> bool:
        """Go on until the planner is finished, or for some events; whether it is finished."""
        while events is None or (events := events - 1) >= 0:
            if len(self.live) < self.planner.concurrency:
                batch = self.planner.suggest(f"t{self.number}")
                if batch == Searcher.FINISHED:
                    assert not self.live
                    return True
                if isinstance(batch, dict):
                    self.live[f"t{self.number}"] = _recipes(batch)
                    self.number += 1
                    continue
            self._something(self.dice.choice(sorted(self.live)))
        return False

    def _something(self, trial: str) -> None:
        points = self.live[trial]
        chance = self.dice.random()
        if chance < self.kills:
            del self.live[trial]
            self.planner.lost(trial, "out of memory")
        elif chance < 0.9:
            status = "failed" if self.dice.random() < 0.1 else "done"
            self.planner.reported(trial, [_outcome(r, status) for r in points.pop(0)])
            if not points:
                del self.live[trial]
                self.planner.completed(trial)
        else:
            del self.live[trial]
            self.planner.completed(trial)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None
)
@given(
    seed=st.integers(0, 10**6),
    algorithm=st.sampled_from(["grid", "random", "tpe"]),
    lives=st.lists(st.integers(0, 25), max_size=3),
    stepwise=st.booleans(),
)
def test_every_configuration_ends_once_whatever_dies(
    home: Path, seed: int, algorithm: str, lives: list[int], stepwise: bool
) -> None:
    shutil.rmtree(home / "sweeps", ignore_errors=True)
    dice, journal = random.Random(seed), _journal()
    ended: Counter[str] = Counter()
    before: dict[str, Trial] = {}

    def note(trial: Trial) -> None:
        if trial.status in ENDS and before.get(trial.key) != trial:
            ended[trial.key] += 1
            before[trial.key] = trial

    ahead = 1 if algorithm == "tpe" else 64
    for events in [*lives, None]:  # each life but the last is cut off after some events
        planner = _planner(journal, algorithm, observers=[note], stepwise=stepwise, ahead=ahead)
        World(planner, dice, kills=0.1).run(events)

    trials = journal.trials()
    assert set(ended.values()) == {1}
    assert {trial.key for trial in trials} == set(ended)
    assert {trial.status for trial in trials} <= set(ENDS)
    assert [trial.number for trial in trials] == list(range(1, len(trials) + 1))
    assert len(trials) == (6 + 12 if algorithm == "grid" else 14)
    assert trials == [planner.trials[trial.key] for trial in trials]


def test_a_killed_sweep_tries_the_configurations_it_would_have_tried() -> None:
    whole, cut = _journal("whole"), _journal("cut")
    World(_planner(whole, "random"), random.Random(1)).run()

    World(_planner(cut, "random", ahead=1), random.Random(1)).run(7)
    World(_planner(cut, "random", ahead=1), random.Random(2)).run()

    assert [t.recipe for t in cut.trials()] == [t.recipe for t in whole.trials()]


def test_what_is_finished_is_not_tried_again() -> None:
    journal = _journal()
    World(_planner(journal), random.Random(0)).run(9)
    finished = {t.key for t in journal.trials() if t.status in ENDS}
    assert finished

    planner, again = _planner(journal), set()
    while isinstance(batch := planner.suggest(f"t{len(again)}"), dict):
        again |= {recipe.key for point in _recipes(batch) for recipe in point}

    assert not again & finished
    assert len(again | finished) == 18


def test_a_dead_worker_costs_only_what_it_had_not_reported() -> None:
    planner = _planner(_journal())
    first = _recipes(planner.suggest("a"))
    planner.reported("a", [_outcome(r, "done", 0.01) for r in first[0]])
    planner.completed("a")
    points = _recipes(planner.suggest("b"))
    assert len(points) > 1
    planner.reported("b", [_outcome(r, "done") for r in points[0]])

    planner.lost("b", "its node is gone")

    keys = [point[0].key for point in points]
    assert planner.trials[keys[0]].status == "done"
    assert {planner.trials[key].status for key in keys[1:]} == {"waiting"}
    again = _recipes(planner.suggest("c"))
    assert [point[0].key for point in again] == [keys[1]]  # alone: it may be what killed it


def test_a_point_that_workers_die_of_is_given_up_with_the_reason() -> None:
    planner = _planner(_journal())
    (point,) = _recipes(planner.suggest("0"))
    for death in range(MOST_DEATHS):
        planner.lost(str(death), "out of memory")
        if death < MOST_DEATHS - 1:
            assert _recipes(planner.suggest(str(death + 1))) == [point]

    trial = planner.trials[point[0].key]
    assert trial.status == "failed"
    assert trial.failure == f"{MOST_DEATHS} workers died of it, the last with: out of memory"
    assert World(planner, random.Random(0)).run()


def test_a_sweep_is_not_over_while_a_batch_is_out() -> None:
    planner = _planner(_journal())
    batches = []
    while isinstance(batch := planner.suggest(str(len(batches))), dict):
        batches.append(batch)

    assert batch is None
    planner.lost("0", "gone")
    assert isinstance(planner.suggest("x"), dict)


def test_quick_points_travel_together_and_slow_ones_alone() -> None:
    def second_batch(seconds: float) -> int:
        planner = _planner(_journal(f"s{seconds}"), concurrency=1)
        while True:
            points = _recipes(planner.suggest("t"))
            if len(points) > 1 or points[0][0].family == "xgboost":
                return len(points)
            planner.reported("t", [_outcome(r, "done", seconds) for r in points[0]])
            planner.completed("t")

    assert second_batch(0.01) > 3
    assert second_batch(BATCH_SECONDS) == 1


def test_a_point_ended_early_is_pruned_with_what_it_measured() -> None:
    planner = _planner(_journal(), stepwise=True)
    (point,) = _recipes(planner.suggest("t"))
    planner.reported("t", [_outcome(r, "running") for r in point])

    planner.completed("t")

    for recipe in point:
        assert planner.trials[recipe.key].status == "pruned"
        assert planner.trials[recipe.key].metrics


def test_what_is_left_when_a_sweep_stops_is_stopped_and_tried_by_the_next_life() -> None:
    journal = _journal()
    planner = _planner(journal)
    World(planner, random.Random(0)).run(5)

    planner.stop("by hand")

    assert {t.status for t in planner.trials.values()} <= {*ENDS, "stopped"}
    assert World(_planner(journal), random.Random(0)).run()
    assert {t.status for t in journal.trials()} <= set(ENDS)


def test_after_the_deadline_nothing_new_begins() -> None:
    planner = _planner(_journal())
    planner.deadline = 0.0

    assert planner.suggest("t") == Searcher.FINISHED
