"""What the writer of decisions tells: traffic of all ingresses, drift, and how the log fares."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from prometheus_client import Metric

from serve_app.decision_log import DecisionLog
from serve_app.decisions import Quality
from serve_app.delivery import LATENCY_BOUNDS, LATENCY_EDGES, REASONS, IntArray
from serve_app.drift import DriftWindow
from serve_app.metrics.families import counter, gauge, histogram
from serve_app.statistics import SCORE_EDGES, Totals
from training.drift import Drift

_BEGUN = [
    (route, status)
    for route in ("/v1/predict", "/predict", "/v1/predict/batch", "/v1/explain")
    for status in (200, 500, 503, 504)
]
"""Answers that are counted from 0 on, so that the first error is an increase."""
_RECENT: Final = 20
"""Versions whose scores are told: those that decided last."""
_BOUNDS_AT = np.searchsorted(LATENCY_EDGES, LATENCY_BOUNDS)


def of_log(log: DecisionLog) -> Iterator[Metric]:
    """All of it."""
    yield from _answers(log.totals)
    yield from _decisions(log.totals)
    yield from _shadows(log.totals)
    yield from _quality(log.quality)
    yield from _drift(log.drift, log.drifted)
    state = log.state
    yield counter(
        "labels", "Labels received", ("label",), {(str(x),): log.labels[x] for x in (0, 1)}
    )
    yield counter(
        "decision_log_written", "Decisions written to the database", (), {(): state.written}
    )
    yield counter(
        "decision_log_dropped", "Decisions that an ingress had no place for", (),
        {(): state.dropped},
    )  # fmt: skip
    yield gauge(
        "decision_log_pending", "Decisions made and not written yet", (), {(): state.pending}
    )
    yield gauge(
        "decision_log_lost", "Decisions lost with their ingress, 30 days", (),
        {(): sum(loss.decisions for loss in state.lost)},
    )  # fmt: skip
    yield gauge("decision_log_up", "Whether the database answers", (), {(): not state.away})


def _answers(totals: Totals) -> Iterator[Metric]:
    answered = {key: int(buckets.sum()) for key, buckets in totals.answered.items()}
    counts = dict.fromkeys(_BEGUN, 0) | answered
    yield counter(
        "requests", "Requests answered", ("route", "status"),
        {(route, str(status)): count for (route, status), count in counts.items()},
    )  # fmt: skip
    latencies = {}
    for (route, status), buckets in totals.answered.items():
        # What a caller did wrong is answered in no time. And OpenTelemetry keeps 2,000 series of
        # a metric: all routes with every status that a caller can provoke would fill that.
        if not 400 <= status < 500:
            below = np.cumsum(buckets)[[*_BOUNDS_AT, -1]]
            latencies[route, str(status)] = below, totals.seconds[route, status]
    yield histogram(
        "request_seconds", "Time from a request to its answer, those of 4xx left out",
        ("route", "status"), LATENCY_BOUNDS, latencies,
    )  # fmt: skip
    yield counter(
        "refused", "Requests refused", ("reason",), {(r,): totals.refused[r] for r in REASONS}
    )


def _decisions(totals: Totals) -> Iterator[Metric]:
    yield counter(
        "decisions", "Payments decided", ("model_version", "role", "decision"),
        {(version, role, str(d)): rows for (version, role, d), rows in totals.decisions.items()},
    )  # fmt: skip
    scores: dict[tuple[str], tuple[IntArray, float]] = {}
    for version, rows in list(totals.scores.items())[-_RECENT:]:
        below = np.cumsum(rows)
        scores[version,] = np.append(below, below[-1]), totals.score_sums[version]
    yield histogram("score", "Probabilities of fraud", ("model_version",), SCORE_EDGES[1:], scores)


def _shadows(totals: Totals) -> Iterator[Metric]:
    for name, help_, field in (
        ("payments", "Payments that a shadow scored too", "rows"),
        ("disagreements", "Payments that a shadow decided otherwise", "differ"),
        ("difference", "Sum of the absolute differences of both probabilities", "difference"),
    ):
        yield counter(
            f"shadow_{name}", help_, ("champion", "challenger"),
            {pair: getattr(seen, field) for pair, seen in totals.compared.items()},
        )  # fmt: skip
    yield counter(
        "shadow_dropped", "Payments that no shadow scored for want of time", (),
        {(): totals.shadow_dropped},
    )  # fmt: skip


def _quality(quality: list[Quality]) -> Iterator[Metric]:
    for name, help_, field in (
        ("live_precision", "Share of labelled alerts that are fraud, 30 days", "precision"),
        ("live_recall", "Share of labelled frauds that were alerted on, 30 days", "recall"),
        ("label_delay_seconds", "Mean time from decision to label, 30 days", "label_delay"),
        ("labelled_payments", "Decided payments that have a label, 30 days", "labelled"),
        ("labelled_alerts", "Alerts that have a label, 30 days", "alerts"),
    ):
        values = {(q.version, q.role): getattr(q, field) for q in quality}
        known = {key: value for key, value in values.items() if value is not None}
        yield gauge(name, help_, ("model_version", "role"), known)


def _drift(window: DriftWindow, drift: Drift | None) -> Iterator[Metric]:
    yield counter("payments_seen", "Payments counted for drift", (), {(): window.rows})
    for name, help_, found in (
        ("missing", "Of the payments seen, those without a value", window.missing),
        ("unknown", "Of the payments seen, those with a value that has no bin", window.unknown),
    ):
        yield counter(name, help_, ("feature",), {(f,): count for f, count in found.items()})
    fields, score = (drift.fields, drift.score) if drift else ((), None)
    for name, help_, field in (
        ("feature_psi", "How far the field is from the training rows", "psi"),
        ("feature_psi_chance", "What chance hardly exceeds in so few payments", "chance"),
    ):
        yield gauge(name, help_, ("feature",), {(f.name,): getattr(f, field) for f in fields})
    yardstick = window.yardstick
    expected = yardstick.expected if yardstick else None
    for name, help_, shares in (
        ("missing", "without a value", expected.missing(expected.counts) if expected else {}),
        ("unknown", "that have no bin", expected.other(expected.counts) if expected else {}),
    ):
        yield gauge(
            f"expected_{name}_ratio", f"Share of training rows {help_}", ("feature",),
            {(feature,): share for feature, share in shares.items()},
        )  # fmt: skip
    yield gauge(
        "score_psi", "How far scores are from those of the validation rows", (),
        {(): score.psi} if score else {},
    )  # fmt: skip
    yield gauge(
        "score_psi_chance", "What chance hardly exceeds in so few payments", (),
        {(): score.chance} if score else {},
    )  # fmt: skip
    yield gauge(
        "drift_payments", "Payments of the last hour that drift is told of", (),
        {(): drift.rows if drift else 0},
    )  # fmt: skip
    yield gauge(
        "expected_alert_rate", "Share of the validation rows that the champion alerts on", (),
        {(): yardstick.alert_rate} if yardstick else {},
    )  # fmt: skip
