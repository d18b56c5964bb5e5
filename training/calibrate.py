"""Bring scores back to probabilities at natural prevalence, by the method that measures best.

SMOTE and class weights move every score up. `prior` learns nothing and takes that shift of the
log-odds back, `platt` learns a slope and an offset, `isotonic` learns a rising curve. Each is
judged by cross-fitting: the probability of a validation row owes nothing to its own label.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError

from training.errors import FraudrayError
from training.preprocess import Probability
from training.reliability import Measured, measure, reliability

Label = NDArray[np.int8]

FOLDS = 5
LEAST_FRAUDS = 30
"""Groups with a fraud an isotonic curve is fitted on; with fewer each one is a step of its own."""

_TIE = 1e-12  # Brier scores this near are equal
_SAME_LEVEL = 1e-6  # steps of an isotonic regression this near are one
_TILT = 0.01
_FLAT = 1e-3  # slope where scores say nothing

# Arrays of no dimension: with numbers, NumPy takes twice as long for one row.
_ONE = np.array(1.0)
_STEPS = np.array(2.0**40)
_EDGE = np.array(2.0**40 * 1e-7)  # so 0 and 1, which a forest says, have finite log-odds
_TOP = np.array(_STEPS + _EDGE)
_LEAST, _MOST = np.array(-34.0), np.array(700.0)  # exp stays finite, and not lost beside 1


@dataclass(frozen=True)
class Sigmoid:
    """probability = sigmoid(slope * log-odds(score) + offset).

    Rising, strictly inside 0..1. Scores less than 1e-12 apart may get the same probability. Learned
    as in Platt, "Probabilistic outputs for support vector machines", 1999, with smoothed targets.
    """

    kind: Literal["prior", "platt"]
    slope: float
    offset: float

    def __post_init__(self) -> None:
        if not (0 < self.slope < np.inf and np.isfinite(self.offset)):
            raise ValueError(f"slope must be above 0, offset finite; they are {self}")

    @classmethod
    def prior(cls, shift: float) -> Sigmoid:
        """Shift the log-odds and learn nothing; a shift of 0 leaves scores as they are."""
        return cls("prior", 1.0, shift)

    @classmethod
    def fit(cls, label: Label, score: Probability) -> Sigmoid:
        """Learn from rows of both classes that no model was fitted on, arguments of shape (n,)."""
        from sklearn.linear_model import LogisticRegression  # not needed where one is only applied

        target, odds = _smoothed(label), _log_odds(score)
        center = float(odds.mean())
        # Scores that say nothing, or worse than chance: keep their order, say the base rate.
        slope, offset = _FLAT, float(np.log(target.mean() / (1 - target.mean())))
        if np.ptp(odds) > 0:
            # Each row counts once as fraud and once as not, with weights t and 1 - t.
            fitted = LogisticRegression(C=1e6, solver="newton-cholesky", tol=1e-8).fit(
                np.tile(odds - center, 2)[:, None],
                np.repeat([1, 0], len(label)),
                sample_weight=np.concatenate([target, 1 - target]),
            )
            if fitted.coef_[0, 0] > _FLAT:
                slope, offset = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
        return cls("platt", slope, offset - slope * center)

    @cached_property
    def _against(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return np.array(-self.slope * _STEPS), np.array(-self.offset * _STEPS)

    def probability(self, score: Probability) -> Probability:
        """Calibrated probabilities of scores in 0..1, shape (n,)."""
        slope, offset = self._against
        # Whole steps before log and before exp: two inputs are equal or a step apart, so what a
        # machine's log or exp gets wrong in the last digit cannot reverse an order.
        against = np.rint(_log_odds(score) * slope + offset) / _STEPS
        odds: Probability = np.exp(np.minimum(np.maximum(against, _LEAST), _MOST))
        return _ONE / (_ONE + odds)


@dataclass(frozen=True)
class Isotonic:
    """A rising curve through knots, straight between them.

    The steps of an isotonic regression, joined by straight lines and each tilted by a hundredth of
    the way to its neighbours, so that no order is lost. `scores` of the knots rise from 0 to 1,
    their `probabilities` rise strictly inside 0..1.
    """

    kind: Literal["isotonic"]
    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __post_init__(self) -> None:
        x, y = np.array(self.scores), np.array([0.0, *self.probabilities, 1.0])
        rising = (np.diff(x) > 0).all() and (np.diff(y) > 0).all()
        if not (len(x) + 2 == len(y) and len(x) > 1 and x[0] == 0 and x[-1] == 1 and rising):
            raise ValueError("knots must rise, scores from 0 to 1, probabilities inside 0..1")

    @classmethod
    def fit(cls, label: Label, score: Probability) -> Isotonic:
        """Learn from rows of both classes that no model was fitted on, arguments of shape (n,)."""
        from sklearn.isotonic import IsotonicRegression  # not needed where one is only applied

        # Steps keep knots apart, so that no line between two of them is too steep for a float.
        steps, row = np.unique(np.rint(np.clip(score, 0, 1) * _STEPS), return_inverse=True)
        x, rows = steps / _STEPS, np.bincount(row)
        # Smoothed targets as for Platt: no probability becomes exactly 0 or 1.
        mean = np.bincount(row, _smoothed(label)) / rows
        level = IsotonicRegression().fit_transform(x, mean, sample_weight=rows)
        first = np.flatnonzero(np.append(True, np.diff(level) > _SAME_LEVEL))
        last = np.append(first[1:], len(x)) - 1
        gap = np.diff(np.concatenate([[0.0], level[first], [1.0]]))
        tilt = np.where(first < last, _TILT * np.minimum(gap[:-1], gap[1:]), 0.0)
        knots = dict(zip(x[first].tolist(), (level[first] - tilt).tolist(), strict=True))
        knots |= dict(zip(x[last].tolist(), (level[first] + tilt).tolist(), strict=True))
        # Beyond the observed scores the curve rises a little, and claims no more than that.
        knots.setdefault(0.0, min(knots.values()) * (1 - _TILT))
        knots.setdefault(1.0, 1 - (1 - max(knots.values())) * (1 - _TILT))
        scores, probabilities = zip(*sorted(knots.items()), strict=True)
        return cls("isotonic", scores, probabilities)

    @cached_property
    def _lines(self) -> tuple[NDArray[np.float64], ...]:
        x, y = np.array(self.scores), np.array(self.probabilities)
        return x[1:-1], x[:-1], np.diff(y) / np.diff(x), y[:-1], y[1:]

    def probability(self, score: Probability) -> Probability:
        """Calibrated probabilities of scores in 0..1, shape (n,)."""
        inner, left, slope, low, high = self._lines
        line = inner.searchsorted(score, side="right")
        risen: Probability = (score - left[line]) * slope[line] + low[line]
        # Rounding may carry a score just below a knot past the knot, and past those above it.
        return np.minimum(risen, high[line])


Calibration = Annotated[Sigmoid | Isotonic, Field(discriminator="kind")]
Learn = Callable[[Label, Probability], Calibration]

_CALIBRATION: TypeAdapter[Calibration] = TypeAdapter(Calibration)


def to_dict(calibration: Calibration) -> dict[str, Any]:
    """Plain JSON types; `from_dict` reads them back to an equal calibration."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(calibration).items()}


