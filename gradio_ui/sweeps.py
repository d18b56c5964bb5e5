"""A sweep in HTML: what was tried, what is best so far, and what mattered."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gradio_ui import charts
from gradio_ui.look import (
    Raw,
    badge,
    card,
    columns,
    details,
    facts,
    figures,
    items,
    joined,
    link,
    number,
    paragraph,
)

if TYPE_CHECKING:  # MLflow takes seconds to import
    from training.tracking import Run

LABELS = {
    "pr_auc": "PR-AUC", "roc_auc": "ROC-AUC", "f1": "F1", "precision": "Precision",
    "recall": "Recall", "cost_per_10000": "Cost per 10,000",
    "alerts_per_10000": "Alerts per 10,000",
}  # fmt: skip
"""Metrics as people read them."""

_LESS_IS_BETTER = ("cost_per_10000",)
_STATES = {
    "RUNNING": "running", "FINISHED": "done", "FAILED": "failed", "KILLED": "stopped",
}  # fmt: skip
_PLACES = ("done", "running", "pruned", "stopped", "failed")


def metric_of(sweep: Run) -> str:
    """What a sweep's trials are judged by."""
    return sweep.params.get("sweep.metric", "pr_auc")


def state_of(run: Run) -> str:
    """What became of a sweep or a trial, in a word."""
    return run.tags.get("status") or _STATES.get(run.status, run.status.lower())


def score_of(sweep: Run, trial: Run) -> float:
    """What a trial is judged by; NaN where it has nothing yet."""
    return trial.metrics.get(metric_of(sweep), math.nan)


def ranked(sweep: Run, trials: Sequence[Run]) -> list[Run]:
    """Trials, finished ones first, the best on top; of equal ones the first drawn."""
    turn = 1 if metric_of(sweep) in _LESS_IS_BETTER else -1

    def order(trial: Run) -> tuple[int, float, int]:
        state, score = state_of(trial), turn * score_of(sweep, trial)
        place = _PLACES.index(state) if state in _PLACES else len(_PLACES)
        return place, math.inf if math.isnan(score) else score, _number(trial)

    return sorted(trials, key=order)


def named(sweep: Run) -> str:
    """A sweep in a line of a list to choose from."""
    best = sweep.metrics.get(f"best_{metric_of(sweep)}")
    score = "" if best is None else f", best {label_of(metric_of(sweep))} {number(best)}"
    return f"{sweep.name} ({state_of(sweep)}, {when(sweep.began)}{score})"


def trial_named(sweep: Run, trial: Run) -> str:
    """A trial in a line of a list to choose from."""
    score = score_of(sweep, trial)
    told = state_of(trial) if math.isnan(score) else f"{label_of(metric_of(sweep))} {number(score)}"
    return f"{trial.name} ({told})"


def overview(sweep: Run, trials: Sequence[Run], importance: str | None, page: str | None) -> Raw:
    """All of a sweep but its table.

    Parameters
    ----------
    importance
        What the sweep's run keeps as `importance.csv`, if it does.
    page
        Where MLflow's page shows the run, if it runs.
    """
    states = [state_of(trial) for trial in trials]
    done = [trial for trial in ranked(sweep, trials) if state_of(trial) == "done"]
    goes_on = sweep.status == "RUNNING"
    label = label_of(metric_of(sweep))
    large: dict[str, object] = {
        f"Best {label}": number(score_of(sweep, done[0])) if done else None,
        "Trials done": f"{len(done):,}",
        **{f"Trials {name}": states.count(name) for name in _PLACES[1:] if name in states},
        "Time": duration(sweep),
    }
    settings = {
        k.removeprefix("sweep.").replace("_", " "): v
        for k, v in sorted(sweep.params.items())
        if k.startswith("sweep.") and not v.startswith("{")
    }
    state = badge(state_of(sweep), "notice" if goes_on else "plain")
    told = "This page follows it as it goes on." if goes_on else f"It began {when(sweep.began)}."
    first = card(
        joined(Raw("Sweep "), sweep.name), paragraph(state, told), figures(large),
        paragraph(link("Open it in MLflow", page)) if page else "",
        details("What was searched, and how", facts(settings)),
    )  # fmt: skip
    return joined(
        first,
        columns(
            card(f"{label} over time", _progress(sweep, trials)),
            card("What mattered", *_importance(importance)),
        ),
    )


def when(moment: float | None) -> str:
    """A Unix time for people."""
    if moment is None:
        return "at an unknown time"
    return f"{datetime.fromtimestamp(moment, UTC):%d %b %Y, %H:%M} UTC"


def _progress(sweep: Run, trials: Sequence[Run]) -> Raw:
    """The score of every trial where it ended, and the best so far."""
    ended = sorted(
        (trial.ended, score_of(sweep, trial))
        for trial in trials
        if trial.ended is not None
        and state_of(trial) == "done"
        and not math.isnan(score_of(sweep, trial))
    )
    if not ended:
        return paragraph("No trial has ended with a score yet.")
    begin = min(trial.began or math.inf for trial in trials)
    better = min if metric_of(sweep) in _LESS_IS_BETTER else max
    unit, seconds = ("minutes", 60.0) if ended[-1][0] - begin > 120 else ("seconds", 1.0)
    minutes = [(at - begin) / seconds for at, _ in ended]
    scores = [score for _, score in ended]
    so_far = [better(scores[: i + 1]) for i in range(len(scores))]
    best = so_far[-1]
    label = label_of(metric_of(sweep))
    return charts.lines(
        {"best so far": (minutes, so_far), "each trial": (minutes, scores)},
        f"{unit} since the first trial began", label,
        told=f"{label} of {len(ended):,} finished trials over time; the best is {number(best)}, "
        f"reached after {minutes[scores.index(best)]:.3g} {unit}",
        dots=("each trial",),
    )  # fmt: skip


def _importance(content: str | None) -> list[Raw]:
    """Bars of how much each parameter counts, or why nothing can be said."""
    if content is None:
        return [paragraph("This is told once some trials have ended.")]
    groups: dict[str, list[dict[str, str]]] = {}
    for row in csv.DictReader(io.StringIO(content)):
        groups.setdefault(row["about"], []).append(row)
    said = [Raw("")]
    silent = []
    for about, rows in groups.items():
        if rows[0]["silence"]:
            silent.append(f"{about}: {rows[0]['silence']}.")
            continue
        chance = float(rows[0]["chance"])
        entries = [
            (row["parameter"] + ("" if float(row["share"]) > chance else " (may be chance)"),
             max(float(row["share"]), 0.0))
            for row in rows
        ]  # fmt: skip
        said.append(paragraph(f"{about}, {rows[0]['trials']} trials"))
        said.append(charts.bars(entries, form=".0%"))
    if len(said) > 1:
        said[0] = paragraph(
            "How much worse the score of a trial can be foretold when this setting is not known."
        )
    return [*said, items(silent)] if silent else said


def _number(trial: Run) -> int:
    told = trial.tags.get("trial", "")
    return int(told) if told.isdigit() else 0


def label_of(metric: str) -> str:
    """A metric as people read it."""
    return LABELS.get(metric, metric)


def duration(run: Run) -> str:
    """How long a run took, or has taken so far."""
    if run.began is None:
        return number(None)
    seconds = (run.ended or datetime.now(UTC).timestamp()) - run.began
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.1f} min"
