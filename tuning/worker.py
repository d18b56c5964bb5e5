"""Worker: judges points on every fold, as a Ray Tune trainable that keeps what fits share.

One Tune trial is a batch of points, so that what Tune costs a trial is shared by many. Every point
is fitted once per fold, whatever number of its trees count; the rows that SMOTE made for a fold and
what a family prepares from them stay in the actor for the points that follow.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypedDict, TypeVar

import ray
from ray import tune

from training.models import family
from training.preprocess import Probability
from training.recipe import Recipe
from training.resample import Neighbourhood, smote
from training.threshold import Curve, Policy
from tuning.bound import Point
from tuning.objective import Fold, direction, measure
from tuning.trials import CURVE, rows_key, trees

PACE = 1.0
"""Seconds of work between two reports, as long as points are shorter than that."""
FIDELITIES = 3
"""Of a fold."""
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
            while len(self._kept) > 1 and self._size > self._limit:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        value: T = self._kept[key][0]
        return value

    def take(self, key: Hashable, make: Callable[[], tuple[T, int]]) -> T:
        """The value of a key, which is not kept any longer."""
        return self._kept.pop(key)[0] if key in self._kept else make()[0]

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

    def scores(self, point: Point, fold: int, *, again: bool) -> list[tuple[Probability, float]]:
        """Scores of the rows held out by each configuration of a point, with the seconds it took.

        The seconds of a fit that several share are parted among them.

        Parameters
        ----------
        again
            Whether the point may come back for further folds: it finds these here then, if it comes
            to the same worker.
        """

        def make() -> tuple[list[tuple[Probability, float]], int]:
            found = self.grow(point, fold, counts(point))
            return found, sum(score.nbytes for score, _ in found)

        key = (*(recipe.key for recipe in point), fold)
        return self._cache.get(key, make) if again else self._cache.take(key, make)

    def grow(
        self, point: Point, fold: int, steps: Sequence[int]
    ) -> list[tuple[Probability, float]]:
        """Fit a point on a fold; after each number of trees what rows held out get, and seconds."""
        recipe, found = point[-1], []
        rows = self.folds(derived=recipe.derived)[fold]
        began = time.perf_counter()
        for score in family(recipe.family).grow(
            self._prepared(recipe, fold), recipe.params, steps, rows.held_out,
            seed=recipe.seed, threads=1,
        ):  # fmt: skip
            found.append((score, time.perf_counter() - began))
            began = time.perf_counter()
        return found

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


class Outcome(TypedDict):
    """What became of a point in a batch.

    Attributes
    ----------
    key
        Of its first recipe.
    score
        The best of its configurations by the sweep's metric, higher being better.
    trials
        For each configuration judged on a whole fold: `key`, `metrics`, `curve`, `seconds`.
    failure
        Why nothing could be said; empty otherwise.
    """

    key: str
    score: float
    trials: list[dict[str, Any]]
    node: str
    began: float
    ended: float
    failure: str


def judged(
    bench: Bench, point: Point, policy: Policy, metric: str, fidelity: int
) -> tuple[float, list[dict[str, Any]]]:
    """Judge the configurations of a point.

    Parameters
    ----------
    fidelity
        How much is spent: thirds of folds. The first is a look at a third of the trees on the first
        fold; for a model without trees it is that fold.

    Returns
    -------
    score, trials
        As `Outcome` has them.
    """
    folds = bench.folds(derived=point[-1].derived)
    steps = counts(point)
    if steps and fidelity < FIDELITIES:
        third = -(-steps[-1] // FIDELITIES)
        ladder = [*(count for count in steps if count < third), third]
        looks = bench.grow(point, 0, ladder)
        known = {steps.index(count): [look] for count, look in zip(ladder, looks, strict=True)
                 if count in steps}  # fmt: skip
        partial = [measure([looks[-1][0]], folds, policy)[0]]
    else:
        spent = -(-fidelity // FIDELITIES)
        again = spent < len(folds)
        by_fold = [bench.scores(point, fold, again=again) for fold in range(spent)]
        known = dict(enumerate(map(list, zip(*by_fold, strict=True))))
        partial = []
    trials, looked = [], partial
    for place, found in known.items():
        metrics, curve = measure([score for score, _ in found], folds, policy)
        looked.append(metrics)
        trials.append(
            {
                "key": point[place].key,
                "metrics": metrics,
                "curve": _columns(curve),
                "seconds": sum(seconds for _, seconds in found),
            }
        )
    return max(direction(metric) * metrics[metric] for metrics in looked), trials


class Judge(tune.Trainable):  # type: ignore[misc]
    """A Ray Tune trainable whose config is a batch: `points`, lists of recipes, and `fidelities`.

    Results carry `points`, a list of `Outcome`: what became of points since the last result.

    Parameters
    ----------
    folds
        By `Recipe.derived`: references to the folds in the object store.
    policy, metric
        Of the sweep.
    """

    def setup(
        self, config: dict[str, Any], *, folds: Mapping[bool, Sequence[Any]], policy: str,
        metric: str,
    ) -> None:  # fmt: skip
        """Take up the folds, once in the life of the actor, and the first batch."""
        # Read in the object store, where all workers of a node have one copy.
        self._bench = Bench(lambda derived: ray.get(list(folds[derived])))
        self._policy, self._metric = Policy.parse(policy), metric
        self._node = ray.util.get_node_ip_address()
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take up the next batch."""
        points = [tuple(Recipe(**r) for r in point) for point in new_config["points"]]
        self._left = list(zip(points, new_config["fidelities"], strict=True))
        return True

    def step(self) -> dict[str, Any]:
        """Judge points for about `PACE` seconds."""
        began, outcomes = time.monotonic(), []
        while self._left and time.monotonic() - began < PACE:
            outcomes.append(self._one(*self._left.pop(0)))
        return {"points": outcomes, "done": not self._left}

    def _one(self, point: Point, fidelity: int) -> Outcome:
        began, failure = time.time(), ""
        try:
            score, trials = judged(self._bench, point, self._policy, self._metric, fidelity)
        except ray.exceptions.RayError:
            raise  # no fault of the configuration: another worker may have more luck
        except Exception as error:  # whatever a configuration does, the sweep goes on
            score, trials = float("nan"), []
            failure = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        return Outcome(
            key=point[0].key, score=score, trials=trials, failure=failure,
            node=self._node, began=began, ended=time.time(),
        )  # fmt: skip


def counts(point: Point) -> list[int]:
    """The numbers of trees of a point's configurations; none for a family without."""
    return [count for recipe in point if (count := trees(recipe)) is not None]


def _columns(curve: Curve) -> dict[str, list[float]]:
    at = curve.evenly(CURVE_POINTS)
    frame = curve.frame().iloc[at]
    return {name: frame[name].tolist() for name in CURVE}
