"""Whatever workers, schedulers and drivers do, each configuration comes to exactly one end."""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ray.tune.search import Searcher

from training.fit import Recipe
from tuning.batches import BATCH_SECONDS
from tuning.journal import Journal
from tuning.plan import MOST_DEATHS, Planner
from tuning.pruning import Rungs
from tuning.samplers import Sampler, sampler
from tuning.space import Space
from tuning.trials import ENDED, Trial
from tuning.worker import Outcome

SPACE = Space.from_dict(
    {
        "sampling": {"smote": [0, 0.1]},
        "logistic-regression": {"C": [0.1, 1, 10]},
        "xgboost": {"max_depth": [2, 3], "n_estimators": [10, 20, 40]},
    }
).bind(natural=0.01, fewest_frauds=100, data="data")


WIDE = Space.from_dict(
    {
        "sampling": {"smote": [0]},
        "logistic-regression": {"C": {"low": 1e-6, "high": 1e6, "log": True}},
    }
).bind(natural=0.01, fewest_frauds=100, data="data")


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


def _planner(
    journal: Journal, algorithm: str = "grid", *, way: tuple[int, ...] = (9,), **settings: Any
) -> Planner:
    settings = {"metric": "pr_auc", "concurrency": 2} | settings
    trials = None if algorithm == "grid" else 14
    planner = Planner(_sampler(algorithm, trials), journal, Rungs(way), **settings)
    planner.resume()
    return planner


def _outcome(
    point: list[Recipe], *, failure: str = "", seconds: float = 0.5, early: bool = False
) -> Outcome:
    """What a worker reports; scores follow from the configurations."""
    scores = {recipe.key: int(recipe.key, 16) / 16**12 for recipe in point}
    judged = point[:1] if early else point
    trials = [
        {"key": r.key, "metrics": {"pr_auc": scores[r.key]}, "curve": {}, "seconds": 0.1}
        for r in ([] if failure else judged)
    ]
    return Outcome(
        key=point[0].key, score=max(scores.values()), trials=trials, failure=failure,
        node="here", began=100.0, ended=100.0 + seconds,
    )  # fmt: skip


def _recipes(batch: Any) -> list[list[Recipe]]:
    return [[Recipe(**recipe) for recipe in point] for point in batch["points"]]


class World:
    """What Tune would do around a planner, by the dice."""

    def __init__(self, planner: Planner, dice: random.Random, *, kills: float = 0.0) -> None:
        self.planner, self.dice, self.kills = planner, dice, kills
        self.live: dict[str, list[tuple[list[Recipe], int]]] = {}
        self.number = 0
        self.spent = 0
        """Thirds of folds."""

    def run(self, events: int | None = None) -> bool:
        """Go on until the planner is finished, or for some events; whether it is finished."""
        while events is None or (events := events - 1) >= 0:
            if len(self.live) < self.planner.concurrency:
                batch = self.planner.suggest(f"t{self.number}")
                if batch == Searcher.FINISHED:
                    assert not self.live
                    return True
                if isinstance(batch, dict):
                    points = zip(_recipes(batch), batch["fidelities"], strict=True)
                    self.live[f"t{self.number}"] = list(points)
                    self.number += 1
                    continue
            self._something(self.dice.choice(sorted(self.live)))
        return False

    def _something(self, trial: str) -> None:
        points = self.live[trial]
        if self.dice.random() < self.kills:
            del self.live[trial]
            self.planner.lost(trial, "out of memory")
            return
        point, fidelity = points.pop(0)
        self.spent += fidelity
        failure = "ValueError: no" if self.dice.random() < self.kills else ""
        self.planner.reported(trial, [_outcome(point, failure=failure, early=fidelity < 3)])
        if not points:
            del self.live[trial]
            self.planner.completed(trial)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80, deadline=None
)
@given(
    seed=st.integers(0, 10**6),
    algorithm=st.sampled_from(["grid", "random", "tpe"]),
    lives=st.lists(st.integers(0, 25), max_size=3),
    way=st.sampled_from([(9,), (1, 9), (1, 3, 9)]),
)
def test_every_configuration_ends_once_whatever_dies(
    home: Path, seed: int, algorithm: str, lives: list[int], way: tuple[int, ...]
) -> None:
    shutil.rmtree(home / "sweeps", ignore_errors=True)
    dice, journal = random.Random(seed), _journal()
    ended: Counter[str] = Counter()
    before: dict[str, Trial] = {}

    def note(trial: Trial) -> None:
        if trial.status in ENDED and before.get(trial.key) != trial:
            ended[trial.key] += 1
            before[trial.key] = trial

    ahead = 1 if algorithm == "tpe" else 64
    for events in [*lives, None]:  # each life but the last is cut off after some events
        planner = _planner(journal, algorithm, observers=[note], way=way, ahead=ahead)
        World(planner, dice, kills=0.1).run(events)

    trials = journal.trials()
    assert set(ended.values()) == {1}
    assert {trial.key for trial in trials} == set(ended)
    assert [trial.number for trial in trials] == list(range(1, len(trials) + 1))
    assert len(trials) == (6 + 12 if algorithm == "grid" else 14)
    assert trials == [planner.trials[trial.key] for trial in trials]
    if all(trial.status != "failed" for trial in trials):
        best = max(trials, key=lambda trial: int(trial.key, 16))
        assert best.status == "done"  # its point led on every rung
        assert ("pruned" in {trial.status for trial in trials}) == (len(way) > 1)