def from_dict(content: dict[str, Any]) -> Calibration:
    """Read back what `to_dict` gave; FraudrayError if that would reverse the order of scores."""
    try:
        return _CALIBRATION.validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise FraudrayError(f"calibration: {first['msg']}; it is {first['input']!r}") from None


@dataclass(frozen=True)
class CalibrationReport:
    """How well each calibration did on rows that it was not fitted on.

    Attributes
    ----------
    candidates, before, after
        `brier`, `ece` and `log_loss` of each kind, of the scores as they come, and of the chosen
        `method`; all but `before` cross-fitted.
    reliability
        `before` and `after` as bins of equal counts, from the lowest predictions to the highest.
    """

    method: str
    candidates: dict[str, Measured]
    before: Measured
    after: Measured
    reliability: dict[str, list[Measured]]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class Calibrated:
    """The calibration chosen, fitted on all rows, and how the choice was made.

    Attributes
    ----------
    cross_fitted
        Shape (n,): what the chosen method says of each row without having learned from its group.
        Errors on the rows of the choice are measured with these, and not with `calibration`.
    """

    calibration: Calibration
    report: CalibrationReport
    cross_fitted: Probability = field(compare=False)


def calibrate(
    label: Label,
    score: Probability,
    *,
    prior_shift: float,
    groups: NDArray[np.integer[Any]] | None = None,
    seed: int = 0,
) -> Calibrated:
    """Choose a calibration by cross-fitting and fit it on all rows.

    The lowest cross-fitted Brier score wins; of equal ones the simplest, in the order prior, platt,
    isotonic. With fewer than two groups of a class there is nothing to learn from: prior. Isotonic
    takes part if it is fitted on `LEAST_FRAUDS` groups with a fraud in every fold.

    Parameters
    ----------
    label, score
        Shape (n,), of rows that no model was fitted on, at natural prevalence.
    prior_shift
        log(natural odds of fraud) - log(odds as fitted on, after SMOTE and with weights).
    groups
        Shape (n,): rows with equal values, such as twins, share a fold; None: each row is a group.
        A group with a fraud in it counts as fraud.
    """
    group = np.arange(len(label)) if groups is None else pd.factorize(groups)[0]
    fraud = np.bincount(group, label) > 0
    frauds = int(fraud.sum())
    count = max(min(FOLDS, frauds, len(fraud) - frauds), 1)
    learners: dict[str, Learn] = {"prior": lambda _label, _score: Sigmoid.prior(prior_shift)}
    if count > 1:
        learners["platt"] = Sigmoid.fit
        if frauds - -(-frauds // count) >= LEAST_FRAUDS:
            learners["isotonic"] = Isotonic.fit
    fold = _dealt(fraud, count, seed)[group]
    fitted = {kind: cross_fitted(label, score, fold, learn) for kind, learn in learners.items()}
    candidates = {kind: measure(label, probability) for kind, probability in fitted.items()}
    least = min(measured["brier"] for measured in candidates.values())
    method = next(k for k, measured in candidates.items() if measured["brier"] <= least + _TIE)
    bins = {"before": reliability(label, score), "after": reliability(label, fitted[method])}
    before, after = measure(label, score), candidates[method]
    report = CalibrationReport(method, candidates, before, after, reliability=bins)
    return Calibrated(learners[method](label, score), report, fitted[method])


def _dealt(fraud: NDArray[np.bool_], count: int, seed: int) -> NDArray[np.intp]:
    """A fold for each group: shuffled, then dealt class by class, equal shares in every fold."""
    shuffled = np.random.default_rng(seed).permutation(len(fraud))
    fold = np.empty(len(fraud), np.intp)
    fold[shuffled[np.argsort(fraud[shuffled], kind="stable")]] = np.arange(len(fraud)) % count
    return fold


def cross_fitted(
    label: Label, score: Probability, fold: NDArray[np.intp], learn: Learn
) -> Probability:
    """Probabilities of the rows of each fold by what was learned from all other folds, (n,)."""
    probability = np.empty(len(score))
    for number in np.unique(fold):
        held_out = fold == number
        learned = learn(label[~held_out], score[~held_out])
        probability[held_out] = learned.probability(score[held_out])
    return probability


def _smoothed(label: Label) -> Probability:
    """Targets just inside 0..1, the further the fewer rows of the class, shape (n,)."""
    frauds = int(label.sum())
    return np.where(label == 1, (frauds + 1) / (frauds + 2), 1 / (len(label) - frauds + 2))


def _log_odds(score: Probability) -> Probability:
    steps = np.rint(score * _STEPS)
    odds: Probability = np.log((steps + _EDGE) / (_TOP - steps))
    return odds
