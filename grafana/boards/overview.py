"""Overview, for three in the morning: is it up, slow, wrong or drifting, and why."""

from __future__ import annotations

from typing import Final

from grafana import panels as p
from grafana import queries as q
from grafana import settings
from grafana.boards.shared import REFUSALS, STAGE_VERSIONS
from grafana.dashboard import APPLICATION, CLUSTER, Dashboard, Row
from grafana.promql import by, quantile, rate

_UP: Final = (
    f"min({q.REPLICAS} > bool 0) * min({q.CHAMPION} > bool 0) * min({q.SERVE_STATUS} > bool 3)"
    f" * min({q.HEALTHY_PROXIES} > bool 0) or vector(0)"
)

VERDICT: Final = Row(
    "Verdict",
    4,
    (
        (3, p.stat(
            "Serving", "Whether a proxy is healthy, every stage has a replica, a version is in "
            "service and Ray Serve finds nothing wrong.",
            p.Target(_UP), steps=((None, p.RED), (1, p.GREEN)), line=False,
            names={"0": ("DOWN", p.RED), "1": ("UP", p.GREEN)},
            links=[p.runbook("FraudrayServingDown"), p.board("serving", "Serving")],
        )),
        (3, p.stat(
            "Alerts firing", "Alerts of fraudray that fire now; the table below names them.",
            p.Target(f"count({q.firing()}) or vector(0)"),
            steps=((None, p.GREEN), (1, p.RED)), line=False,
        )),
        (3, p.stat(
            "Error budget left", "What is left of the requests that may fail in 30 days. The "
            "objective is 99.9 % of scoring requests without 5xx.",
            p.Target(f"min({q.BUDGET_LEFT})"), unit=p.PERCENT, decimals=0, nothing="no traffic",
            steps=((None, p.RED), (0.1, p.ORANGE), (0.5, p.GREEN)), line=False,
            links=[p.runbook("FraudrayErrorBudgetBurn")],
        )),
        (3, p.stat(
            "p99", "99 of 100 single predictions of the last minutes that succeeded were faster. "
            "The objective is 250 ms.",
            p.Target(quantile(0.99, q.PREDICTED_IN)), unit=p.SECONDS, nothing="no traffic",
            steps=((None, p.GREEN), (0.15, p.ORANGE), (settings.FAST_SECONDS, p.RED)),
            links=[p.runbook("FraudrayLatencyBudgetBurn"), p.board("serving", "Serving")],
        )),
        (3, p.stat(
            "Alert rate, times expected", "How often the model alerts, beside how often it did in "
            "validation. Above 3 or below 1/3 something is wrong with it or with the payments.",
            p.Target(f"max({q.ALERT_RATE_TIMES})"), unit="suffix: times", decimals=1,
            nothing="no traffic",
            steps=((None, p.RED), (1 / settings.ALERT_RATE_FACTOR, p.ORANGE), (0.5, p.GREEN),
                   (2, p.ORANGE), (settings.ALERT_RATE_FACTOR, p.RED)),
            links=[p.runbook("FraudrayAlertRateJump"), p.board("model", "Model")],
        )),
        (3, p.stat(
            "Most drifted field", "The highest PSI of a field that exceeds chance, over its last "
            "hour or day. Above 0.25 it is distributed otherwise than where the model learned.",
            p.Target(f"max({q.FEATURE_DRIFT})"), nothing="no traffic", decimals=2, line=False,
            steps=((None, p.GREEN), (0.1, p.ORANGE), (settings.DRIFTED, p.RED)),
            links=[p.runbook("FraudrayFeatureDrift"), p.board("model", "Model")],
        )),
        (3, p.stat(
            "Version in service", "The champion that ingresses stamp on requests; 0 is none.",
            p.Target(f"max({q.CHAMPION})"), steps=((None, p.RED), (1, p.BLUE)), line=False,
            nothing="none", links=[p.board("model", "Model")],
        )),
        (3, p.stat(
            "Scoring requests", "Requests a second that ask for a score, batches counted once.",
            p.Target(by("", rate(q.SCORING))), unit=p.PER_SECOND, decimals=1, nothing="none",
            steps=((None, p.BLUE),), links=[p.runbook("FraudrayNoTraffic")],
        )),
    ),
)  # fmt: skip
FIRING: Final = Row(
    "What fires, and since when",
    7,
    (
        (12, p.table(
            "Alerts", "Every alert of fraudray that fires. Its name leads to the section of the "
            "runbook that says what to look at and what to do.",
            [p.Target(q.firing())],
            {"alertname": "Alert", "severity": "Severity", "cause": "Cause", "stage": "Stage",
             "deployment": "Deployment", "feature": "Field", "kind": "Kind", "window": "Window",
             "instance": "Node", "cluster": "Cluster"},
            nothing="nothing fires",
            cell_links=[p.runbook("${__data.fields.Alert}")],
        )),
        (12, p.state_timeline(
            "Alerts over time", "When each alert fired. What began first is most often the cause.",
            [p.Target(f"count by (alertname) ({q.firing()})", "{{alertname}}")],
            steps=((None, p.GREY), (1, p.RED)),
        )),
    ),
)  # fmt: skip
FAILING: Final = Row(
    "Is it failing or slow?",
    8,
    (
        (8, p.timeseries(
            "Scoring requests by status", "5xx uses up the error budget; 503 is overload or a "
            "graph that is not ready, 504 the deadline, 4xx the caller's own mistake.",
            [p.Target(by("status", rate(q.SCORING)), "{{status}}")], unit=p.PER_SECOND,
            stacked=True, links=[p.board("serving", "Serving")],
        )),
        (8, p.timeseries(
            "Error budget burn", "How many times faster than for ever allowed the budget is used. "
            "Pages come where 1 h is above 14.4 or 6 h above 6.",
            [
                p.Target(f"max({q.failing_share(window)}) / {1 - settings.AVAILABILITY:g}", window)
                for window in ("5m", "1h", "6h", "3d")
            ],
            unit=p.NUMBER, steps=((None, p.GREEN), (6, p.ORANGE), (14.4, p.RED)),
            links=[p.runbook("FraudrayErrorBudgetBurn")],
        )),
        (8, p.timeseries(
            "Latency of single predictions", "Of those that succeeded. Batches are left out.",
            [
                p.Target(quantile(share, q.PREDICTED_IN), f"p{share * 100:g}")
                for share in (0.5, 0.95, 0.99)
            ],
            unit=p.SECONDS, steps=((None, p.GREEN), (settings.FAST_SECONDS, p.RED)),
            links=[p.runbook("FraudrayLatencyBudgetBurn"), p.board("serving", "Serving")],
        )),
    ),
)  # fmt: skip
WRONG: Final = Row(
    "Is it wrong or drifting?",
    8,
    (
        (8, p.timeseries(
            "Alert rate", "Share of payments that the champion decides as fraud, beside its share "
            "in validation. A jump at a promotion is the version's; otherwise look at fields.",
            [p.Target(f"max({q.ALERT_RATE})", "now"),
             p.Target(f"max({q.EXPECTED_ALERT_RATE})", "expected")],
            unit=p.PERCENT, links=[p.runbook("FraudrayAlertRateJump"), p.board("model", "Model")],
        )),
        (8, p.timeseries(
            "Drift beyond chance", "PSI of the five fields furthest off, and of the scores; 0 "
            "where chance alone does as much in as few payments.",
            [p.Target(f"topk(5, {q.FEATURE_DRIFT})", "{{feature}}"),
             p.Target(f"max({q.SCORE_DRIFT})", "score")],
            unit=p.NUMBER, steps=((None, p.GREEN), (settings.DRIFTED, p.RED)),
            links=[p.runbook("FraudrayScoreDrift"), p.board("model", "Model")],
        )),
        (8, p.timeseries(
            "Fields that arrive broken", "Share of payments of the last ten minutes without a "
            "value or with one the model has not seen, above what is expected.",
            [p.Target(f"topk(5, {q.odd_share(kind)} - {q.odd_expected(kind)} > 0.01)",
                    f"{{{{feature}}}} {kind}") for kind in ("missing", "unknown")],
            unit=p.PERCENT, links=[p.runbook("FraudrayFieldBroken"), p.board("model", "Model")],
        )),
    ),
)  # fmt: skip
WHY: Final = Row(
    "Why?",
    8,
    (
        (6, p.timeseries(
            "Time of a stage", "95 of 100 calls of a stage took less, without the stages behind "
            "it. The one that rose is where to look.",
            [p.Target(quantile(0.95, q.STAGE_TIME, "stage"), "{{stage}}")], unit=p.SECONDS,
            links=[p.board("serving", "Serving")],
        )),
        (6, p.timeseries(
            "Requests that wait", "At the busiest ingress, taken by no call yet. At 512 it "
            "refuses what comes.",
            [p.Target(by("", q.WAITING, "max"), "waiting")],
            unit=p.COUNT, steps=((None, p.GREEN), (512, p.RED)),
            links=[p.runbook("FraudrayOverload"), p.board("serving", "Serving")],
        )),
        (6, REFUSALS),
        (6, p.timeseries(
            "Nodes, busiest core share and disk", "The share of its cores that the busiest node "
            "uses, the fullest disk and the fullest object store.",
            [p.Target(f"max({q.CPU_SHARE})", "cores"),
             p.Target(f"1 - min({q.DISK_FREE_SHARE})", "disk"),
             p.Target(f"max({q.STORE_SHARE})", "object store")],
            unit=p.PERCENT, maximum=1, links=[p.board("cluster", "Cluster")],
        )),
        (12, STAGE_VERSIONS),
        (12, p.state_timeline(
            "Registry and decision log", "Whether MLflow answers, and whether decisions get "
            "written. Without the one nothing is promoted, without the other decisions pile up.",
            [p.Target(f"min({q.REGISTRY_UP})", "registry"),
             p.Target(f"min({q.LOG_UP})", "decision log")],
            steps=((None, p.RED), (1, p.GREEN)),
            names={"0": ("away", p.RED), "1": ("there", p.GREEN)},
            links=[p.runbook("FraudrayRegistryDown"), p.runbook("FraudrayDecisionLogDown")],
        )),
    ),
)  # fmt: skip
OVERVIEW: Final = Dashboard(
    "overview",
    "Overview",
    "Is it up, slow, wrong or drifting, and why. Begin here.",
    (VERDICT, FIRING, FAILING, WRONG, WHY),
    (CLUSTER, APPLICATION),
)