@pytest.mark.parametrize(("way", "share"), [((9,), 1.0), ((1, 9), 0.6), ((1, 3, 9), 0.5)])
def test_pruning_spends_a_part_of_what_all_would_cost(way: tuple[int, ...], share: float) -> None:
    world = World(_planner(_journal(), way=way), random.Random(0))

    world.run()

    assert world.spent <= share * 9 * 10  # the grid has ten points


def test_a_killed_sweep_tries_the_configurations_it_would_have_tried() -> None:
    whole, cut = _journal("whole"), _journal("cut")
    World(_planner(whole, "random"), random.Random(1)).run()

    World(_planner(cut, "random", ahead=1), random.Random(1)).run(7)
    World(_planner(cut, "random", ahead=1), random.Random(2)).run()

    assert [t.recipe for t in cut.trials()] == [t.recipe for t in whole.trials()]


def test_what_is_finished_is_not_tried_again() -> None:
    journal = _journal()
    World(_planner(journal), random.Random(0)).run(9)
    finished = {t.key for t in journal.trials() if t.status in ENDED}
    assert finished

    planner, again = _planner(journal), set()
    while isinstance(batch := planner.suggest(f"t{len(again)}"), dict):
        again |= {recipe.key for point in _recipes(batch) for recipe in point}

    assert not again & finished
    assert len(again | finished) == 18


def test_a_dead_worker_costs_only_what_it_had_not_reported() -> None:
    planner = _planner(_journal())
    first = _recipes(planner.suggest("a"))
    planner.reported("a", [_outcome(first[0], seconds=0.01)])
    planner.completed("a")
    points = _recipes(planner.suggest("b"))
    assert len(points) > 1
    planner.reported("b", [_outcome(points[0])])

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


def test_a_resumed_sweep_remembers_what_workers_died_of() -> None:
    journal = _journal()
    for life in range(MOST_DEATHS):
        planner = _planner(journal)
        (point,) = _recipes(planner.suggest("0"))
        planner.lost("0", f"death {life + 1}")

    trial = planner.trials[point[0].key]
    assert trial.failure == f"{MOST_DEATHS} workers died of it, the last with: death {MOST_DEATHS}"
    assert journal.read().deaths == [point[0].key] * MOST_DEATHS
    assert World(_planner(journal), random.Random(0)).run()


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
            planner.reported("t", [_outcome(points[0], seconds=seconds)])
            planner.completed("t")

    assert second_batch(0.01) > 3
    assert second_batch(BATCH_SECONDS) == 1


