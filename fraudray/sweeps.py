"""Sweeps as their journals keep them: what is known of each, in a list and on a page."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from fraudray.order import Order
from fraudray.search import PreparedSearch
from training.bundle import package_versions
from training.errors import FraudrayError
from training.identity import fingerprint
from tuning.journal import Journal
from tuning.objective import direction
from tuning.report import SweepFacts, html
from tuning.report.facts import State
from tuning.trials import ENDED, Trial


def facts_of(name: str, order: Order, prepared: PreparedSearch, command: str) -> SweepFacts:
    """What is known of a sweep that is about to begin."""
    search, material = order.search, prepared.material
    dataset, parts = material.dataset, material.parts
    label = dataset.label[parts.train]
    gap = f", {parts.gap_days:g} days left out before each later part" if parts.gap_days else ""
    return SweepFacts(
        name=name,
        source=dataset.source,
        fingerprint=fingerprint(dataset),
        spec=dataset.spec.name,
        split=f"by {parts.method}{gap}",
        rows=len(label),
        frauds=int(label.sum()),
        folds=search.folds,
        natural=float(label.mean() / (1 - label.mean())),
        algorithm=search.algorithm,
        scheduler=search.scheduler,
        families=tuple(search.space.families),
        metric=search.metric,
        policy=search.policy,
        seed=search.seed,
        began=time.time(),
        state="running",
        space=search.space.source,
        command=command,
        packages=package_versions(),
    )


def facts_from(content: Mapping[str, Any]) -> SweepFacts:
    """Read back facts that were written as JSON.

    Raises
    ------
    FraudrayError
        If another version of fraudray wrote them.
    """
    try:
        tuples = {name: tuple(content[name]) for name in ("families", "nodes")}
        return SweepFacts(**{**content, **tuples})
    except (KeyError, TypeError) as error:
        raise FraudrayError(
            f"the sweep was kept by another version of fraudray ({error})"
        ) from None


def versions_apart(facts: SweepFacts) -> str:
    """Packages that a sweep began with in another version than is here now; empty if none."""
    now = package_versions()
    return ", ".join(
        f"{name} {then}, now {now.get(name, 'none')}"
        for name, then in facts.packages.items()
        if now.get(name) != then
    )


def overview(journal: Journal) -> dict[str, Any]:
    """What a list of sweeps says of one; of a damaged one that it is."""
    nothing = {"began": "", "ended": 0, "planned": None, "metric": "", "best": None}
    try:
        facts, trials = facts_from(journal.settings["facts"]), journal.trials()
    except FraudrayError as error:
        return {"name": journal.name, "state": "damaged", "outcome": str(error), **nothing}
    done = [facts.goodness(trial) for trial in trials if trial.status == "done"]
    return {
        "name": journal.name,
        "began": datetime.fromtimestamp(facts.began, UTC).isoformat(timespec="seconds"),
        "state": _state(journal, facts),
        "ended": sum(trial.status in ENDED for trial in trials),
        "planned": facts.planned,
        "metric": facts.metric,
        "best": direction(facts.metric) * max(done) if done else None,
        "outcome": facts.outcome,
    }


def page(name: str) -> str:
    """The report of a sweep, of one that still runs as far as it is.

    Raises
    ------
    UsageError
        If there is no such sweep.
    """
    journal = Journal(name)
    facts = facts_from(journal.settings["facts"])
    facts = replace(facts, state=_state(journal, facts))
    return html(facts, settled(journal.trials(), facts.state))


def settled(trials: list[Trial], state: State) -> list[Trial]:
    """Trials as they stand in a sweep of that state: a journal knows of ends and looks alone."""
    if state == "running":
        return trials
    return [
        t if t.status in ENDED or not t.metrics else replace(t, status="stopped") for t in trials
    ]


def _state(journal: Journal, facts: SweepFacts) -> State:
    """A sweep that says it runs, but that no process runs, was killed."""
    return "stopped" if facts.state == "running" and not journal.running else facts.state
