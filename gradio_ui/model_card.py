"""A model's card for the page: what it does, how that was measured, and where it is weak."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from gradio_ui import charts
from gradio_ui.look import (
    Raw,
    badge,
    bold,
    card,
    columns,
    details,
    figures,
    items,
    joined,
    number,
    paragraph,
    percent,
    table,
)

_TONES = {"error": "alert", "warning": "notice", "note": "plain"}
_ORDER = ("error", "warning", "note")


def card_html(name: str, version: str, bundle: Any) -> Raw:
    """All of the card of a version.

    Parameters
    ----------
    bundle
        The version's ModelBundle.
    """
    said, test = bundle.facts(), bundle.evaluation["test"]
    tiles = {
        tile: joined(bold(value), Raw(f"<small>{html.escape(beside)}</small>"))
        for tile, value, beside in said["tiles"]
    }
    made = bundle.card["made"][:10]
    return joined(
        card(
            joined(name, badge(f"version {version}")),
            paragraph(f"{bundle.card['family']}, made {made}. {said['lead']}"),
            figures(tiles),
            *map(paragraph, said["purpose"]),
        ),
        columns(
            card("How it decides", *map(paragraph, said["decides"])),
            card("Before you rely on it", _weak(said["weaknesses"])),
        ),
        card(
            "Measured on payments it never saw",
            _table(said["measured"], "On the test rows, at the threshold"),
        ),
        columns(_counts(test), *_line(test)),
        columns(
            card("What the score depends on", *_importance(said["importance"])),
            card("Can its probabilities be believed?", *_calibration(bundle, said)),
        ),
        card("Where it finds fewer frauds", *_slices(said)),
        *_over_time(test["over_time"]),
        card("What the audit of the data found", *_findings(bundle.card)),
        details("Beside simpler ways, on the same payments", _table(said["beside"])),
        details("What the highest scores hold", _table(said["precision_at"])),
        details(
            "How it was made",
            _table(said["made"], "Made from"), _table(said["parts"], "Parts of the data"),
            _table(said["packages"], "Packages"),
        ),
        details("What was checked, and what it is not for", items(said["checked"]),
                items(said["limits"])),
    )  # fmt: skip


def _weak(said: Sequence[str]) -> Raw:
    return items(said) if said else paragraph("No weakness stood out. That is no promise.")


def _line(test: Mapping[str, Any]) -> list[Raw]:
    """Precision over recall, with the threshold in service marked."""
    found, metrics = test["curve"], test["metrics"]
    if not found["recall"]:
        return []
    at = (metrics["recall"], metrics["precision"])
    marks = [] if None in at else [(*at, "threshold")]
    told = f"Precision over recall; the area under the line is {number(metrics['pr_auc'])}"
    line = {"precision": (found["recall"], found["precision"])}
    span = (0.0, 1.0)
    drawn = charts.lines(line, "Recall", "Precision", marks, span, span, told=told)
    return [card("Precision over recall", drawn)]


def _counts(test: Mapping[str, Any]) -> Raw:
    """The confusion matrix and where the scores lie."""
    metrics, scores = test["metrics"], test["score_histogram"]
    counts = (metrics[f"{right}_{what}"] for right, what in (
        ("true", "negatives"), ("false", "positives"),
        ("false", "negatives"), ("true", "positives"),
    ))  # fmt: skip
    return card(
        "The counts behind it",
        charts.confusion(*counts),
        paragraph("Where the probabilities of both kinds lie, as shares of each:"),
        charts.histogram(
            scores["edges"], {n: scores[n] for n in ("legitimate", "fraud")}, test["threshold"],
            x_label="probability of fraud",
        ),
    )  # fmt: skip


def _importance(ranked: Sequence[tuple[str, float]]) -> list[Raw]:
    if not ranked:
        return [paragraph("It was not measured.")]
    shown = [(name, share / 100) for name, share in ranked[:12]]
    first = f"{shown[0][0]} moves the score most, with {shown[0][1]:.0%} of all movement."
    more = len(ranked) - len(shown)
    left = [paragraph(f"{more} more fields move it less.")] if more > 0 else []
    return [paragraph(first), charts.bars(shown, form=".1%"), *left]


def _calibration(bundle: Any, said: Mapping[str, Any]) -> list[Raw]:
    """Stated and observed shares of fraud, before and after calibration."""
    parts = bundle.evaluation["calibration"]["reliability"]
    lines = {
        f"{name} calibration": (
            [b["mean_predicted"] for b in parts[name]], [b["observed"] for b in parts[name]]
        )
        for name in ("after", "before")
        if parts.get(name)
    }  # fmt: skip
    top = max((v for xy in lines.values() for part in xy for v in part), default=1.0) or 1.0
    after = parts.get("after") or []
    rows = [
        (percent(b["mean_predicted"]), percent(b["observed"]), f"{b['frauds']:,} of {b['rows']:,}")
        for b in after
    ]
    told = "Observed share of frauds over the probability stated; the nearer to even, the better"
    ends = (0.0, top)
    return [
        paragraph(said["calibration"]),
        charts.lines(
            {**lines, "as stated": (ends, ends)}, "Probability stated", "Share of frauds observed",
            [], ends, ends, told=told,
        ),
        details("The numbers", table(("Stated", "Observed", "Frauds"), rows, "After calibration"),
                _table(said["errors"], "Errors of the probability")),
    ]  # fmt: skip


def _slices(said: Mapping[str, Any]) -> list[Raw]:
    slices = said["slices"]
    weak = [row for row in slices.rows if row[-1]]
    told = (
        f"{len(weak)} of {len(slices.rows)} groups of payments are weak: so few frauds are found "
        "in them that it can hardly be chance."
        if weak
        else "In no group of payments are so few frauds found that it could not be chance."
    )
    left = said["slices_left"]
    return [
        paragraph(told),
        details("Every group", _table(slices, "Groups of payments, weak ones first"),
                paragraph(f"{left} more are in the card of the version.") if left else ""),
    ]  # fmt: skip


def _over_time(windows: Sequence[Mapping[str, Any]]) -> list[Raw]:
    if not windows:
        return []
    weeks = list(range(1, len(windows) + 1))
    lines = {
        label: (weeks, [float("nan") if w[key] is None else w[key] for w in windows])
        for key, label in (("recall", "recall"), ("precision", "precision"), ("pr_auc", "PR-AUC"))
    }
    begin, end = windows[0]["begins"][:10], windows[-1]["ends"][:10]
    told = f"Recall, precision and PR-AUC in {len(windows)} windows from {begin} to {end}"
    return [
        card(
            "How it lasted over the test rows",
            charts.lines(lines, f"window, {begin} to {end}", "Share", [], None, (0.0, 1.0),
                         told=told),
        )
    ]  # fmt: skip


def _findings(content: Mapping[str, Any]) -> list[Raw]:
    found = sorted(content["findings"], key=lambda f: _ORDER.index(f["severity"]))
    if not found:
        return [paragraph("Nothing that a person should know.")]
    grave = [f for f in found if f["severity"] != "note"]
    notes = [f for f in found if f["severity"] == "note"]
    shown = [items(map(_finding, grave))] if grave else [paragraph("No error and no warning.")]
    if notes:
        shown.append(details(f"{len(notes)} notes", items(map(_finding, notes))))
    return shown


def _finding(found: Mapping[str, Any]) -> Raw:
    severity, column = found["severity"], found["column"]
    about = bold(f"{column}:") if column else ""
    return joined(badge(severity, _TONES[severity]), about, found["message"])  # type: ignore[arg-type]


def _table(content: Any, caption: str = "") -> Raw:
    """One of the card's own tables; what is compared stands to the right."""
    rows = [
        [cell if place in content.words else _figure(cell) for place, cell in enumerate(row)]
        for row in content.rows
    ]
    return table(content.head, rows, caption)


def _figure(cell: str) -> Raw:
    return Raw(f'<span class="fr-figure">{html.escape(cell)}</span>')
