"""The alerts: what fires, how urgent it is, and where the person that it wakes reads on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from grafana import queries as q
from grafana import settings
from grafana.promql import by, in_rule, rate
from grafana.settings import GRAFANA_URL, RUNBOOK_URL


@dataclass(frozen=True)
class Alert:
    """One alerting rule; several may share a name and differ in their labels.

    Parameters
    ----------
    name
        Without the prefix; with it, it is the anchor of a section in the runbook.
    severity
        `page` wakes somebody, `ticket` waits for the morning.
    after
        How long the expression has to hold.
    summary, description
        What is wrong, and what follows; templates of Prometheus.
    dashboard
        The dashboard that shows it.
    labels
        Further labels, which tell rules of one name apart.
    """

    name: str
    severity: str
    expression: str
    after: str
    summary: str
    description: str
    dashboard: str
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def anchor(self) -> str:
        """Its name as Prometheus has it, and its section in the runbook."""
        return f"Fraudray{self.name}"

    def to_dict(self) -> dict[str, Any]:
        """As Prometheus reads it."""
        return {
            "alert": self.anchor,
            "expr": in_rule(self.expression),
            "for": self.after,
            "labels": {"severity": self.severity, **self.labels},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"{RUNBOOK_URL}#{self.anchor}",
                "dashboard_url": f"{GRAFANA_URL}/d/fraudray-{self.dashboard}"
                "{{ with $labels.cluster }}?var-cluster={{ . | urlquery }}{{ end }}",
            },
        }


def _down(cause: str, expression: str, after: str, description: str) -> Alert:
    return Alert(
        "ServingDown", "page", expression, after, "Payments are not answered",
        description, "overview", {"cause": cause},
    )  # fmt: skip


def _burns(
    name: str, share: Callable[[str], str], rate_of: str, objective: float, summary: str
) -> list[Alert]:
    budget = round(1 - objective, 6)
    found = []
    for long, short, times, severity in settings.BURNS:
        limit = f"{times * budget:g}"
        failed = f"sum_over_time({rate_of}[{long}]) * {settings.INTERVAL}"
        found.append(
            Alert(
                name, severity,
                f"{share(long)} > {limit}\nand {share(short)} > {limit}\n"
                f"and {failed} >= {settings.FEWEST_FAILURES}",
                "1m" if severity == "page" else "15m",
                summary,
                f"Over {long} it was {{{{ $value | humanizePercentage }}}} of them, more than "
                f"{times:g} times what the objective of {objective:g} allows for ever.",
                "overview", {"window": long},
            )
        )  # fmt: skip
    return found


def _chance(expected: str, payments: str, matching: str = "") -> str:
    """How far a share may be from what is expected, by chance alone in so many payments."""
    return f"{settings.SIGMAS} * sqrt({expected} * (1 - {expected}) / {matching}{payments})"


def _broken(kind: str, what: str) -> Alert:
    share, expected = q.odd_share(kind), q.odd_expected(kind)
    return Alert(
        "FieldBroken", "page",
        f"({share} - {expected}) / (1 - {expected}) > {settings.BROKEN_SHARE}\n"
        f"and {share} - {expected} > "
        + _chance(expected, q.PAYMENTS_SEEN, f"on ({q.APPLICATION}) group_left () ")
        + f"\nand on ({q.APPLICATION}) {q.PAYMENTS_SEEN} >= {settings.FEWEST_PAYMENTS}",
        "5m", f"{{{{ $labels.feature }}}} arrives {what}",
        f"Of the payments that used to have a value the model knows, "
        f"{{{{ $value | humanizePercentage }}}} now have {{{{ $labels.feature }}}} {what}: "
        "a caller has changed what it sends, and the model decides without that field.",
        "model", {"kind": kind},
    )  # fmt: skip


SERVING: Final = (
    _down("application", f"{q.SERVE_STATUS} < 4 != 2", "2m",
          "Ray Serve says that the application has failed or has not been started."),
    _down("replicas", f"{q.REPLICAS} == 0", "1m",
          "The stage {{ $labels.stage }} has no replica that answers."),
    _down("proxy", f"{q.PROXIES} unless {q.HEALTHY_PROXIES}", "2m",
          "Ray Serve calls no proxy healthy: callers reach nothing."),
    _down("version", f"{q.CHAMPION} == 0", "2m",
          "No version is in service: there is no champion, or it was never loaded."),
    _down("silence", f"{q.SEEN_TODAY} unless on (application) ({q.SEEN_NOW})", "3m",
          "It served within the last day and no longer tells anything: the cluster is gone, or "
          "Prometheus no longer reaches it."),
    Alert(
        "ServingDegraded", "ticket", f"{q.SERVE_STATUS} == 2", "5m",
        "Fewer replicas answer than should",
        "Payments are answered. There is no room for a replica that died, or one is not well.",
        "serving",
    ),
    Alert(
        "NoTraffic", "page",
        f"{q.SCORING_RATE} == 0\n"
        f"and avg_over_time({q.SCORING_RATE}[1h] offset 10m) > {settings.LIVELY}",
        "5m", "No payment has come for ten minutes",
        "There was traffic in the hour before. Callers do not reach the graph, or have stopped.",
        "overview",
    ),
    Alert(
        "Overload", "ticket", f"{q.OVERLOAD_SHARE} > {settings.OVERLOAD_SHARE}", "5m",
        "Requests are refused because too much waits",
        "{{ $value | humanizePercentage }} of the requests were answered with 503 and Retry-After.",
        "serving",
    ),
    Alert(
        "ReplicaCrashLooping", "page",
        f"{q.NEW_REPLICAS}\n> 3 + ({q.or_none(q.ASKED_FOR, q.NEW_REPLICAS)})", "1m",
        "Replicas of {{ $labels.deployment }} die and are started again",
        "{{ $value }} replicas were started in 15 minutes, more than autoscaling asked for.",
        "serving",
    ),
    Alert(
        "VersionMismatch", "page", f"{q.LACKING} > 0", "5m",
        "Replicas of {{ $labels.stage }} lack the version they should hold",
        "{{ $value }} replicas: a promotion or a rollback does not get through.",
        "serving", {"cause": "lacking"},
    ),
    Alert(
        "VersionMismatch", "page",
        f"{by(q.APPLICATION, q.STAGE_VERSION, 'max')}\n"
        f"!= {by(q.APPLICATION, q.STAGE_VERSION, 'min')}",
        "5m", "The stages are at different versions",
        "The newest is {{ $value }}: a promotion or a rollback does not get through.",
        "serving", {"cause": "stages"},
    ),
    Alert(
        "PromotionFailed", "ticket", f"{q.FAILED_LOADS} > 0", "0m",
        "A version that the registry names failed its test",
        "It failed at {{ $labels.stage }}. A new version takes no traffic, and the one before goes "
        "on; a replica that cannot load what serves takes none. It is tried again every minute.",
        "model",
    ),
    Alert(
        "RegistryDown", "ticket", f"{q.REGISTRY_UP} == 0", "10m",
        "The model registry does not answer",
        "What serves goes on. Nothing can be promoted or rolled back until MLflow is back.",
        "serving",
    ),
)  # fmt: skip
OBJECTIVES: Final = (
    *_burns("ErrorBudgetBurn", q.failing_share, q.FAILING_RATE, settings.AVAILABILITY,
            "Requests that score payments fail"),
    *_burns("LatencyBudgetBurn", q.slow_share, q.SLOW_RATE, settings.FAST,
            f"Single predictions take longer than {settings.FAST_SECONDS * 1000:g} ms"),
)  # fmt: skip
_BEST: Final = f"max_over_time({q.SURE_PRECISION}[30d])"
MODEL: Final = (
    Alert(
        "AlertRateJump", "page",
        f"(\n  {q.ALERT_RATE_TIMES} > {settings.ALERT_RATE_FACTOR}\n"
        f"  or {q.ALERT_RATE_TIMES} < 1 / {settings.ALERT_RATE_FACTOR}\n)\n"
        f"and abs({q.ALERT_RATE} - {q.EXPECTED_ALERT_RATE}) > "
        + _chance(q.EXPECTED_ALERT_RATE, q.DECISIONS_IN)
        + f"\nand {q.DECISIONS_IN} >= {settings.FEWEST_PAYMENTS}",
        "2m", "The model alerts {{ $value | humanize }} times as often as in validation",
        f"Between 1/{settings.ALERT_RATE_FACTOR} and {settings.ALERT_RATE_FACTOR} times is as it "
        "should be. A bad version, a broken field, or an attack.",
        "model",
    ),
    _broken("missing", "without a value"),
    _broken("unknown", "with a value that the model has not seen"),
    Alert(
        "ScoreDrift", "ticket",
        f"{q.SCORE_PSI} > {settings.DRIFTED}\nand {q.SCORE_PSI} > {q.SCORE_CHANCE}",
        "15m", "The scores are distributed otherwise than in validation",
        "Their PSI over the last hour is {{ $value | humanize }}.", "model",
    ),
    Alert(
        "FeatureDrift", "ticket",
        f"{q.FEATURE_PSI} > {settings.DRIFTED}\nand {q.FEATURE_PSI} > {q.FEATURE_CHANCE}",
        "15m", "{{ $labels.feature }} is distributed otherwise than where the model learned",
        "Its PSI is {{ $value | humanize }}.", "model",
    ),
    Alert(
        "FeedbackPrecision", "ticket",
        f"{q.SURE_PRECISION}\n< {settings.PRECISION_KEPT} * {_BEST}\n"
        f"and {_BEST} - {q.SURE_PRECISION}\n> "
        + _chance(q.SURE_PRECISION, q.LABELLED_ALERTS, f"on ({q.JUDGED}) "),
        "1h", "Fewer of the alerts of version {{ $labels.model_version }} turn out to be fraud",
        "{{ $value | humanizePercentage }}, by the labels of the last 30 days; it was better by a "
        "fifth or more within these.", "model",
    ),
)  # fmt: skip
LOG: Final = (
    Alert(
        "DecisionLogDown", "page", f"{q.LOG_UP} == 0\nor ({q.CHAMPION} unless {q.LOG_UP})", "5m",
        "Decisions are not written",
        "Payments are answered. Each ingress keeps 200,000 decisions until the database is back, "
        "and then begins to drop them.", "overview",
    ),
    Alert(
        "DecisionsLost", "ticket", f"{q.LOG_DROPPED} > 0", "0m", "Decisions were dropped",
        "{{ $value }} decisions of the last 15 minutes stand in no log: ingresses were full.",
        "overview", {"cause": "dropped"},
    ),
    Alert(
        "DecisionsLost", "ticket", f"{q.LOG_LOST} > 0", "0m",
        "Decisions were lost",
        "{{ $value }} decisions were with an ingress that was killed.", "overview",
        {"cause": "lost"},
    ),
)  # fmt: skip
SWEEP: Final = (
    Alert(
        "SweepStalled", "ticket",
        f"{q.UNFINISHED} > 0\nunless {by(q.SWEEP, rate(q.REPORTS, '10m'))} > 0", "20m",
        "The sweep {{ $labels.sweep }} does not get on",
        "No worker has reported for twenty minutes or more; {{ $value }} trials are unfinished.",
        "sweep",
    ),
)  # fmt: skip
CLUSTER: Final = (
    Alert(
        "WorkerLost", "ticket",
        f"{q.NODES_BEFORE} - {q.NODES} > 0\nunless {q.NODES_STOPPED} > 0", "2m",
        "A node has left the cluster {{ $labels.cluster }}",
        "{{ $value }} nodes fewer than a quarter of an hour ago, which no autoscaler stopped.",
        "cluster", {"cause": "node"},
    ),
    Alert(
        "WorkerLost", "ticket", f"{q.OOM_KILLS} > 0", "0m",
        "Ray killed processes for want of memory",
        "{{ $value }} of them in the last 15 minutes.", "cluster", {"cause": "memory"},
    ),
    Alert(
        "WorkerLost", "ticket", f"{q.WORKER_FAILURES} > 2", "0m",
        "Processes of Ray die", "{{ $value }} of them ended unforeseen in the last 15 minutes.",
        "cluster", {"cause": "process"},
    ),
    Alert(
        "DiskFilling", "page", f"{q.DISK_FREE_SHARE} < 0.05", "5m",
        "The disk of {{ $labels.instance }} is full",
        "{{ $value | humanizePercentage }} are free. Ray spills nothing more, and no decision can "
        "be written there.", "cluster",
    ),
    Alert(
        "DiskFilling", "ticket", f"{q.DISK_FREE_SHARE} < 0.15", "15m",
        "The disk of {{ $labels.instance }} fills up",
        "{{ $value | humanizePercentage }} are free.", "cluster",
    ),
    Alert(
        "ObjectStoreFull", "ticket", f"{q.STORE_SHARE} > 0.9", "10m",
        "The object store of {{ $labels.instance }} is full",
        "{{ $value | humanizePercentage }} of it are in use: what comes goes to disk.", "cluster",
    ),
)  # fmt: skip
