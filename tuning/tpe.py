"""TPE: Optuna's tree-structured Parzen estimator over a space whose parameters hang on others."""

from __future__ import annotations

import math
import warnings
from collections.abc import Hashable, Iterable
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.trial import TrialState, create_trial

from tuning.axis import Axis, Range
from tuning.bound import SHARED, BoundSpace, Point
from tuning.samplers import Ledger, random_points

STARTUP = 10
"""Points that have a score before any is drawn by it."""

_TRIES = 4
"""Draws that may all have been there before chance takes over."""


class TPE:
    """Draw near what scored well.

    Until enough points are told, they are those of the random search with the same seed, so every
    family begins with its defaults. A point that is out counts as a poor one until it is told, so
    those asked together differ. TPE looks at which tenth of the points is the best: those that are
    through come first, then those that got furthest, by their score on that rung, and those that
    failed come last. Everything is kept in memory.

    Parameters
    ----------
    trials
        The most recipes to hand out; None for no limit.
    """

    def __init__(self, space: BoundSpace, *, trials: int | None, policy: str, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # no line for every trial
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            draws = optuna.samplers.TPESampler(
                multivariate=True, group=True, constant_liar=True, seed=seed, n_startup_trials=1
            )
        self._study = optuna.create_study(direction="maximize", sampler=draws)
        self._space = space
        self._policy, self._seed = policy, seed
        self._at_random = random_points(space, policy=policy, seed=seed)
        self._ledger = Ledger(trials)
        self._numbers: dict[Hashable, int] = {}
        self._told: set[Hashable] = set()
        self._looked: set[Hashable] = set()
        self.total = self._ledger.total(space.trials)

    def ask(self) -> Point | None:
        """The next point; what was there before is drawn anew."""
        if self._ledger.full:
            return None
        if len(self._told | self._looked) >= STARTUP:
            for _ in range(_TRIES):
                number, point = self._draw()
                if new := self._ledger.take(point):
                    self._numbers[self._fit_of(point)] = number
                    return new
                self._study.tell(number, state=TrialState.FAIL)  # which TPE does not look at
        for point in self._at_random:
            if new := self._ledger.take(point):
                self._enter(point)
                return new
        return None

    def tell(self, point: Point, score: float | None) -> None:
        """Learn a point's score. It is told once: what is told of it later changes nothing."""
        self._ledger.add(point)
        fit = self._fit_of(point)
        if fit in self._told:
            return
        self._told.add(fit)
        known = score is not None and math.isfinite(score)
        if fit in self._looked and not known:
            return  # its looks are all there will be
        if fit not in self._numbers:
            self._enter(point)
        # Without an intermediate value Optuna ranks a pruned trial last.
        self._study.tell(
            self._numbers[fit], score if known else None,
            state=None if known else TrialState.PRUNED,
        )  # fmt: skip

    def look(self, point: Point, rung: int, score: float) -> None:
        """Learn what a point scored on a rung; told later, it counts as a point of its own."""
        fit = self._fit_of(point)
        if fit in self._told or not math.isfinite(score):
            return
        if fit in self._numbers:
            # No longer out; TPE does not look at what has failed.
            self._study.tell(self._numbers.pop(fit), state=TrialState.FAIL)
        self._looked.add(fit)
        self._study.add_trial(
            create_trial(
                state=TrialState.PRUNED, intermediate_values={rung: score}, **self._as_trial(point)
            )
        )

    def replay(self, history: Iterable[tuple[Point, float | None]]) -> None:
        """Enter what was asked, and learn what was told; the rest counts as being out."""
        for point, score in history:
            self._ledger.add(point)
            if score is not None:
                self.tell(point, score)
            elif self._fit_of(point) not in self._numbers:
                self._enter(point)

    def _draw(self) -> tuple[int, Point]:
        trial = self._study.ask()
        family = trial.suggest_categorical("family", list(self._space.families))
        smote = trial.suggest_categorical("smote", self._space.smote)
        chosen = {
            name: _suggest(trial, _name(family, name), axis)
            for name, axis in self._space.axes(family, smote).items()
        }
        point = self._space.point(family, smote, chosen, policy=self._policy, seed=self._seed)
        return trial.number, point

    def _enter(self, point: Point) -> None:
        """Let the study know a point that it did not draw, as one that is out."""
        self._numbers[self._fit_of(point)] = len(self._study.get_trials(deepcopy=False))
        self._study.add_trial(create_trial(state=TrialState.RUNNING, **self._as_trial(point)))

    def _as_trial(self, point: Point) -> dict[str, Any]:
        """A point as Optuna makes a trial of it."""
        family, smote = point[0].family, point[0].smote
        chosen, axes = self._space.chosen(point), self._space.axes(family, smote)
        distributions: dict[str, BaseDistribution] = {
            "family": CategoricalDistribution(list(self._space.families)),
            "smote": CategoricalDistribution(self._space.smote),
            **{_name(family, name): _distribution(axis) for name, axis in axes.items()},
        }
        params = {_name(family, name): value for name, value in chosen.items()}
        return {
            "params": {"family": family, "smote": smote, **params},
            "distributions": distributions,
        }

    def _fit_of(self, point: Point) -> Hashable:
        """What the recipes of a point have in common, also if some of them are missing."""
        chosen = self._space.chosen(point)
        return (point[0].family, point[0].smote, *chosen.items())


def _name(family: str, parameter: str) -> str:
    """Names a parameter in the study; those that families share by name need not mean the same."""
    return parameter if parameter in SHARED else f"{family}.{parameter}"


def _distribution(axis: Axis) -> BaseDistribution:
    if not isinstance(axis, Range):
        return CategoricalDistribution(axis.values)
    if axis.whole:
        return IntDistribution(int(axis.low), int(axis.high), log=axis.log)
    return FloatDistribution(axis.low, axis.high, log=axis.log)


def _suggest(trial: optuna.Trial, name: str, axis: Axis) -> float:
    if not isinstance(axis, Range):
        return trial.suggest_categorical(name, axis.values)
    if axis.whole:
        return trial.suggest_int(name, int(axis.low), int(axis.high), log=axis.log)
    return axis.nearest(trial.suggest_float(name, axis.low, axis.high, log=axis.log))
