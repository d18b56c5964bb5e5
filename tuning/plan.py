"""Planner: deals points to Ray Tune in batches, and keeps account of every configuration.

Tune takes some 0.3 s for a trial of its own, whatever it computes. So a Tune trial is a batch of
points here, as many as give it a few seconds of work, and the trials that people count are the
configurations in them. The journal is what a killed sweep goes on from, not Tune's own state.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.search import Searcher

from training.errors import FraudrayError
from tuning.bound import Point
from tuning.callbacks import reason
from tuning.journal import Journal
from tuning.objective import direction
from tuning.samplers import Sampler
from tuning.trials import Trial, rows_key

BATCH_SECONDS = 4.0
"""Work that a batch is meant to hold; less when points run out, more if one point takes longer."""
MOST_POINTS = 64
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
    metric
        Scores are told to the sampler so that higher is better.
    concurrency
        Batches at a time; what is left is dealt evenly.
    ahead
        Points that may be drawn before their turn, to batch those that share rows; 1 for a sampler
        that learns from scores.
    stepwise
        Whether a scheduler looks at every point as it goes: batches are one point then.
    observers
        Told of every trial whenever something became of it, in this process.
    """

    def __init__(
        self,
        sampler: Sampler,
        journal: Journal,
        *,
        metric: str,
        concurrency: int,
        ahead: int = MOST_POINTS,
        stepwise: bool = False,
        observers: Sequence[Observer] = (),
    ) -> None:
        super().__init__()
        self.trials: dict[str, Trial] = {}
        """Every configuration drawn so far, by key, in the order drawn."""
        self.reports = 0
        self.deadline = float("inf")
        """Time on the monotonic clock after which nothing new is begun."""
        self._sampler, self._journal, self._judged_by = sampler, journal, metric
        self._ahead = ahead
        self.concurrency, self._stepwise, self._observers = concurrency, stepwise, observers
        self._waiting: deque[Point] = deque()
        self._live: dict[str, list[Point]] = {}
        self._deaths: Counter[str] = Counter()
        self._seconds: dict[str, list[float]] = defaultdict(list)

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune writes its searchers down, but the journal is what a sweep goes on from."""
        return {}

    # What was before --------------------------------------------------------------------------

    def resume(self) -> None:
        """Take up what the journal holds: ended trials stay, points without an end are next."""
        points, ended = self._journal.read()
        for number, point in sorted(points.items()):
            for place, recipe in enumerate(point):
                drawn = Trial(number + place, recipe)
                self._tell(ended.get(recipe.key, drawn))
            if any(recipe.key not in ended for recipe in point):
                self._waiting.append(point)
        self._sampler.replay([(point, self._score(point)) for point in points.values()])

    # Searcher ---------------------------------------------------------------------------------

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next batch as a Tune config; None while only what is out could still need one."""
        batch = self._deal() if time.monotonic() < self.deadline else []
        if not batch:
            # A worker may yet die and leave its points to be dealt again.
            return None if self._live else str(Searcher.FINISHED)
        self._live[trial_id] = batch
        for point in batch:
            self._update(point, status="running", began=time.time())
        return {"points": [[asdict(recipe) for recipe in point] for point in batch]}

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

    def reported(self, trial_id: str, outcomes: Iterable[Mapping[str, Any]]) -> None:
        """Take what a worker found; of a point that is through, all comes at once."""
        ended = []
        for outcome in outcomes:
            known = self.trials[outcome["key"]]
            trial = replace(known, **{k: v for k, v in outcome.items() if k != "key"})
            self.reports += 1
            if trial.status == "running":
                trial = replace(trial, ended=0.0)
            else:
                ended.append(trial)
            self._tell(trial)
        if ended:
            self._journal.ended(ended)
            keys = {trial.key for trial in ended}
            for point in [p for p in self._live[trial_id] if p[0].key in keys]:
                self._live[trial_id].remove(point)
                self._through(point)

    def completed(self, trial_id: str) -> None:
        """Count what a scheduler ended early as pruned."""
        for point in self._live.pop(trial_id, []):
            self._update(point, status="pruned", ended=time.time())
            self._journal.ended([self.trials[recipe.key] for recipe in point])
            self._through(point)

    def lost(self, trial_id: str, why: str) -> None:
        """Deal the points of a dead worker again; give up the one at hand if workers keep dying."""
        points = self._live.pop(trial_id, [])
        for point in reversed(points):
            self._update(point, status="waiting", metrics={}, curve={}, began=0.0)
            self._waiting.appendleft(point)
        if not points:
            return
        at_hand = points[0]
        self._deaths[at_hand[0].key] += 1
        if self._deaths[at_hand[0].key] < MOST_DEATHS:
            return
        self._waiting.remove(at_hand)
        failure = f"{MOST_DEATHS} workers died of it, the last with: {why}"
        self._update(at_hand, status="failed", failure=failure, ended=time.time())
        self._journal.ended([self.trials[recipe.key] for recipe in at_hand])
        self._through(at_hand)

    def stop(self, why: str) -> None:
        """Say of whatever is not through that it was stopped; a resumed sweep tries it again."""
        for trial in list(self.trials.values()):
            if trial.status in ("waiting", "running"):
                self._tell(replace(trial, status="stopped", failure=why, ended=time.time()))

    # Inner ------------------------------------------------------------------------------------

    def _deal(self) -> list[Point]:
        """The point that waits longest, with others that are fitted to the same rows before all."""
        self._draw(self._ahead * self.concurrency)
        if not self._waiting:
            return []
        if self._stepwise:
            # ASHA compares with those that came before: in a grid's order each family would be
            # better than the last, and nothing would be pruned. Keys are as good as random.
            batch = [min(self._waiting, key=lambda point: point[0].key)]
            self._waiting.remove(batch[0])
            return batch
        batch = [self._waiting.popleft()]
        if self._deaths[batch[0][0].key]:
            return batch
        left = BATCH_SECONDS - self._expected(batch[0])
        most = min(-(-len(self._waiting) // self.concurrency), MOST_POINTS)
        rows = rows_key(batch[0][0])
        for point in sorted(self._waiting, key=lambda p: rows_key(p[0]) != rows):
            if len(batch) > most:
                break
            if (expected := self._expected(point)) <= left:
                left -= expected
                batch.append(point)
                self._waiting.remove(point)
        return batch

    def _draw(self, wanted: int) -> None:
        """Have so many points waiting, if there are as many."""
        while len(self._waiting) < wanted and (point := self._sampler.ask()) is not None:
            number = len(self.trials) + 1
            self._journal.drawn(number, point)
            for place, recipe in enumerate(point):
                self._tell(Trial(number + place, recipe))
            self._waiting.append(point)

    def _expected(self, point: Point) -> float:
        """Seconds a point will take, as others of its family did; unknown, a whole batch's."""
        known = self._seconds[point[0].family]
        return sum(known) / len(known) if known else BATCH_SECONDS

    def _through(self, point: Point) -> None:
        trials = [self.trials[recipe.key] for recipe in point]
        if any(trial.status == "done" for trial in trials):
            self._seconds[point[0].family].append(trials[0].ended - trials[0].began)
        self._sampler.tell(point, self._score(point))

    def _score(self, point: Point) -> float | None:
        """The best of a point's configurations, higher being better.

        None where none is done: what was pruned was judged on less, and compares with nothing.
        """
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


class PlannerCallback(tune.Callback):  # type: ignore[misc]
    """Tells a planner what becomes of its batches."""

    def __init__(self, planner: Planner) -> None:
        self._planner = planner

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Pass on what was found; it leaves the result, which Tune would keep for good."""
        del iteration, trials, info
        self._planner.reported(trial.trial_id, result.pop("trials", ()))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Pass on that a batch is over."""
        del iteration, trials, info
        self._planner.completed(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Pass on that a worker died."""
        del iteration, trials, info
        self._planner.lost(trial.trial_id, reason(trial))
