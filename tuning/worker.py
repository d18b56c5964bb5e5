"""Worker: judges points on every fold, as a Ray Tune trainable that keeps what fits share.

One Tune trial is a batch of points, so that what Tune costs a trial is shared by many. Every point
is fitted once per fold, whatever number of its trees count; the rows that SMOTE made for a fold and
what a family prepares from them stay in the actor for the points that follow.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import ray
from ray import tune

from training.fit import Recipe
from training.models import family
from training.preprocess import Probability
from training.resample import Neighbourhood, smote
from training.threshold import Curve, Policy
from tuning.bound import Point
from tuning.objective import Fold, direction, measure
from tuning.trials import CURVE, rows_key, trees

PACE = 1.0
"""Seconds of work between two reports, as long as points are shorter than that."""
FIDELITIES = 3
"""Of a fold: pruning first looks at a third of the trees of the first fold, then at whole folds."""
CURVE_POINTS = 100

T = TypeVar("T")


class Cache:
    """The newest values that fit into so many bytes; the one asked for last is always kept."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], tuple[T, int]]) -> T:
        """The value of a key; `make` gives it and its size where it is not there."""
        if key not in self._kept:
            self._kept[key] = make()
            while (
                len(self._kept) > 1 and sum(size for _, size in self._kept.values()) > self._limit
            ):
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        value: T = self._kept[key][0]
        return value

    @property
    def _size(self) -> int:
        return sum(size for _, size in self._kept.values())


class Bench:
    """The folds, and what fits on them share.

    Parameters
    ----------
    fetch
        Gives the folds with or without derived features, as `Recipe.derived` says; asked once each.
    limit
        Bytes that resampled rows and prepared matrices may take.
    """

    def __init__(self, fetch: Callable[[bool], list[Fold]], limit: int = 512 * 2**20) -> None:
        self._fetch = fetch
        self._folds: dict[bool, list[Fold]] = {}
        self._cache = Cache(limit)

    def folds(self, *, derived: bool) -> list[Fold]:
        """The folds with or without derived features."""
        if derived not in self._folds:
            self._folds[derived] = self._fetch(derived)
        return self._folds[derived]

    def grow(self, point: Point, fold: int, counts: Sequence[int]) -> Iterator[Probability]:
        """Fit the point on a fold; its scores of the rows held out at each count of trees."""
        recipe = point[-1]
        rows = self.folds(derived=recipe.derived)[fold]
        model = family(recipe.family)
        return model.grow(
            self._prepared(recipe, fold), recipe.params, counts, rows.held_out,
            seed=recipe.seed, threads=1,
        )  # fmt: skip

    def _prepared(self, recipe: Recipe, fold: int) -> Any:
        """What the family makes of the fold's resampled rows before it fits."""
        model = family(recipe.family)

        def make() -> tuple[Any, int]:
            matrix, label = self._resampled(recipe, fold)
            prepared = model.prepare(matrix, label, weight=recipe.fraud_weight, threads=1)
            return prepared, matrix.nbytes // 2

        return self._cache.get((model.family, recipe.fraud_weight, *rows_key(recipe), fold), make)

    def _resampled(self, recipe: Recipe, fold: int) -> tuple[Any, Any]:
        rows = self.folds(derived=recipe.derived)[fold]

        def make() -> tuple[Any, int]:
            known = self._neighbourhood(recipe, fold) if recipe.smote else None
            made = smote(
                rows.fit, rows.fit_label, ratio=recipe.smote, seed=recipe.seed,
                neighbours=recipe.neighbours, known=known,
            )  # fmt: skip
            return made, made[0].nbytes if recipe.smote else 0

        made: tuple[Any, Any] = self._cache.get((*rows_key(recipe), fold), make)
        return made

    def _neighbourhood(self, recipe: Recipe, fold: int) -> Neighbourhood:
        rows = self.folds(derived=recipe.derived)[fold]

        def make() -> tuple[Neighbourhood, int]:
            found = Neighbourhood.of(rows.fit, rows.fit_label, recipe.neighbours)
            return found, int(rows.fit_label.sum()) * recipe.neighbours * 8

        return self._cache.get((recipe.derived, recipe.neighbours, fold), make)


@dataclass(frozen=True)
class Report:
    """What is known of a point so far.

    Attributes
    ----------
    fidelity
        How much of all the fitting lies behind it, in units of a third of a fold.
    score
        The best of its configurations by the sweep's metric, higher being better.
    trials
        A record for each configuration judged on at least one whole fold: `key`, `metrics`,
        `curve`, `seconds`.
    """

    fidelity: int
    score: float
    trials: list[dict[str, Any]]


