"""What people read in the terminal of an audit, a sweep, a model and a file's drift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fraudray.output import console, number
from fraudray.pipeline import Published
from training.audit import Audit
from training.audit.probe import Probe
from training.drift import ScoreDrift
from training.drift.file import FileDrift
from training.errors import printable
from training.reference import LARGE, MODERATE
from training.tracking import Version

_SHIFT = {"large": "yellow", "moderate": "cyan", "steady": "dim"}
_SEVERITY = {"error": "red", "warning": "yellow", "note": "cyan"}
_NAMED = 10  # columns in a line
_PAGE = 30  # columns on one page of a terminal
_SHAPES_FROM = 100  # characters of width from which shapes have room
_CELLS = 10  # of a shape
_BLOCKS = " ▁▂▃▄▅▆▇█"


def audit_report(report: Audit, *, brief: bool = False) -> None:
    """Write an audit in plain words, on one page.

    Parameters
    ----------
    brief
        Only the head and the findings, on standard error: it stands before another result.
    """
    out = console(error=brief)
    head = Text(f"Audit of {printable(report.source)}", "bold")
    parts = ", ".join(
        f"{name} {part['rows']:,} rows with {part['frauds']:,} frauds"
        for name, part in report.parts.items()
    )
    gap = f" with a gap of {report.gap_days:g} days" if report.gap_days else ""
    out.print(
        head + f": {report.rows:,} rows, {report.frauds:,} frauds "
        f"({report.frauds / report.rows:.2%}), split by {report.split_by}{gap}: {parts}",
        soft_wrap=True,
    )
    for finding in report.findings:
        severity = Text(f"  {finding.severity}", _SEVERITY[finding.severity])
        out.print(severity + f": {printable(finding.message)}.", soft_wrap=True)
    if not report.findings:
        out.print("  nothing suspicious found")
    if brief:
        return
    _columns(report, out)
    if report.probe is not None:
        _probe(report.probe, out)


def _columns(report: Audit, out: Console) -> None:
    """The columns that tell most about the label first, with their shape where there is room."""
    ranked = sorted(report.columns, key=lambda c: -max(c.skill, c.missing_skill))
    shapes = out.width >= _SHAPES_FROM and out.encoding.startswith("utf")
    heads = [
        "column", "type", "distinct", "skill",
        "missing\nlegit.", "missing\nfraud", "absence\nskill",
    ]  # fmt: skip
    shown = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False, collapse_padding=True)
    for place, head in enumerate([*heads, "legitimate", "fraud"] if shapes else heads):
        shown.add_column(head, justify="right" if 2 <= place <= 6 else "left", no_wrap=True)
    shown.columns[0].max_width = 24
    for c in ranked[:_PAGE]:
        shares = [f"{c.missing_legitimate:.1%}", f"{c.missing_fraud:.1%}"]
        cells = [printable(c.name), c.type, f"{c.distinct:,}", f"{c.skill:.2f}"]
        cells += [*shares, f"{c.missing_skill:.2f}"]
        if shapes:
            cells += [_shape(c.histogram.legitimate), _shape(c.histogram.fraud)]
        shown.add_row(*cells)
    out.print(shown)
    more = f"; {len(ranked) - _PAGE} more columns tell less" if len(ranked) > _PAGE else ""
    out.print(
        "  of the training rows; skill: the column alone, absence: the mere lack of a value\n"
        f"  (0 is chance and 1 is perfect){more}",
        style="dim",
        soft_wrap=True,
    )


def _shape(counts: Sequence[int]) -> str:
    """A histogram in a few characters, its highest bar at full height."""
    step = -(-len(counts) // _CELLS) or 1
    bars = [sum(counts[i : i + step]) for i in range(0, len(counts), step)]
    most = max(bars, default=0)
    return "".join(_BLOCKS[-(-bar * (len(_BLOCKS) - 1) // most)] if most else " " for bar in bars)


def _probe(found: Probe, out: Console) -> None:
    out.print(
        f"  Quick models on {found.fitted:,} training rows, measured on {found.rows:,} others "
        f"({found.frauds:,} frauds), at the highest F1:",
        soft_wrap=True,
    )
    kept = f"all columns but {_names(found.left_out)}" if found.left_out else "all columns"
    for trial in found.trials:
        name = f"without {_names(trial.without)} too" if trial.without else kept
        name = name if found.left_out else name.removesuffix(" too")
        out.print(
            f"    PR-AUC {trial.pr_auc:.3f}  precision {trial.precision:.2f}  "
            f"recall {trial.recall:.2f}  {name}",
            soft_wrap=True,
        )


def _names(columns: Sequence[str]) -> str:
    told = ", ".join(columns[:_NAMED])
    more = f" and {len(columns) - _NAMED:,} more" if len(columns) > _NAMED else ""
    return printable(told + more)


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


def drift_report(found: FileDrift, version: Version) -> None:
    """Write how far a file is from what a version was made from, the furthest field first."""
    drift, out = found.drift, console()
    times = f" from {found.begins} to {found.ends}" if found.begins else ""
    head = Text(f"Drift of {printable(found.source)}", "bold")
    out.print(
        head + f": {drift.rows:,} payments{times} beside those that {version.model} version "
        f"{version.version} was made from; alerts on {found.alert_rate:.2%}, expected on "
        f"{found.expected_alert_rate:.2%}",
        soft_wrap=True,
    )
    shown = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False, collapse_padding=True)
    for name in ("field", "PSI", "chance", "what moved"):
        shown.add_column(name, justify="right" if name in ("PSI", "chance") else "left",
                         overflow="fold")  # fmt: skip
    shifts: list[tuple[str, ScoreDrift]] = [(printable(f.name), f) for f in drift.fields]
    if drift.score:
        shifts.append(("(scores)", drift.score))
    for name, shift in shifts:
        told = Text(printable(shift.told()), _SHIFT[shift.level])
        shown.add_row(name, f"{shift.psi:.3f}", f"{shift.chance:.3f}", told)
    out.print(shown)
    out.print(
        f"  PSI above {MODERATE:g} is a moderate shift, above {LARGE:g} a large one, unless chance "
        f"alone gives as much",
        style="dim", soft_wrap=True,
    )  # fmt: skip
    if left_out := found.left_out():
        out.print(f"  {printable(left_out)}.", soft_wrap=True)


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
