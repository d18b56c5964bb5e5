"""Which trial wins, and whether its model may replace the champion."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Self

import numpy as np

from training.bundle import ModelBundle
from training.data import Dataset
from training.errors import FraudrayError
from training.evaluate import Metrics
from training.evaluate.intervals import Groups, difference
from training.models import FAMILIES, family, with_defaults
from training.split import groups
from training.threshold import Policy
from tuning.objective import METRIC, direction
from tuning.trials import Trial, trees

TIE: Final = 1e-6
"""Scores that are this close to the best equal it: the simpler model wins."""
ENOUGH_FRAUDS: Final = 20
"""Fewer frauds than this cannot tell two models apart; copies of a payment count once."""

Promotion = Literal["auto", "never", "always"]
"""Whether a version becomes champion: if it is better, never, or in any case."""

_DECIDED: Final = {
    "precision": ("precision", ".2f"),
    "recall": ("recall", ".2f"),
    "cost_per_10000": ("cost per 10,000", ",.0f"),
}


@dataclass(frozen=True)
class Verdict:
    """Whether a version becomes champion, and why.

    Attributes
    ----------
    reason
        For people, one line.
    figures
        For machines: `rows` and `frauds` compared on; PR-AUC, precision, recall and cost of both
        models, the champion's with `champion_` in front; `difference`, `low` and `high`. Fewer of
        them where nothing could be compared, none without a champion.
    """

    promote: bool
    reason: str
    figures: Mapping[str, float] = field(default_factory=dict)


def winner(trials: Sequence[Trial], metric: str = METRIC) -> Trial:
    """The trial with the best score; of equal ones the simplest and fastest, then the first drawn.

    Simpler is the earlier family, then fewer trees or rounds, shallower ones, less resampling, no
    weights, and no derived features. How long a trial took is no tie-breaker: it would make the
    winner depend on the machine.

    Parameters
    ----------
    trials
        Of a sweep, in any order; only those judged on every fold may win.
    metric
        One of `tuning.objective.METRICS`.

    Raises
    ------
    FraudrayError
        If no trial has been judged on every fold.
    UsageError
        If there is no such metric.
    """
    sign = direction(metric)
    scores = [(sign * t.metrics.get(metric, math.nan), t) for t in trials if t.status == "done"]
    known = [(score, trial) for score, trial in scores if math.isfinite(score)]
    if not known:
        raise FraudrayError(_without_a_winner(trials, metric))
    best = max(score for score, _ in known)
    return min((trial for score, trial in known if score >= best - TIE), key=_complexity)


def gate(
    candidate: ModelBundle,
    champion: ModelBundle | None,
    rows: Dataset,
    *,
    promote: Promotion = "auto",
    seed: int = 0,
) -> Verdict:
    """Compare a candidate with the champion on the same rows, none of which either has seen.

    The candidate is better if the whole 95 % interval of the difference in PR-AUC lies above 0;
    whoever cannot be told from the champion leaves it in place. What the thresholds decide is
    recorded beside it and decides nothing: policies may differ on purpose, so that fewer alerts or
    a higher recall need not be a better model. Costs are those of the candidate's policy for both.

    Parameters
    ----------
    rows
        Labelled rows the candidate was not made from; those that equal a row either model learned
        from are left out here.
    promote
        `auto`: if it is better, or there is no champion. Otherwise as it says, with the comparison
        in the reason all the same.
    seed
        Of the resamples.
    """
    if champion is None:
        return _decided(promote, True, "no champion before it", {})
    fresh = rows.take(~(candidate.has_learned_from(rows) | champion.has_learned_from(rows)))
    frauds = int(fresh.label.sum()) if len(fresh) else 0
    counts = {"rows": float(len(fresh)), "frauds": float(frauds)}
    together = groups(fresh, candidate.card["split"]["method"]) if frauds else None
    alone = len(np.unique(together[fresh.label == 1])) if together is not None else 0
    if alone < ENOUGH_FRAUDS or frauds == len(fresh):
        copies = f" ({alone} without copies)" if alone < frauds else ""
        reason = (
            f"not compared: {len(fresh):,} rows that neither model has seen hold {frauds} frauds"
            f"{copies}, at least {ENOUGH_FRAUDS} and some legitimate rows are needed"
        )
        return _decided(promote, False, reason, counts)
    compared = _Comparison.of(candidate, champion, fresh, together, seed)
    return _decided(promote, compared.low > 0, str(compared), counts | compared.figures())


@dataclass(frozen=True)
class _Comparison:
    """Two models measured on the same rows, each at its own threshold."""

    ours: Metrics
    theirs: Metrics
    difference: float
    low: float
    high: float

    @classmethod
    def of(
        cls, candidate: ModelBundle, champion: ModelBundle, fresh: Dataset, together: Groups,
        seed: int,
    ) -> Self:  # fmt: skip
        costs = Policy.parse(candidate.choice.policy).row_costs(fresh)
        scores = [model.score(fresh.columns) for model in (candidate, champion)]
        ours, theirs = (
            Metrics.of(fresh.label, score, model.choice.threshold, **costs)
            for model, score in zip((candidate, champion), scores, strict=True)
        )
        # Where hardly a resample holds both classes, nothing is known of the difference.
        found = difference(fresh.label, *scores, groups=together, seed=seed)
        value, (low, high) = found or (0.0, (-1.0, 1.0))
        return cls(ours, theirs, value, low, high)

    def __str__(self) -> str:
        ours, theirs, state = self.ours, self.theirs, "cannot be told apart"
        if self.low > 0 or self.high < 0:
            state = "better" if self.low > 0 else "worse"
        decided = ", ".join(
            f"{name} {_told(getattr(ours, key), shown)} against "
            f"{_told(getattr(theirs, key), shown)}"
            for key, (name, shown) in _DECIDED.items()
        )
        return (
            f"{state}: difference {_signed(self.difference)}, 95 % interval {_signed(self.low)} "
            f"to {_signed(self.high)}; PR-AUC {ours.pr_auc:.4f} against the champion's "
            f"{theirs.pr_auc:.4f} on {ours.rows:,} rows with {ours.frauds} frauds that neither has "
            f"seen; at its own threshold each, {decided}"
        )

    def figures(self) -> dict[str, float]:
        measured = {
            f"{prefix}{name}": getattr(metrics, name)
            for prefix, metrics in (("", self.ours), ("champion_", self.theirs))
            for name in ("pr_auc", *_DECIDED)
        }
        known = {name: value for name, value in measured.items() if value is not None}
        return {"difference": self.difference, "low": self.low, "high": self.high, **known}


def _decided(
    promote: Promotion, better: bool, reason: str, figures: Mapping[str, float]
) -> Verdict:
    if promote == "auto":
        return Verdict(better, reason, figures)
    return Verdict(promote == "always", f"promote {promote} was asked for; {reason}", figures)


def _complexity(trial: Trial) -> tuple[float, ...]:
    recipe = trial.recipe
    params = with_defaults(family(recipe.family), recipe.params)
    return (
        list(FAMILIES).index(recipe.family),
        trees(recipe) or 0,
        params.get("max_depth", 0),
        recipe.smote,
        abs(math.log(recipe.fraud_weight)),
        recipe.derived,
        trial.number,
    )


def _without_a_winner(trials: Sequence[Trial], metric: str) -> str:
    states = Counter(trial.status for trial in trials)
    told = ", ".join(f"{count} {state}" for state, count in states.most_common()) or "none"
    failures = Counter(trial.failure for trial in trials if trial.failure)
    cause = f"; the commonest failure: {failures.most_common(1)[0][0]}" if failures else ""
    return f"no trial can win: at least one must be done with a {metric}; there are {told}{cause}"


def _told(value: float | None, shown: str) -> str:
    return "none" if value is None else format(value, shown)


def _signed(value: float) -> str:
    return f"{round(value, 4) + 0.0:+.4f}"  # adding 0 turns -0 into 0