def judged(
    bench: Bench, point: Point, policy: Policy, metric: str, *, stepwise: bool
) -> Iterator[Report]:
    """Judge the configurations of a point, fold after fold.

    Parameters
    ----------
    stepwise
        Whether to report after a third of the trees of the first fold and after every fold, so
        that a scheduler can end it; else there is one report, the last.
    """
    folds = bench.folds(derived=point[-1].derived)
    counts = [count for recipe in point if (count := trees(recipe)) is not None]
    scores: list[list[Probability]] = [[] for _ in point]
    seconds = [0.0] * len(point)

    def report(fidelity: int, early: Sequence[Probability] = ()) -> Report:
        known = [place for place, found in enumerate(scores) if found]
        measured = [measure(scores[place], folds, policy) for place in known]
        looks = [metrics for metrics, _ in measured]
        looks += [measure([score], folds, policy)[0] for score in early]
        return Report(
            fidelity,
            max(direction(metric) * metrics[metric] for metrics in looks),
            [
                {
                    "key": point[place].key, "metrics": metrics, "curve": _columns(curve),
                    "seconds": seconds[place],
                }
                for place, (metrics, curve) in zip(known, measured, strict=True)
            ],
        )  # fmt: skip

    for number in range(len(folds)):
        # A look at a third of the trees costs no fit, only a score.
        early = -(-counts[-1] // FIDELITIES) if stepwise and counts and number == 0 else 0
        ladder = sorted({*counts, early} - {0}) if counts else []
        began = time.perf_counter()
        for step, score in enumerate(bench.grow(point, number, ladder)):
            count = ladder[step] if ladder else 0
            if count in counts or not ladder:
                place = counts.index(count) if ladder else 0
                scores[place].append(score)
                seconds[place] += time.perf_counter() - began
                began = time.perf_counter()
            if 0 < count == early < counts[-1]:
                yield report(1, [score])
                began = time.perf_counter()
        if stepwise or number == len(folds) - 1:
            yield report(FIDELITIES * (number + 1))


class Judge(tune.Trainable):  # type: ignore[misc]
    """A Ray Tune trainable whose config is a batch of points: `{"points": [[recipe, ...], ...]}`.

    A result carries `trials`, a list of what became of configurations since the last result, and
    for schedulers `score` and `fidelity` of the point at hand.

    Parameters
    ----------
    folds
        By `Recipe.derived`: references to the folds in the object store.
    policy, metric
        Of the sweep.
    stepwise
        Whether each point reports as it goes, for a scheduler; a batch is one point then.
    """

    def setup(
        self, config: dict[str, Any], *, folds: Mapping[bool, Sequence[Any]], policy: str,
        metric: str, stepwise: bool,
    ) -> None:  # fmt: skip
        """Take up the folds, once in the life of the actor, and the first batch."""
        # Read in the object store, where all workers of a node have one copy.
        self._bench = Bench(lambda derived: ray.get(list(folds[derived])))
        self._policy, self._metric, self._stepwise = Policy.parse(policy), metric, stepwise
        self._node = ray.util.get_node_ip_address()
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take up the next batch."""
        self._left = [tuple(Recipe(**r) for r in point) for point in new_config["points"]]
        self._at: Iterator[Report] | None = None
        return True

    def step(self) -> dict[str, Any]:
        """Judge for about `PACE` seconds, or until a point has something to say to a scheduler."""
        began, ended = time.monotonic(), list[dict[str, Any]]()
        while self._left:
            result = self._one()
            ended += result["trials"]
            if self._stepwise or time.monotonic() - began > PACE:
                break
        return result | {"trials": ended, "done": not self._left}

    def _one(self) -> dict[str, Any]:
        """The next report of the point at hand; the point is left when it was the last."""
        point = self._left[0]
        whole = FIDELITIES * len(self._bench.folds(derived=point[-1].derived))
        try:
            if self._at is None:
                self._began = time.time()
                self._at = judged(
                    self._bench, point, self._policy, self._metric, stepwise=self._stepwise
                )
            report = next(self._at)
        except Exception as error:  # whatever a configuration does, the sweep goes on
            self._end_point()
            told = " ".join(f"{type(error).__name__}: {error}".split())[:500]
            failed = [{"key": r.key, "status": "failed", "failure": told} for r in point]
            return {"score": float("nan"), "trials": self._stamped(failed)}
        last = report.fidelity == whole
        if last:
            self._end_point()
        status = "done" if last else "running"
        return {
            "score": report.score,
            "fidelity": report.fidelity,
            "trials": self._stamped([{**trial, "status": status} for trial in report.trials]),
        }

    def _end_point(self) -> None:
        self._at = None
        self._left.pop(0)

    def _stamped(self, trials: list[dict[str, Any]]) -> list[dict[str, Any]]:
        now = time.time()
        stamps = {"node": self._node, "began": self._began, "ended": now}
        return [trial | stamps for trial in trials]


def _columns(curve: Curve) -> dict[str, list[float]]:
    at = curve.evenly(CURVE_POINTS)
    frame = curve.frame().iloc[at]
    return {name: frame[name].tolist() for name in CURVE}
