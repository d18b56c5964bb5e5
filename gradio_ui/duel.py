"""Two versions beside each other, and what became of the champions before, in HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gradio_ui import charts
from gradio_ui.look import (
    NOTHING,
    Raw,
    badge,
    bold,
    card,
    columns,
    empty,
    facts,
    joined,
    number,
    paragraph,
    percent,
    table,
)

if TYPE_CHECKING:  # MLflow takes seconds to import
    from training.tracking import Change, Version

_ACTIONS = {"promote": "promoted", "rollback": "rolled back to", "threshold": "given a threshold"}


def version_named(version: Version, champion: str, challenger: str | None) -> str:
    """A version in a line of a list to choose from."""
    role = {champion: ", champion", challenger: ", challenger"}.get(version.version, "")
    tags = version.tags
    pr_auc = tags.get("test_pr_auc", "")
    score = f", PR-AUC {float(pr_auc):.3f}" if _is_number(pr_auc) else ""
    return f"{version.version} ({tags.get('family', 'unknown')}{score}{role})"


def duel(
    champion: Version, theirs: Any, other: Version, its: Any, shadow: Mapping[str, Any] | None
) -> Raw:
    """The champion beside another version.

    Parameters
    ----------
    theirs, its
        Their ModelBundles.
    shadow
        What /v1/stats says of the pair, if the other one scores in its shadow.
    """
    pair = [(champion, theirs), (other, its)]
    heads = ("", *(f"Version {version.version}" for version, _ in pair))
    measured = [bundle.evaluation["test"]["metrics"] for _, bundle in pair]
    rows: list[tuple[object, ...]] = [
        ("Role", badge("champion", "pass"), "challenger" if shadow else "registered"),
        ("Family", *(bundle.card["family"] for _, bundle in pair)),
        ("Threshold", *(f"{number(b.choice.threshold)} ({b.choice.policy})" for _, b in pair)),
        ("PR-AUC", *(number(m["pr_auc"]) for m in measured)),
        ("Frauds found", *(_found(m) for m in measured)),
        ("Alerts that are fraud", *(_right(m) for m in measured)),
        ("F1", *(number(m["f1"]) for m in measured)),
        ("Alerts per 10,000", *(f"{m['alerts_per_10000']:,.1f}" for m in measured)),
        ("Cost per 10,000", *(f"{m['cost_per_10000']:,.0f}" for m in measured)),
        ("Made", *(bundle.card["made"][:16].replace("T", " ") for _, bundle in pair)),
    ]
    caption = f"Version {champion.version} beside version {other.version}, on their test rows"
    return joined(
        columns(
            card("On test rows", table(heads, rows, caption), *_comparable(theirs, its)),
            card("Precision over recall", _lines(pair)),
        ),
        card("On the payments of the last minutes", _shadow(other, shadow)),
        card("What was said of it when it was registered", _said(other)),
    )


def history(changes: Sequence[Change]) -> Raw:
    """What served when and why, the newest first."""
    if not changes:
        return empty("No change yet", "The first promotion will stand here, with its reason.")
    rows = [
        (when(change.at), f"version {change.version}", _ACTIONS[change.action],
         change.reason or NOTHING)
        for change in changes
    ]  # fmt: skip
    heads = ("When", "Which", "What", "Why")
    return table(heads, rows, "Changes of the champion, the newest first")


def shadow_of(stats: Mapping[str, Any], champion: str, other: str) -> Mapping[str, Any] | None:
    """What /v1/stats has of a challenger beside a champion."""
    return next(
        (
            pair
            for pair in stats.get("shadow", ())
            if (pair["champion"], pair["challenger"]) == (champion, other)
        ),
        None,
    )


def when(moment: float) -> str:
    """A Unix time for people."""
    return f"{datetime.fromtimestamp(moment, UTC):%d %b %Y, %H:%M:%S} UTC"


def _lines(pair: Sequence[tuple[Version, Any]]) -> Raw:
    curves = {
        f"version {version.version}": bundle.evaluation["test"]["curve"] for version, bundle in pair
    }
    lines = {n: (c["recall"], c["precision"]) for n, c in curves.items() if c["recall"]}
    if not lines:
        return paragraph("The test rows hold one kind of payment only, so there is no such line.")
    span = (0.0, 1.0)
    told = f"Precision over recall of {' and '.join(lines)}"
    return charts.lines(lines, "Recall", "Precision", [], span, span, told=told)


def _comparable(theirs: Any, its: Any) -> list[Raw]:
    mine, other = (bundle.card for bundle in (theirs, its))
    if mine["split"]["fingerprint"] == other["split"]["fingerprint"]:
        if theirs.evaluation == its.evaluation:
            said = "Both have the same files and differ in their threshold alone."
            return [
                paragraph(said, "What stands here was measured at the one they were made with.")
            ]
        return [paragraph("Both were measured on the same payments.")]
    return [
        paragraph(
            bold("Not the same payments:"),
            "each was measured on the test rows of its own data, so small differences say nothing.",
        )
    ]


def _shadow(other: Version, shadow: Mapping[str, Any] | None) -> Raw:
    if shadow is None:
        return paragraph(
            f"Version {other.version} does not score beside the champion now. "
            f"`fraudray models challenger {other.version}` lets it, and no caller notices."
        )
    mean = shadow["mean_difference"]
    return facts(
        {
            "Payments scored by both": f"{shadow['rows']:,}",
            "Decided otherwise": f"{shadow['differ']:,} "
            f"({percent(shadow['differ'] / shadow['rows'] if shadow['rows'] else None)})",
            "Mean difference of the probability": NOTHING if mean is None else f"{mean:+.4f}",
        }
    )


def _said(version: Version) -> Raw:
    tags = version.tags
    gate = {
        k.removeprefix("gate.").replace("_", " "): v
        for k, v in sorted(tags.items())
        if k.startswith("gate.")
    }
    return joined(
        paragraph(tags.get("decision", "Nothing was noted.")), facts(gate) if gate else ""
    )


def _found(m: Mapping[str, Any]) -> str:
    return f"{m['true_positives']:,} of {m['frauds']:,} ({percent(m['recall'], 1)})"


def _right(m: Mapping[str, Any]) -> str:
    alerts = m["true_positives"] + m["false_positives"]
    return f"{m['true_positives']:,} of {alerts:,} ({percent(m['precision'], 1)})"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
