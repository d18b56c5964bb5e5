"""Standings: the trials of a sweep by what became of them, the best first."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from training.models import FAMILIES, family, with_defaults
from training.threshold import Policy
from tuning.report.facts import SweepFacts
from tuning.trials import Trial

_VARYING = re.compile(r"0x[0-9a-fA-F]+|\d+")


@dataclass(frozen=True)
class Standings:
    """The trials of a sweep by what became of them.

    Attributes
    ----------
    trials
        All of them, in the order in which they were drawn.
    done
        Finished with a score, the best first; of equal ones the first drawn.
    pruned
        Given up early, the best first by the score they had so far.
    failed
        In the order in which they were drawn.
    winner
        The one that won; while nobody has chosen, the best so far; None without a finished one.
    """

    facts: SweepFacts
    trials: tuple[Trial, ...]
    done: tuple[Trial, ...]
    pruned: tuple[Trial, ...]
    failed: tuple[Trial, ...]
    winner: Trial | None

    @classmethod
    def of(cls, facts: SweepFacts, trials: Sequence[Trial]) -> Self:
        """Sort the trials of a sweep."""

        def order(trial: Trial) -> tuple[float, int]:
            score = facts.goodness(trial)
            return (math.inf if math.isnan(score) else -score, trial.number)

        drawn = tuple(sorted(trials, key=lambda t: t.number))
        ranked = sorted(drawn, key=order)
        done = tuple(t for t in ranked if t.status == "done" and not math.isnan(facts.score(t)))
        chosen = next((t for t in done if t.key == facts.winner), done[0] if done else None)
        return cls(
            facts, drawn, done,
            pruned=tuple(t for t in ranked if t.status == "pruned"),
            failed=tuple(t for t in drawn if t.status == "failed"),
            winner=chosen,
        )  # fmt: skip

    @property
    def families(self) -> list[str]:
        """Those of the finished trials, from the simplest to the most complex."""
        found = {t.recipe.family for t in self.done}
        return [name for name in FAMILIES if name in found]

    def scores_by_fold(self, trial: Trial) -> list[float]:
        """What the sweep judges by, fold by fold; empty where that is measured on all together."""
        return folds_of(trial, self.facts.metric)

    @property
    def standard_error(self) -> float | None:
        """Of the winner's mean over the folds; None where that cannot be told."""
        by_fold = self.scores_by_fold(self.winner) if self.winner else []
        if len(by_fold) < 2:
            return None
        mean = sum(by_fold) / len(by_fold)
        variance = sum((score - mean) ** 2 for score in by_fold) / (len(by_fold) - 1)
        return math.sqrt(variance / len(by_fold))

    @property
    def alike(self) -> tuple[Trial, ...] | None:
        """Trials within a standard error of the winner, best first; None where none is known."""
        error = self.standard_error
        if self.winner is None or error is None:
            return None
        least = self.facts.goodness(self.winner) - error
        return tuple(
            t for t in self.done if t.key != self.winner.key and self.facts.goodness(t) >= least
        )

    @property
    def reasons(self) -> list[tuple[str, tuple[Trial, ...]]]:
        """Why trials failed, the commonest first; numbers and addresses make no new reason."""
        found: dict[str, list[Trial]] = {}
        for trial in self.failed:
            found.setdefault(_VARYING.sub("0", trial.failure), []).append(trial)
        grouped = [
            (same[0].failure or "no reason is known", tuple(same)) for same in found.values()
        ]
        return sorted(grouped, key=lambda group: -len(group[1]))


def folds_of(trial: Trial, metric: str) -> list[float]:
    """A metric fold by fold, of the folds that the trial was judged on so far."""
    found: list[float] = []
    while (value := trial.metrics.get(f"{metric}_fold_{len(found) + 1}")) is not None:
        found.append(float(value))
    return found


def folds_seen(trial: Trial) -> int:
    """How many folds a trial was judged on, by any metric."""
    return len({name.rpartition("_")[2] for name in trial.metrics if "_fold_" in name})


def parameters(trial: Trial) -> dict[str, float]:
    """What the trial chose, defaults included: the family's parameters, then what all share."""
    recipe = trial.recipe
    chosen = with_defaults(family(recipe.family), recipe.params)
    shared = {
        "smote": recipe.smote,
        # Without resampling it has no effect, whatever it says.
        "neighbours": recipe.neighbours if recipe.smote else math.nan,
        "fraud_weight": recipe.fraud_weight,
        "derived": recipe.derived,
    }
    return {name: float(value) for name, value in {**chosen, **shared}.items()}


def told(trial: Trial) -> str:
    """A configuration in words, on one line."""
    recipe = trial.recipe
    params = with_defaults(family(recipe.family), recipe.params)
    return ", ".join([recipe.label, *(f"{name} {value:g}" for name, value in params.items())])


def policy_met(facts: SweepFacts, trial: Trial) -> bool:
    """Whether the best threshold of a trial keeps to the floor or budget of the policy."""
    policy, metrics = Policy.parse(facts.policy), trial.metrics
    if policy.kind not in ("recall", "precision") or policy.kind not in metrics:
        return True
    return float(metrics[policy.kind]) >= policy.value
