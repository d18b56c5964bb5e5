"""SweepFacts: what is known of a sweep beside its trials."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tuning.objective import direction
from tuning.trials import Trial

State = Literal["running", "done", "stopped", "failed"]
"""`stopped`: by a person, or killed. `failed`: it ended with an error. Both can be resumed."""

LABELS = {
    "pr_auc": "PR-AUC",
    "roc_auc": "ROC-AUC",
    "f1": "F1",
    "precision": "Precision",
    "recall": "Recall",
    "cost_per_10000": "Cost per 10,000",
    "alerts_per_10000": "Alerts per 10,000",
}


@dataclass(frozen=True)
class SweepFacts:
    """What is known of a sweep beside its trials.

    Attributes
    ----------
    source, fingerprint, spec
        The file, what names its content, and the schema that it was read by.
    split
        How the rows are parted, in words, as in "by time, 7 days left out before each later part".
    rows, frauds
        Of the training rows: all that the sweep sees.
    natural
        Frauds per legitimate row, as they come.
    families
        Of the space, those that were searched.
    metric
        What the trials are judged by: one of `tuning.objective.METRICS`.
    began, ended
        Unix time; `ended` is 0 while it runs.
    planned
        Trials that there were to be; None where nobody knows.
    nodes
        Addresses of the nodes it ran on.
    winner
        Key of the trial that won; None where none did, or has yet.
    outcome
        What became of the winner, in a sentence: the version, and whether it was promoted.
    space
        Name or file of the space.
    command
        What repeats the sweep, as it is typed; empty where nobody knows.
    currency
        Unit of the costs; empty without one.
    settings
        Further settings worth a line, as {"Time budget": "600 s"}.
    packages
        Versions that it ran with.
    """

    name: str
    source: str
    fingerprint: str
    spec: str
    split: str
    rows: int
    frauds: int
    folds: int
    natural: float
    algorithm: str
    scheduler: str
    families: tuple[str, ...]
    metric: str
    policy: str
    seed: int
    began: float
    state: State
    ended: float = 0.0
    planned: int | None = None
    nodes: tuple[str, ...] = ()
    winner: str | None = None
    outcome: str = ""
    space: str = "default"
    command: str = ""
    currency: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The metric as people read it, with its unit."""
        told = LABELS.get(self.metric, self.metric)
        unit = f" ({self.currency})" if self.currency and self.metric.startswith("cost") else ""
        return told + unit

    @property
    def higher_is_better(self) -> bool:
        """Which way the metric is better."""
        return direction(self.metric) > 0

    def score(self, trial: Trial) -> float:
        """What a trial is judged by; NaN where it has none yet."""
        value = float(trial.metrics.get(self.metric, math.nan))
        return value if math.isfinite(value) else math.nan

    def goodness(self, trial: Trial) -> float:
        """The score, so turned that higher is better."""
        return direction(self.metric) * self.score(trial)
