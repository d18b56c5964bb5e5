"""The trials of a sweep in HTML: the best of them in a table, and each with its curve."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from gradio_ui import charts
from gradio_ui.look import (
    Raw,
    badge,
    card,
    columns,
    facts,
    joined,
    link,
    number,
    paragraph,
    table,
)
from gradio_ui.sweeps import LABELS, duration, label_of, metric_of, ranked, state_of

if TYPE_CHECKING:
    from training.tracking import Run

MOST_SHOWN = 50
"""Trials in the table; MLflow has them all."""

_SHARED = ("family", "smote", "neighbours", "fraud_weight", "derived", "policy", "seed")


def leaderboard(sweep: Run, trials: Sequence[Run]) -> Raw:
    """The trials, the best first; each leads to its own curve."""
    metric = metric_of(sweep)
    shown = [metric, *(name for name in LABELS if name not in (metric, "roc_auc", "f1"))]
    best = ranked(sweep, trials)
    rows = [
        (
            place,
            link(trial.name, _address(sweep, trial)),
            state_of(trial), settings_of(trial),
            *(_metric(name, trial.metrics.get(name)) for name in shown),
            Raw(duration(trial).replace(" ", "&nbsp;")),
        )
        for place, trial in enumerate(best[:MOST_SHOWN], 1)
    ]  # fmt: skip
    heads = ("", "Trial", "State", "Settings", *map(label_of, shown), "Took")
    left = len(best) - MOST_SHOWN
    more = paragraph(f"{left:,} more trials are in MLflow.") if left > 0 else ""
    return joined(table(heads, rows, f"Trials of {sweep.name}, the best first"), more)


def trial_html(trial: Run, curve: str | None, page: str | None) -> Raw:
    """One trial with its threshold curve.

    Parameters
    ----------
    curve
        What its run keeps as `threshold_curve.csv`; None where it has none yet.
    """
    metrics = {label_of(k): _metric(k, trial.metrics.get(k)) for k in LABELS}
    failure = trial.tags.get("reason", "")
    first = card(
        joined(Raw("Trial "), trial.name),
        paragraph(badge(state_of(trial), "alert" if failure else "plain"), failure),
        facts({"Settings": settings_of(trial), **metrics, "Took": duration(trial)}),
        paragraph(link("Open it in MLflow", page)) if page else "",
    )
    if curve is None:
        why = "It is still being tried." if trial.status == "RUNNING" else "It left no curve."
        return joined(first, card("Threshold curve", paragraph(why)))
    return columns(first, card("Threshold curve", *_curves(trial, _columns_of(curve))))


def settings_of(trial: Run) -> str:
    """What a trial chose, short."""
    params = trial.params
    own = [f"{k} {_short(v)}" for k, v in params.items() if k not in _SHARED]
    smote = params.get("smote", "0")
    if smote not in ("0", "0.0"):
        own.append(f"SMOTE {_short(smote)} of {params.get('neighbours', '?')} neighbours")
    if params.get("fraud_weight", "1") not in ("1", "1.0"):
        own.append(f"frauds weigh {_short(params['fraud_weight'])}")
    if params.get("derived") == "False":
        own.append("no derived features")
    return ", ".join(own)


def _curves(trial: Run, found: Mapping[str, list[float]]) -> list[Raw]:
    """Precision over recall, and both over the threshold, with the best threshold marked."""
    precision, recall, threshold = (found[n] for n in ("precision", "recall", "threshold"))
    at = [trial.metrics.get(n, math.nan) for n in ("threshold", "precision", "recall")]
    known = not any(map(math.isnan, at))
    words = f"threshold {number(at[0])}"
    span = (0.0, 1.0)
    return [
        charts.lines(
            {"precision": (recall, precision)}, "Recall", "Precision",
            [(at[2], at[1], words)] if known else [], span, span,
            told=f"Precision over recall of {trial.name}"
            + (f"; at {words}, precision {at[1]:.2f} and recall {at[2]:.2f}" if known else ""),
        ),
        charts.lines(
            {"precision": (threshold, precision), "recall": (threshold, recall)},
            "Threshold", "Share", [], span, span,
            told=f"Precision and recall of {trial.name} over every threshold",
        ),
    ]  # fmt: skip


def _columns_of(content: str) -> dict[str, list[float]]:
    rows = list(csv.DictReader(io.StringIO(content)))
    names = rows[0] if rows else ("threshold", "precision", "recall")
    return {name: [float(row[name]) for row in rows] for name in names}


def _short(value: str) -> str:
    try:
        return f"{float(value):.4g}"
    except ValueError:
        return value


def _address(sweep: Run, trial: Run) -> str:
    return f"/experiments?{urlencode({'sweep': sweep.run_id, 'trial': trial.run_id})}"


def _metric(name: str, value: float | None) -> str:
    if value is None:
        return number(None)
    return f"{value:,.0f}" if name.endswith("per_10000") else f"{value:.4f}"
