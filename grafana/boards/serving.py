"""Serving: requests, stages, batches, replicas and the proxy."""

from __future__ import annotations

from typing import Final

from grafana import panels as p
from grafana import queries as q
from grafana import settings
from grafana.boards.shared import REFUSALS, STAGE_VERSIONS
from grafana.dashboard import APPLICATION, CLUSTER, Dashboard, Row
from grafana.promql import by, quantile, rate

REQUESTS: Final = Row(
    "Requests",
    8,
    (
        (8, p.timeseries(
            "Requests by route", "All of them, health checks and metrics of the page included.",
            [p.Target(by("route", rate(q.REQUESTS)), "{{route}}")], unit=p.PER_SECOND, stacked=True,
        )),
        (8, p.timeseries(
            "Failed share", "Share of scoring requests answered with 5xx, and the objective.",
            [p.Target(f"max({q.failing_share('5m')})", "5 minutes"),
             p.Target(f"max({q.failing_share('1h')})", "1 hour")],
            unit=p.PERCENT, steps=((None, p.GREEN), (1 - settings.AVAILABILITY, p.RED)),
            links=[p.runbook("FraudrayErrorBudgetBurn")],
        )),
        (8, p.heatmap(
            "Latency of single predictions", "How many took how long, of those that succeeded.",
            p.Target(by("le", rate(q.PREDICTED_IN)), "{{le}}"), unit=p.SECONDS,
            links=[p.runbook("FraudrayLatencyBudgetBurn")],
        )),
        (4, p.stat(
            "Latency budget left", "What is left of the single predictions that may take longer "
            "than 250 ms in 30 days. The objective is 99 % below.",
            p.Target(f"min({q.SPEED_BUDGET_LEFT})"), unit=p.PERCENT, decimals=0,
            nothing="no traffic", line=False,
            steps=((None, p.RED), (0.1, p.ORANGE), (0.5, p.GREEN)),
            links=[p.runbook("FraudrayLatencyBudgetBurn")],
        )),
        (10, p.timeseries(
            "p99 by route", "99 of 100 requests of a route took less, those refused with 4xx left "
            "out.",
            [p.Target(quantile(0.99, q.ANSWERED_IN, "route"), "{{route}}")], unit=p.SECONDS,
        )),
        (10, REFUSALS),
    ),
)  # fmt: skip
STAGES: Final = Row(
    "Stages: rate, errors, duration",
    8,
    (
        (6, p.timeseries(
            "Calls", "Calls of a stage a second; each carries the payments that waited together.",
            [p.Target(by("stage", rate(q.STAGE_CALLS)), "{{stage}}")], unit="cps",
        )),
        (6, p.timeseries(
            "Errors", "Calls that ended with an exception, as Ray Serve counts them.",
            [p.Target(by("deployment", rate(q.CALL_ERRORS)), "{{deployment}}")], unit="cps",
        )),
        (6, p.timeseries(
            "p50 of own work", "Half of the calls of a stage took less, without the stages behind.",
            [p.Target(quantile(0.5, q.STAGE_TIME, "stage"), "{{stage}}")], unit=p.SECONDS,
        )),
        (6, p.timeseries(
            "p99 of own work", "99 of 100 calls of a stage took less, without the stages behind.",
            [p.Target(quantile(0.99, q.STAGE_TIME, "stage"), "{{stage}}")], unit=p.SECONDS,
        )),
    ),
)  # fmt: skip
BATCHING: Final = Row(
    "Batching",
    8,
    (
        (8, p.timeseries(
            "Payments of a call", "The mean. It grows with the load, so that the graph keeps up; "
            "1 under load means that nothing is gathered.",
            [p.Target(f"{by('stage', rate(q.STAGE_PAYMENTS))} / {by('stage', rate(q.STAGE_CALLS))}",
                    "{{stage}}")],
            unit=p.NUMBER,
        )),
        (8, p.heatmap(
            "Payments of a call of the model", "How many calls of the model carried how many.",
            p.Target(by("le", rate(q.MODEL_BATCH)), "{{le}}"),
        )),
        (8, p.timeseries(
            "What waits", "Requests and payments that no call has taken yet, at all ingresses. An "
            "ingress refuses from 512 requests or 200,000 payments on.",
            [p.Target(by("", q.WAITING), "requests"),
             p.Target(by("", q.WAITING_PAYMENTS), "payments")],
            unit=p.COUNT, links=[p.runbook("FraudrayOverload")],
        )),
    ),
)  # fmt: skip
REPLICAS: Final = Row(
    "Replicas and autoscaling",
    8,
    (
        (8, p.timeseries(
            "Replicas", "Those that are healthy, beside what autoscaling aims at.",
            [p.Target(q.RUNNING, "{{deployment}}"),
             p.Target(q.TARGET_REPLICAS, "{{deployment}} aim")],
            unit=p.NUMBER, steplike=True, links=[p.runbook("FraudrayReplicaCrashLooping")],
        )),
        (8, p.timeseries(
            "Replicas that the load asks for", "Before the limits of serve.yaml. Above the aim for "
            "long, raise max_replicas.",
            [p.Target(q.WANTED_REPLICAS, "{{deployment}}")], unit=p.NUMBER, steplike=True,
        )),
        (8, p.timeseries(
            "Calls under way", "In all replicas of a deployment together.",
            [p.Target(q.ONGOING, "{{deployment}}")], unit=p.COUNT,
        )),
        (8, p.table(
            "Stages now", "Replicas that report to the rollout, those that lack the version they "
            "should hold, and the version that all of them follow.",
            [p.Target(by("stage", q.REPLICAS)), p.Target(by("stage", q.LACKING)),
             p.Target(by("stage", q.STAGE_VERSION, "min"))],
            {"stage": "Stage", "Value #A": "Replicas", "Value #B": "Lacking",
             "Value #C": "Version"},
            links=[p.runbook("FraudrayVersionMismatch")],
        )),
        (8, STAGE_VERSIONS),
        (8, p.timeseries(
            "Replicas started in 15 minutes", "Above what autoscaling asked for, they die and are "
            "started again.",
            [p.Target(by("deployment", q.NEW_REPLICAS, "max"), "{{deployment}}")], unit=p.NUMBER,
            steps=((None, p.GREEN), (4, p.RED)), links=[p.runbook("FraudrayReplicaCrashLooping")],
        )),
    ),
)  # fmt: skip
PROXY: Final = Row(
    "HAProxy",
    8,
    (
        (8, p.timeseries(
            "Answers by class", "As callers see them. 5xx here and not above: the proxy found no "
            "ingress.",
            [p.Target(by("code", rate(q.PROXY_ANSWERS)), "{{code}}")], unit=p.PER_SECOND,
            stacked=True,
        )),
        (8, p.timeseries(
            "Connections", "Open to callers, and requests that wait for an ingress.",
            [p.Target(by("", q.PROXY_SESSIONS), "open"), p.Target(by("", q.PROXY_QUEUE), "queued")],
            unit=p.COUNT,
        )),
        (8, p.timeseries(
            "Trouble with ingresses", "Connections that failed, and answers that broke off.",
            [p.Target(by("", rate(q.PROXY_UNCONNECTED)), "not connected"),
             p.Target(by("", rate(q.PROXY_BROKEN)), "broken off")],
            unit="cps",
        )),
    ),
)  # fmt: skip
LOG: Final = Row(
    "Decision log and page",
    8,
    (
        (6, p.timeseries(
            "Decisions written", "Rows a second that the database took.",
            [p.Target(by("", rate(q.LOG_WRITTEN)), "written")], unit="wps",
            links=[p.runbook("FraudrayDecisionLogDown")],
        )),
        (6, p.timeseries(
            "Decisions to be written", "With the ingresses or under way. An ingress drops what "
            "exceeds 200,000.",
            [p.Target(f"max({q.LOG_PENDING})", "pending")],
            steps=((None, p.GREEN), (100_000, p.ORANGE)),
            links=[p.runbook("FraudrayDecisionLogDown"), p.runbook("FraudrayDecisionsLost")],
        )),
        (6, p.timeseries(
            "The page", "Pages opened, payments sent to be scored, and what a person was told "
            "instead of an answer.",
            [p.Target(by("page", rate(q.PAGE_VIEWS)), "{{page}}"),
             p.Target(by("page", rate(q.PAGE_SCORES)), "scored: {{page}}"),
             p.Target(by("kind", rate(q.PAGE_ERRORS)), "error: {{kind}}")], unit="cps",
        )),
        (6, p.timeseries(
            "What the page waits for", "95 of 100 answers of the graph and of MLflow to the page "
            "took less.",
            [p.Target(quantile(0.95, q.PAGE_UPSTREAM, "upstream"), "{{upstream}}")], unit=p.SECONDS,
        )),
    ),
)  # fmt: skip
SERVING: Final = Dashboard(
    "serving",
    "Serving",
    "Requests, stages, batches, replicas and the proxy.",
    (REQUESTS, STAGES, BATCHING, REPLICAS, PROXY, LOG),
    (CLUSTER, APPLICATION),
)
