"""Planner: deals points to Ray Tune in batches, and keeps account of every configuration.

Tune takes some 0.3 s for a trial of its own, whatever it computes. So a Tune trial is a batch of
points here, as many as give it a few seconds of work, and the trials that people count are the
configurations in them. The journal is what a killed sweep goes on from, not Tune's own state.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from training.errors import FraudrayError
from tuning.batches import MOST_POINTS, Pace, Task
from tuning.bound import Point
from tuning.journal import Journal, Look
from tuning.objective import direction
from tuning.pruning import Rungs
from tuning.samplers import Sampler
from tuning.trials import ENDED, Trial
from tuning.worker import Outcome

MOST_DEATHS = 3
"""A point that was at hand when so many workers died is not tried again."""

Observer = Callable[[Trial], None]


class SweepError(FraudrayError):
    """A sweep without a single result."""


class Planner(Searcher):  # type: ignore[misc]
    """A Tune searcher that hands out batches of points until the sampler has no more.

    Parameters
    ----------
    sampler
        Draws the points.
    journal
        Where draws and ends are kept.
    rungs
        The way of a point; those that are left on one are pruned.
    metric
        Scores are told to the sampler so that higher is better.
    concurrency
        Batches at a time; what is left is dealt evenly.
    ahead
        Points for each of them that may be drawn before their turn, to batch those that share
        rows; 1 for a sampler that learns from scores, which draws one at a time.
    observers
        Told of every trial whenever something became of it, in this process.
    """

    def __init__(
        self,
        sampler: Sampler,
        journal: Journal,
        rungs: Rungs,
        *,
        metric: str,
        concurrency: int,
        ahead: int = MOST_POINTS,
        observers: Sequence[Observer] = (),
    ) -> None:
        super().__init__()
        self.trials: dict[str, Trial] = {}
        """Every configuration drawn so far, by key, in the order drawn."""
        self.deadline = math.inf
        """Time on the monotonic clock after which nothing new is begun."""
        self.rungs, self.concurrency = rungs, concurrency
        self._sampler, self._journal, self._judged_by = sampler, journal, metric
        self._ahead, self._observers = ahead, observers
        self._waiting: deque[Task] = deque()
        self._live: dict[str, list[Task]] = {}
        self._deaths: Counter[str] = Counter()
        self._pace = Pace()

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune writes its searchers down, but the journal is what a sweep goes on from."""
        return {}

    # What was before --------------------------------------------------------------------------

    def resume(self) -> None:
        """Take up what the journal holds: ended trials stay, points without an end are next."""
        kept = self._journal.read()
        points = [point for _, point in sorted(kept.points.items())]
        for number, point in sorted(kept.points.items()):
            for place, recipe in enumerate(point):
                self._tell(kept.trials.get(recipe.key, Trial(number + place, recipe)))
        self._deaths.update(kept.deaths)
        looked = {look.key for look in kept.looks}
        by_key = {point[0].key: point for point in points}
        for look in kept.looks:
            self.rungs.add(by_key[look.key], look.rung, look.score)
        for point in points:
            if self._over(point):
                self.rungs.retire(point)
            elif point[0].key not in looked:
                self._waiting.append(Task(point, 0))
        self._sampler.replay([(point, self._score(point)) for point in points])
        for look in kept.looks:
            self._sampler.look(by_key[look.key], look.rung, look.score)
        for point in points:
            if self._over(point) and self._score(point) is None:
                self._sampler.tell(point, None)  # not merely out: it was pruned, or failed

    # Searcher ---------------------------------------------------------------------------------

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next batch as a Tune config; None while only what is out could still need one."""
        batch = self._deal() if time.monotonic() < self.deadline else []
        if not batch:
            # A worker may yet die and leave its points to be dealt again.
            return None if self._live else str(Searcher.FINISHED)
        self._live[trial_id] = batch
        for task in batch:
            for recipe in task.point:
                began = self.trials[recipe.key].began or time.time()
                self._update((recipe,), status="running", began=began, failure="")
        return {
            "points": [[asdict(recipe) for recipe in task.point] for task in batch],
            "fidelities": [self.rungs.fidelities[task.rung] for task in batch],
        }

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing: `PlannerCallback` tells of ends, as it knows their reasons."""

    def save(self, checkpoint_path: str) -> None:
        """Write an empty file, which Tune moves about."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Nothing."""

    # What Tune says, through PlannerCallback --------------------------------------------------

    def reported(self, trial_id: str, outcomes: Iterable[Outcome]) -> None:
        """Take what a worker found of some points of its batch."""
        for outcome in outcomes:
            key, began = outcome["key"], outcome["began"]
            task = next(t for t in self._live[trial_id] if t.point[0].key == key)
            self._live[trial_id].remove(task)
            self._update(task.point, node=outcome["node"])
            if outcome["failure"]:
                self._end(task.point, "failed", failure=outcome["failure"])
                continue
            self._pace.took(task, outcome["ended"] - began)
            self._came(task, outcome)

    def _came(self, task: Task, outcome: Outcome) -> None:
        """Note how a point did on the rung that it has come to."""
        point, rung = task
        through = rung == self.rungs.last
        status = {"status": "done", "ended": outcome["ended"]} if through else _WAITS
        found = {trial["key"]: trial for trial in outcome["trials"]}
        trials = []
        for recipe in point:
            known = {k: v for k, v in found.get(recipe.key, {}).items() if k != "key"}
            trials.append(replace(self.trials[recipe.key], **{**known, **status}))
        look = None if through else Look(point[0].key, rung, outcome["score"])
        self._keep(trials, look)
        self.rungs.add(point, rung, outcome["score"])
        if look is None:
            self._sampler.tell(point, self._score(point))
        else:
            self._sampler.look(point, rung, look.score)

    def lost(self, trial_id: str, why: str) -> None:
        """Deal the points of a dead worker again; give up the one at hand if workers keep dying."""
        tasks = self._live.pop(trial_id, [])
        for task in reversed(tasks):
            self._update(task.point, **_WAITS)
            self._waiting.appendleft(task)
        if not tasks:
            return
        point, key = tasks[0].point, tasks[0].point[0].key  # which was at hand
        self._journal.died(key, why)
        self._deaths[key] += 1
        if self._deaths[key] >= MOST_DEATHS:
            self._waiting.remove(tasks[0])
            failure = f"{MOST_DEATHS} workers died of it, the last with: {why}"
            self._end(point, "failed", failure=failure)

    def completed(self, trial_id: str) -> None:
        """Forget a batch; one that Tune has cut short is dealt again by a resumed sweep."""
        self._live.pop(trial_id, None)

    def stop(self, why: str, *, for_good: bool) -> None:
        """Say of what has begun and not ended that it was stopped; a resumed sweep tries it again.

        Parameters
        ----------
        for_good
            Whether the sweep goes on to choose its winner: what was left on a rung is pruned then.
        """
        if for_good:
            for rung in range(self.rungs.last):
                self._prune(rung)
        for trial in list(self.trials.values()):
            if trial.status not in ENDED and trial.began:
                self._tell(replace(trial, status="stopped", failure=why, ended=time.time()))

    # Inner ------------------------------------------------------------------------------------

    def _deal(self) -> list[Task]:
        """The task that is next, with others that are fitted to the same rows before all."""
        self._fill()
        if not self._waiting:
            return []
        if self._deaths[self._waiting[0].point[0].key]:
            return [self._waiting.popleft()]  # alone: it may be what workers die of
        return self._pace.batch(self._waiting, self.concurrency)

    def _fill(self) -> None:
        """Have tasks waiting: promoted points, and new ones as far ahead as may be drawn."""
        # Where all points are there from the start and time does not press, each is looked at
        # before any goes on.
        if self._sampler.total is None or self._ahead == 1 or self.deadline < math.inf:
            self._promote()
        wanted = self._ahead * self.concurrency if self._ahead > 1 else 1
        while len(self._waiting) < wanted and (point := self._sampler.ask()) is not None:
            number = len(self.trials) + 1
            self._journal.drawn(number, point)
            for place, recipe in enumerate(point):
                self._tell(Trial(number + place, recipe))
            self._waiting.append(Task(point, 0))
        if not self._waiting:
            self._promote()
        if not self._waiting:
            self._close()

    def _promote(self) -> None:
        """Send on what may go on already, before all others, from the highest rung down."""
        promoted = []
        for rung in reversed(range(self.rungs.last)):
            while (point := self.rungs.promote(rung, closed=False)) is not None:
                promoted.append(Task(point, rung + 1))
        self._waiting.extendleft(reversed(promoted))

    def _close(self) -> None:
        """Close the rungs that nothing more comes to: send on the last of each, prune the others.

        Called when nothing new is to be had.
        """
        out = [task.rung for tasks in self._live.values() for task in tasks]
        for rung in range(min([*out, self.rungs.last])):
            while (point := self.rungs.promote(rung, closed=True)) is not None:
                self._waiting.append(Task(point, rung + 1))
            self._prune(rung)
            if self._waiting:
                return

    def _prune(self, rung: int) -> None:
        for point in self.rungs.left(rung):
            if not self._over(point):
                self._end(point, "pruned")

    def _end(self, point: Point, status: str, **changes: Any) -> None:
        """What becomes of a point that is not through."""
        changes |= {"status": status, "ended": time.time()}
        self._keep([replace(self.trials[recipe.key], **changes) for recipe in point])
        self._sampler.tell(point, None)

    def _keep(self, trials: Sequence[Trial], look: Look | None = None) -> None:
        """Write to the journal, and only then tell anyone."""
        self._journal.told(trials, look)
        for trial in trials:
            self._tell(trial)

    def _over(self, point: Point) -> bool:
        return all(self.trials[recipe.key].status in ENDED for recipe in point)

    def _score(self, point: Point) -> float | None:
        """The best of a point's configurations, higher being better; None if none is done."""
        trials = [self.trials[recipe.key] for recipe in point]
        scores = [t.metrics[self._judged_by] for t in trials if t.status == "done"]
        return max((direction(self._judged_by) * score for score in scores), default=None)

    def _update(self, point: Point, **changes: Any) -> None:
        for recipe in point:
            self._tell(replace(self.trials[recipe.key], **changes))

    def _tell(self, trial: Trial) -> None:
        self.trials[trial.key] = trial
        for observe in self._observers:
            observe(trial)


_WAITS = {"status": "waiting", "ended": 0.0}
