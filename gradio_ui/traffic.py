"""The last minutes of the graph in HTML, from what /v1/stats says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gradio_ui import charts
from gradio_ui.drift import drift
from gradio_ui.look import (
    NOTHING,
    Raw,
    badge,
    card,
    columns,
    empty,
    facts,
    figures,
    joined,
    milliseconds,
    number,
    paragraph,
    percent,
    table,
)

REFUSALS = {
    "invalid": "the content was wrong", "not-ready": "no version was ready",
    "decision-log": "the log of decisions was away", "key": "no key that is known",
    "overload": "too much waited", "deadline": "no answer in time",
    "too-large": "the body was too large", "unknown": "no such path or version",
    "error": "something unforeseen", "broken": "the body broke off",
    "slow": "the body took too long to arrive", "content-type": "no content type that is read",
    "method": "another method than the path has", "order": "an order was not carried out",
}  # fmt: skip


def traffic(stats: Mapping[str, Any], about: Mapping[str, Any]) -> Raw:
    """All of it.

    Parameters
    ----------
    stats, about
        As /v1/stats and /v1/model answer.
    """
    timeline: Sequence[Mapping[str, Any]] = stats["timeline"]
    minutes = f"{stats['seconds'] / 60:g}"
    scored = sum(_rows(stats).values())
    decided = _of_role(stats, "champion")
    alerts = decided.get("1", 0)
    head = card(
        joined(about["name"], badge(f"version {about['version']}")),
        paragraph(f"What it did in the last {minutes} minutes."),
        figures(
            {
                "Payments decided": f"{scored:,}",
                "Alerts": f"{alerts:,}",
                "Share of alerts": percent(stats["alert_rate"]),
                "Requests refused": f"{sum(stats['refused'].values()):,}",
                "Slowest in a hundred": milliseconds(_slowest(stats)),
            }
        ),
    )
    if not scored and not any(step["requests"] for step in timeline):
        nothing = (
            "Score a payment on the first page, or send one, and it shows here within seconds."
        )
        rest = (*drift(stats), *_quality(stats), _log(stats))
        return joined(head, empty("Nothing was asked yet", nothing), *rest)
    back = [(step["at"] - timeline[-1]["at"]) / 60 for step in timeline]
    return joined(
        head,
        columns(
            card("Requests", _over(back, timeline, "requests", "requests in 15 s")),
            card("Alerts", _over(back, timeline, "alerts", "alerts in 15 s")),
        ),
        columns(
            card("Latency", _over(back, timeline, "p99_ms", "p99 in ms"), _latencies(stats)),
            card("Scores", *_scores(stats, float(about["threshold"]))),
        ),
        columns(card("Decisions", _decisions(stats)), card("Refusals", _refused(stats))),
        *_shadow(stats), *drift(stats), *_quality(stats), _log(stats),
    )  # fmt: skip


def _over(
    back: Sequence[float], timeline: Sequence[Mapping[str, Any]], key: str, label: str
) -> Raw:
    """One measure over the last minutes."""
    values = [step[key] for step in timeline]
    known = [v for v in values if v is not None]
    if not known:
        return paragraph("Nothing was answered, so there is nothing to measure.")
    top = max(*known, 1.0) * 1.05
    told = f"{label}: {number(known[-1])} at last, at most {number(max(known))}"
    drawn = [float("nan") if v is None else float(v) for v in values]
    return charts.lines(
        {label: (back, drawn)}, "minutes before now", label, [], (min(back), 0.0), (0.0, top),
        told=told,
    )  # fmt: skip


def _latencies(stats: Mapping[str, Any]) -> Raw:
    rows = [
        (route, *(milliseconds(found[p]) for p in ("p50", "p95", "p99")), _asked(stats, route))
        for route, found in stats["latency_ms"].items()
        if any(value is not None for value in found.values())
    ]
    heads = ("Route", "Half within", "95 % within", "99 % within", "Requests")
    return table(heads, rows, "Time that answers took, by route")


def _asked(stats: Mapping[str, Any], route: str) -> int:
    return sum(stats["requests"].get(route, {}).values())


def _slowest(stats: Mapping[str, Any]) -> float | None:
    """The 99th percentile of the route that scores most."""
    routes = [r for r in stats["latency_ms"] if "predict" in r or "explain" in r]
    most = max(routes, key=lambda route: _asked(stats, route), default=None)
    found: float | None = stats["latency_ms"][most]["p99"] if most else None
    return found


def _scores(stats: Mapping[str, Any], threshold: float) -> list[Raw]:
    edges, counts = stats["scores"]["edges"], stats["scores"]["counts"]
    named = {f"version {version}": found for version, found in counts.items() if sum(found)}
    if not named:
        return [paragraph("No payment was scored.")]
    total = sum(map(sum, named.values()))
    high = sum(found[-1] for found in named.values())
    told = f"Probabilities of {total:,} payments; {high:,} are in the highest bin"
    drawn = charts.histogram(edges, named, threshold, x_label="probability of fraud", told=told)
    return [drawn, paragraph(f"The line is the threshold, {percent(threshold)}.")]


def _decisions(stats: Mapping[str, Any]) -> Raw:
    rows = [
        (f"version {version}", role, found.get("0", 0), found.get("1", 0))
        for version, roles in stats["decisions"].items()
        for role, found in roles.items()
    ]
    return table(("Version", "Role", "Let through", "Alerts"), rows, "Decisions by version")


def _refused(stats: Mapping[str, Any]) -> Raw:
    if not stats["refused"]:
        return paragraph("No request was refused.")
    rows = [(REFUSALS.get(why, why), count) for why, count in stats["refused"].items()]
    return table(("Why", "Requests"), rows, "Requests that were refused")


def _shadow(stats: Mapping[str, Any]) -> list[Raw]:
    if not stats["shadow"]:
        return []
    rows = [
        (pair["champion"], pair["challenger"], pair["rows"], pair["differ"],
         NOTHING if pair["mean_difference"] is None else f"{pair['mean_difference']:+.4f}")
        for pair in stats["shadow"]
    ]  # fmt: skip
    heads = ("Champion", "Challenger", "Payments", "Decided otherwise", "Mean difference")
    return [card("Challenger", table(heads, rows, "A challenger beside the champion"))]


def _quality(stats: Mapping[str, Any]) -> list[Raw]:
    """What labels that came later say of each version."""
    kinds = ("true_positive", "false_positive", "false_negative", "true_negative")
    rows = [
        (f"version {found['version']}", found["role"], *(found[kind] for kind in kinds),
         f"{found['label_delay'] / 3600:,.1f} h")
        for found in stats.get("quality", ())
    ]  # fmt: skip
    if not rows:
        return []
    heads = ("Version", "Role", "Frauds found", "False alarms", "Frauds missed", "Let go rightly",
             "Labels came after")  # fmt: skip
    return [card("What labels say", table(heads, rows, "Labels of the last 30 days, by version"))]


def _log(stats: Mapping[str, Any]) -> Raw:
    """The state of the log that decisions are kept in."""
    log = stats["log"]
    lost = sum(loss["decisions"] for loss in log["lost"])
    warned = ""
    if log["away"]:
        warned = f"The database of decisions is away: {log['away']}. They wait until it is back."
    return card(
        "Log of decisions",
        paragraph(warned) if warned else "",
        facts(
            {
                "Written since it began": f"{log['written']:,}",
                "Waiting to be written": f"{log['pending']:,}",
                "Dropped because too many waited": f"{log['dropped']:,}",
                "Lost with a killed process": f"{lost:,} in 30 days",
            }
        ),
        tone="notice" if warned or lost or log["dropped"] else "plain",
    )


def _rows(stats: Mapping[str, Any]) -> dict[str, int]:
    """Payments decided, by version."""
    return {
        version: sum(sum(found.values()) for found in roles.values())
        for version, roles in stats["decisions"].items()
    }


def _of_role(stats: Mapping[str, Any], role: str) -> dict[str, int]:
    summed: dict[str, int] = {}
    for roles in stats["decisions"].values():
        for decision, rows in roles.get(role, {}).items():
            summed[decision] = summed.get(decision, 0) + rows
    return summed