def test_what_is_pruned_keeps_what_it_measured() -> None:
    journal = _journal()
    World(_planner(journal, way=(1, 9)), random.Random(0)).run()

    pruned = [trial for trial in journal.trials() if trial.status == "pruned"]
    assert any(trial.metrics for trial in pruned)
    assert all(trial.ended and not trial.failure for trial in pruned)


def test_a_sweep_that_ends_for_good_prunes_what_was_left_on_a_rung() -> None:
    planner = _planner(_journal(), way=(1, 9), ahead=1)
    for number in range(3):
        for point in _recipes(planner.suggest(str(number))):
            planner.reported(str(number), [_outcome(point, early=True)])
    out = _recipes(planner.suggest("out"))

    planner.stop("the time is over", for_good=True)

    status = Counter(trial.status for trial in planner.trials.values())
    assert set(status) == {"pruned", "stopped"}
    assert {planner.trials[r.key].status for point in out for r in point} == {"stopped"}


def test_what_is_left_when_a_sweep_stops_is_stopped_and_tried_by_the_next_life() -> None:
    journal = _journal()
    planner = _planner(journal)
    World(planner, random.Random(0)).run(5)

    planner.stop("by hand", for_good=False)

    assert {t.status for t in planner.trials.values() if t.began} <= {*ENDED, "stopped"}
    assert {t.status for t in planner.trials.values() if not t.began} == {"waiting"}
    assert World(_planner(journal), random.Random(0)).run()
    assert {t.status for t in journal.trials()} <= set(ENDED)


def test_what_is_left_is_parted_among_the_workers() -> None:
    space = Space.from_dict({"sampling": {"smote": [0]}, "logistic-regression": {"C": [1, 2, 3]}})
    bound = space.bind(natural=0.01, fewest_frauds=100, data="data")
    draws = sampler("grid", bound, policy="max-f1", seed=0)
    planner = Planner(draws, _journal(), Rungs((9,)), metric="pr_auc", concurrency=2)
    (first,) = _recipes(planner.suggest("t"))
    planner.reported("t", [_outcome(first, seconds=0.01)])
    planner.completed("t")

    assert [len(_recipes(planner.suggest(name))) for name in "ab"] == [1, 1]


def test_tpe_learns_from_looks_and_after_a_kill_knows_what_was_pruned() -> None:
    def drawn(lives: list[int | None]) -> list[str]:
        journal = _journal(f"tpe{len(lives)}")
        for events in lives:
            planner = Planner(
                sampler("tpe", WIDE, trials=60, policy="max-f1", seed=0), journal,
                Rungs((1, 9)), metric="pr_auc", concurrency=1, ahead=1,
            )  # fmt: skip
            planner.resume()
            World(planner, random.Random(0)).run(events)
        return [trial.key for trial in journal.trials()]

    at_random = sampler("random", WIDE, trials=60, policy="max-f1", seed=0)
    chance = [recipe.key for point in iter(at_random.ask, None) for recipe in point]

    for keys in (drawn([None]), drawn([90, None])):
        assert len(keys) == 60
        assert keys[:10] == chance[:10]  # until enough points have a score
        assert len(set(keys[20:]) & set(chance)) < 20


def test_a_time_budget_lets_what_is_ahead_go_on_before_all_were_seen() -> None:
    planner = _planner(_journal(), way=(1, 9), concurrency=1)
    planner.deadline = time.monotonic() + 60
    fidelities = []
    for _ in range(8):
        batch: Any = planner.suggest("t")
        fidelities += batch["fidelities"]
        reports = zip(_recipes(batch), batch["fidelities"], strict=True)
        planner.reported("t", [_outcome(p, early=f < 3, seconds=9) for p, f in reports])
        planner.completed("t")

    assert 9 in fidelities[:5]
    assert fidelities[-1] == 1 or 1 in fidelities[5:]


def test_after_the_deadline_nothing_new_begins() -> None:
    planner = _planner(_journal())
    planner.deadline = 0.0

    assert planner.suggest("t") == Searcher.FINISHED
