"""What people read in the terminal of an audit, a sweep and a model."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.text import Text

from fraudray.output import console, number, say
from fraudray.pipeline import Published
from training.audit import Audit
from tuning.callbacks import TrialEnd

_SEVERITY = {"error": "red", "warning": "yellow", "note": "cyan"}


def audit_report(report: Audit, *, error: bool = False) -> None:
    """Write an audit in plain words."""
    out = console(error=error)
    head = Text(f"Audit of {report.source}", "bold")
    parts = ", ".join(
        f"{name} {part['rows']:,} rows with {part['frauds']:,} frauds"
        for name, part in report.parts.items()
    )
    out.print(
        head + f": {report.rows:,} rows, {report.frauds:,} frauds "
        f"({report.frauds / report.rows:.2%}), split by {report.split_by}: {parts}",
        soft_wrap=True,
    )
    for finding in report.findings:
        severity = Text(f"  {finding.severity}", _SEVERITY[finding.severity])
        out.print(severity + f": {finding.message}.", soft_wrap=True)
    if not report.findings:
        out.print("  nothing suspicious found")


def published_report(published: Published) -> None:
    """Write what was made, how it measured, and whether it serves."""
    bundle, version = published.bundle, published.version
    card, test = bundle.card, bundle.card["metrics"]["test"]
    smote = f"SMOTE ratio {card['smote']:g}" if card["smote"] else "no resampling"
    state = "is the champion" if version.champion else "is not promoted"
    missed = "" if bundle.choice.met else " (no threshold meets the policy; this comes nearest)"
    out = console()
    head = Text(f"{version.model} version {version.version}", "bold")
    out.print(head + f" {state}: {published.verdict.reason}", soft_wrap=True)
    for name, told in (
        ("model", f"{card['family']}, {smote}, {settings(card['params'])}"),
        (
            "threshold",
            f"{bundle.choice.threshold:.4f}, chosen by {bundle.choice.policy} on the validation "
            f"rows{missed}",
        ),
        ("test", measured(test)),
    ):
        out.print(f"  {name:<10} {told}", soft_wrap=True)


def measured(metrics: Mapping[str, Any]) -> str:
    """Metrics with the counts behind them, in a line."""
    tp, fp, fn = (metrics[k] for k in ("true_positives", "false_positives", "false_negatives"))
    return (
        f"precision {number(metrics['precision'])} ({tp:,} of {tp + fp:,} alerts are fraud), "
        f"recall {number(metrics['recall'])} ({tp:,} of {tp + fn:,} frauds found), "
        f"PR-AUC {number(metrics['pr_auc'])}, at natural prevalence "
        f"({metrics['frauds']:,} frauds in {metrics['rows']:,} rows)"
    )


def settings(params: Mapping[str, float]) -> str:
    """Parameters in a line."""
    return ", ".join(f"{name} {value:g}" for name, value in params.items())


class SweepView:
    """Tells of a sweep's trials as they end, one line each, readable when piped."""

    def __init__(self) -> None:
        self.best = -1.0
        self.started = time.monotonic()

    def __call__(self, end: TrialEnd) -> None:
        """Write the line of one trial."""
        recipe, metrics = end.config["recipe"], end.result
        left = end.seconds / end.done * (end.total - end.done)
        head = f"  {end.done:>3}/{end.total}  {recipe['family']:<19} SMOTE {recipe['smote']:<6g}"
        if end.failure:
            say(f"{head} failed: {end.failure}")
            return
        mark = "*" if metrics["pr_auc"] > self.best else " "
        self.best = max(self.best, metrics["pr_auc"])
        say(
            f"{head} PR-AUC {metrics['pr_auc']:.4f}{mark} precision {metrics['precision']:.2f} "
            f"recall {metrics['recall']:.2f}  best {self.best:.4f}  about {left:.0f} s left"
        )
