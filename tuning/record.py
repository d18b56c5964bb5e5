"""A trial of a sweep as its run in MLflow keeps it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from training.models import family, with_defaults
from training.tracking import RunStatus
from tuning.children import RunRecord
from tuning.objective import METRIC
from tuning.runs import ChildRuns
from tuning.trials import Status, Trial

_STATUS: dict[Status, RunStatus] = {
    "done": "FINISHED", "pruned": "FINISHED", "failed": "FAILED", "stopped": "KILLED",
}  # fmt: skip


def recorded_in(runs: ChildRuns) -> Callable[[Trial], None]:
    """An observer that keeps trials in MLflow, once they have begun."""

    def observe(trial: Trial) -> None:
        if trial.began:
            runs.write(record(trial))

    return observe


def record(trial: Trial) -> RunRecord:
    """What a trial says of its run; the step of its metrics is the number of folds they are of."""
    recipe, ended = trial.recipe, trial.status in _STATUS
    tags = {
        "trial": trial.number, "status": trial.status, "node": trial.node,
        # What stopped a trial is told by its status, and is not true for ever.
        "reason": trial.failure if trial.status == "failed" else "",
    }  # fmt: skip
    return RunRecord(
        key=trial.key,
        name=f"{trial.number:04d} {recipe.family}",
        params={
            "family": recipe.family, "smote": recipe.smote, "neighbours": recipe.neighbours,
            "fraud_weight": recipe.fraud_weight, "derived": recipe.derived,
            "policy": recipe.policy, "seed": recipe.seed,
            **with_defaults(family(recipe.family), recipe.params),
        },
        metrics={**trial.metrics, **({"seconds": trial.seconds} if ended else {})},
        tags={name: value for name, value in tags.items() if value},
        step=sum(name.startswith(f"{METRIC}_fold_") for name in trial.metrics),
        status=_STATUS.get(trial.status, "RUNNING"),
        texts={"threshold_curve.csv": _csv(trial.curve)} if ended and trial.curve else {},
        began=trial.began or None,
        at=trial.ended or None,
    )  # fmt: skip


def _csv(curve: Mapping[str, list[float]]) -> str:
    rows = zip(*curve.values(), strict=True)
    lines = [",".join(curve), *(",".join(f"{value:.6g}" for value in row) for row in rows)]
    return "\n".join(lines) + "\n"
