"""Every expression that rules, alerts and panels are made of, each written once.

Recorded series are named level:metric:operation, where the level is what they keep of the labels:
`application` stands for cluster and application, `feature` and `version` for these and one more.
"""

from __future__ import annotations

from typing import Final

from grafana.promql import by, clustered, grown, rate, served, swept, versioned
from grafana.settings import AVAILABILITY, FAST, FAST_SECONDS

APPLICATION: Final = "cluster, application"
FEATURE: Final = "cluster, application, feature"
STAGE: Final = "cluster, application, stage"
VERSION: Final = "cluster, application, model_version"
NODE: Final = "cluster, instance"

# ---- requests -----------------------------------------------------------------------------------
SCORES: Final = 'route=~"/predict|/v1/predict|/v1/predict/batch|/v1/explain"'
SINGLE: Final = 'route=~"/predict|/v1/predict",status=~"2.."'
"""Batches are left out of what is said of latency: they take as long as they are large."""

REQUESTS: Final = served("ray_fraudray_requests_total")
SCORING: Final = served("ray_fraudray_requests_total", SCORES, 'status!~"401|403"')
"""Those who have no key are no callers: they neither spend the budget nor fill it."""
FAILING: Final = served("ray_fraudray_requests_total", SCORES, 'status=~"5.."')
PREDICTED: Final = served("ray_fraudray_request_seconds_count", SINGLE)
PREDICTED_FAST: Final = served(
    "ray_fraudray_request_seconds_bucket", SINGLE, f'le="{FAST_SECONDS:g}"'
)
ANSWERED_IN: Final = served("ray_fraudray_request_seconds_bucket")
PREDICTED_IN: Final = served("ray_fraudray_request_seconds_bucket", SINGLE)
REFUSED: Final = served("ray_fraudray_refused_total")

# Recorded, over five minutes.
SCORING_RATE: Final = served("application:fraudray_scoring_requests:rate5m")
FAILING_RATE: Final = served("application:fraudray_scoring_errors:rate5m")
PREDICTED_RATE: Final = served("application:fraudray_predictions:rate5m")
SLOW_RATE: Final = served("application:fraudray_slow_predictions:rate5m")


def failing_share(window: str) -> str:
    """Recorded share of scoring requests that failed."""
    return served(f"application:fraudray_scoring_errors:ratio_rate{window}")


def slow_share(window: str) -> str:
    """Recorded share of single predictions that took too long."""
    return served(f"application:fraudray_slow_predictions:ratio_rate{window}")


def or_none(part: str, whole: str) -> str:
    """`part`, or 0 where there is none of it in a `whole` that is there."""
    return f"{part} or 0 * {whole}"


def over(part: str, whole: str, window: str) -> str:
    """The share of a recorded rate in another, over a longer window, weighted by the traffic."""
    return f"avg_over_time({part}[{window}]) / avg_over_time({whole}[{window}])"


OVERLOADED: Final = served("ray_fraudray_refused_total", 'reason="overload"')
OVERLOAD_SHARE: Final = f"{by(APPLICATION, rate(OVERLOADED))} / {SCORING_RATE}"
BUDGET_LEFT: Final = f"1 - {failing_share('30d')} / {1 - AVAILABILITY:g}"
SPEED_BUDGET_LEFT: Final = f"1 - {slow_share('30d')} / {1 - FAST:g}"

# ---- what serves --------------------------------------------------------------------------------
# Its numbers are Ray's: 6 runs, 5 and 4 are on their way, 2 runs with fewer replicas than it should
# have, and of the others nothing will come of itself.
SERVE_STATUS: Final = by(
    APPLICATION, served("ray_serve_application_status", 'application="fraudray"'), "max"
)
REPLICAS: Final = by(STAGE, served("ray_fraudray_replicas"), "max")
LACKING: Final = by(STAGE, served("ray_fraudray_replicas_lacking"), "max")
STAGE_VERSION: Final = by(STAGE, served("ray_fraudray_stage_version"), "max")
CHAMPION: Final = by(APPLICATION, served("ray_fraudray_model_version", 'role="champion"'), "max")
_ANY_CHAMPION: Final = clustered("ray_fraudray_model_version", 'role="champion"')
NEW_CHAMPION: Final = (
    f'count_values by ({APPLICATION}) ("version", {by(APPLICATION, _ANY_CHAMPION, "max")})'
    f' unless count_values by ({APPLICATION}) ("version", '
    f"{by(APPLICATION, f'{_ANY_CHAMPION} offset 2m', 'max')})"
)
"""The version in service, as a label, for two minutes after it has changed."""
CHALLENGER: Final = by(
    APPLICATION, served("ray_fraudray_model_version", 'role="challenger"'), "max"
)
SEEN_TODAY: Final = by(
    "application", "present_over_time(" + served("ray_fraudray_model_version") + "[1d])", "count"
)
# Versions are told by the Rollout, requests by the writer: one of them may be gone for a while.
SEEN_NOW: Final = " or ".join(
    by("application", served(f"ray_fraudray_{name}"), "count")
    for name in ("model_version", "requests_total")
)
_PROXY: Final = clustered("ray_serve_proxy_status")
PROXIES: Final = by("cluster", _PROXY, "count")
HEALTHY_PROXIES: Final = by("cluster", f"{_PROXY} == 2", "count")
REGISTRY_UP: Final = by(APPLICATION, served("ray_fraudray_registry_up"), "max")
PROMOTIONS: Final = grown(APPLICATION, served("ray_fraudray_promotions_total"), "15m")
FAILED_LOADS: Final = grown(STAGE, served("ray_fraudray_failed_loads_total"), "15m")

REPLICA_STARTS: Final = served("ray_serve_deployment_replica_starts_total")
DEPLOYMENT: Final = "cluster, application, deployment"
_STARTS_BEFORE: Final = f"last_over_time({REPLICA_STARTS}[5m] offset 15m)"
NEW_REPLICAS: Final = (
    "("
    + by(DEPLOYMENT, f"last_over_time({REPLICA_STARTS}[15m]) unless {_STARTS_BEFORE}", "count")
    + f" and {by(DEPLOYMENT, _STARTS_BEFORE, 'count')})"
)
"""Replicas that were not there a quarter of an hour ago; each has a series of its own.

Where nothing of the deployment was seen then, nobody knows how old they are.
"""
_AIM: Final = served("ray_serve_autoscaling_target_replicas")
ASKED_FOR: Final = (
    f"{by(DEPLOYMENT, f'max_over_time({_AIM}[15m])', 'max')}"
    f" + {by(DEPLOYMENT, f'changes({_AIM}[15m])', 'max')}"
)
"""Replicas that may have been started on purpose: all of them anew, and one at each change."""

STAGE_TIME: Final = served("ray_fraudray_stage_seconds_bucket")
STAGE_CALLS: Final = served("ray_fraudray_stage_seconds_count")
STAGE_PAYMENTS: Final = served("ray_fraudray_stage_payments_sum")
MODEL_BATCH: Final = served("ray_fraudray_stage_payments_bucket", 'stage="model"')
WAITING: Final = served("ray_fraudray_waiting_requests")
WAITING_PAYMENTS: Final = served("ray_fraudray_waiting_payments")

# Ray Serve's own, by deployment.
CALL_ERRORS: Final = served("ray_serve_deployment_error_counter_total")
ONGOING: Final = by("deployment", served("ray_serve_replica_processing_queries"))
RUNNING: Final = by("deployment", served("ray_serve_deployment_replica_healthy"))
TARGET_REPLICAS: Final = by("deployment", _AIM, "max")
WANTED_REPLICAS: Final = by("deployment", served("ray_serve_autoscaling_desired_replicas"), "max")

# ---- decisions ----------------------------------------------------------------------------------
IN_SERVICE: Final = (
    f'count_values by ({APPLICATION}) ("model_version", '
    + by(APPLICATION, clustered("ray_fraudray_model_version", 'role="champion"'), "max")
    + ")"
)
"""The champion's version as the label that decisions have."""
DECIDED: Final = served("ray_fraudray_decisions_total", 'role="champion"')
ALERTED: Final = served("ray_fraudray_decisions_total", 'role="champion"', 'decision="1"')
DECISIONS_IN: Final = served("application:fraudray_decisions:increase5m")
ALERT_RATE: Final = served("application:fraudray_alert_rate:ratio5m")
EXPECTED_ALERT_RATE: Final = served("application:fraudray_expected_alert_rate:max")
ALERT_RATE_TIMES: Final = f"{ALERT_RATE} / {EXPECTED_ALERT_RATE}"

DECISIONS: Final = versioned("ray_fraudray_decisions_total")
VERSION_ALERTS: Final = versioned("ray_fraudray_decisions_total", 'decision="1"')
SCORES_BY: Final = versioned("ray_fraudray_score_bucket")
SHADOWED: Final = served("ray_fraudray_shadow_payments_total")
DISAGREED: Final = served("ray_fraudray_shadow_disagreements_total")
APART: Final = served("ray_fraudray_shadow_difference_total")
SHADOW_DROPPED: Final = served("ray_fraudray_shadow_dropped_total")

# ---- drift --------------------------------------------------------------------------------------
FEATURE_PSI: Final = by(FEATURE, served("ray_fraudray_feature_psi"), "max")
FEATURE_CHANCE: Final = by(FEATURE, served("ray_fraudray_feature_psi_chance"), "max")
SCORE_PSI: Final = by(APPLICATION, served("ray_fraudray_score_psi"), "max")
SCORE_CHANCE: Final = by(APPLICATION, served("ray_fraudray_score_psi_chance"), "max")
FEATURE_DRIFT: Final = or_none(f"{FEATURE_PSI} > {FEATURE_CHANCE}", FEATURE_PSI)
SCORE_DRIFT: Final = or_none(f"{SCORE_PSI} > {SCORE_CHANCE}", SCORE_PSI)
"""PSI that chance does not explain, else 0: one payment alone is as far off as can be."""
DRIFT_PAYMENTS: Final = by(APPLICATION, served("ray_fraudray_drift_payments"), "max")
PAYMENTS_SEEN: Final = served("application:fraudray_payments_seen:increase10m")


def odd_share(kind: str) -> str:
    """Recorded share of payments over ten minutes in which a field is `missing` or `unknown`."""
    return served(f"feature:fraudray_{kind}:ratio10m")


def odd_expected(kind: str) -> str:
    """The share that is `missing` or `unknown` where the champion learned."""
    return by(FEATURE, served(f"ray_fraudray_expected_{kind}_ratio"), "max")


# ---- labels -------------------------------------------------------------------------------------
# Of a version apart as challenger and as champion: it has other payments then.
JUDGED: Final = f"{VERSION}, role"
LIVE_PRECISION: Final = by(JUDGED, versioned("ray_fraudray_live_precision"), "max")
LIVE_RECALL: Final = by(JUDGED, versioned("ray_fraudray_live_recall"), "max")
LABELLED: Final = by(JUDGED, versioned("ray_fraudray_labelled_payments"), "max")
LABELLED_ALERTS: Final = by(JUDGED, versioned("ray_fraudray_labelled_alerts"), "max")
LABEL_DELAY: Final = by(JUDGED, versioned("ray_fraudray_label_delay_seconds"), "max")
SURE_PRECISION: Final = versioned("version:fraudray_live_precision:labelled")
"""Recorded: the precision of versions of whose alerts enough have a label."""

LABELS: Final = served("ray_fraudray_labels_total")

# ---- the decision log ---------------------------------------------------------------------------
LOG_UP: Final = by(APPLICATION, served("ray_fraudray_decision_log_up"), "max")
LOG_PENDING: Final = by(APPLICATION, served("ray_fraudray_decision_log_pending"), "max")
LOG_WRITTEN: Final = served("ray_fraudray_decision_log_written_total")
LOG_DROPPED: Final = grown(APPLICATION, served("ray_fraudray_decision_log_dropped_total"), "15m")
_LOST: Final = served("ray_fraudray_decision_log_lost")
LOG_LOST: Final = (
    f"{by(APPLICATION, _LOST, 'max')} - {by(APPLICATION, f'{_LOST} offset 15m', 'max')}"
)

# ---- sweeps -------------------------------------------------------------------------------------
SWEEP: Final = "cluster, sweep"
UNFINISHED: Final = by(SWEEP, swept("fraudray_sweep_trials", 'status=~"running|waiting"'))
REPORTS: Final = swept("fraudray_sweep_reports_total")
FINISHED: Final = swept("fraudray_sweep_trials", 'status=~"done|pruned"')
FAILED_TRIALS: Final = swept("fraudray_sweep_trials", 'status="failed"')
TRIALS: Final = swept("fraudray_sweep_trials")
BEST_SCORE: Final = swept("fraudray_sweep_best_score")
TRIAL_TIME: Final = swept("fraudray_sweep_trial_seconds_bucket")

# ---- HAProxy ------------------------------------------------------------------------------------
_FRONT: Final = 'proxy="http_frontend"'
PROXY_ANSWERS: Final = clustered("haproxy_frontend_http_responses_total", _FRONT)
PROXY_SESSIONS: Final = clustered("haproxy_frontend_current_sessions", _FRONT)
PROXY_QUEUE: Final = clustered("haproxy_backend_current_queue")
PROXY_UNCONNECTED: Final = clustered("haproxy_backend_connection_errors_total")
PROXY_BROKEN: Final = clustered("haproxy_backend_response_errors_total")

# ---- the page -----------------------------------------------------------------------------------
PAGE_VIEWS: Final = clustered("fraudray_page_views_total")
PAGE_SCORES: Final = clustered("fraudray_page_scores_total")
PAGE_ERRORS: Final = clustered("fraudray_page_errors_total")
PAGE_UPSTREAM: Final = clustered("fraudray_page_upstream_seconds_bucket")

# ---- nodes --------------------------------------------------------------------------------------
NODES: Final = by("cluster", clustered("ray_node_cpu_count"), "count")
NODES_BEFORE: Final = by("cluster", clustered("ray_node_cpu_count") + " offset 15m", "count")
NODES_STOPPED: Final = by(
    "cluster", "increase(" + clustered("autoscaler_stopped_nodes_total") + "[20m])"
)
OOM_KILLS: Final = grown("cluster", clustered("ray_memory_manager_worker_eviction_total"), "15m")
WORKER_FAILURES: Final = grown(
    "cluster", clustered("ray_node_manager_unexpected_worker_failure_total"), "15m"
)
DISK_FREE: Final = by(NODE, clustered("ray_node_disk_free"), "max")
DISK_USED: Final = by(NODE, clustered("ray_node_disk_usage"), "max")
DISK_FREE_SHARE: Final = f"{DISK_FREE} / ({DISK_FREE} + {DISK_USED})"
STORE_USED: Final = by(NODE, clustered("ray_object_store_used_memory"), "max")
STORE_FREE: Final = by(NODE, clustered("ray_object_store_available_memory"), "max")
STORE_SHARE: Final = f"{STORE_USED} / ({STORE_USED} + {STORE_FREE})"
CORES: Final = clustered("ray_node_cpu_count")
CPU_SHARE: Final = by(NODE, clustered("ray_node_cpu_utilization"), "max") + " / 100"
MEMORY_USED: Final = by(NODE, clustered("ray_node_mem_used"), "max")
MEMORY_TOTAL: Final = by(NODE, clustered("ray_node_mem_total"), "max")
MEMORY_SHARE: Final = f"{MEMORY_USED} / {MEMORY_TOTAL}"
RESOURCES: Final = clustered("ray_resources", 'Name="CPU"')
# Both are told twice, by who keeps account of them and by who runs them.
ACTORS: Final = by("State", clustered("ray_actors", 'Source="gcs"'))
TASKS: Final = by("State", clustered("ray_tasks", 'Source="owner"', 'State!~"FINISHED|FAILED"'))
COMPONENT_CPU: Final = by("Component", clustered("ray_component_cpu_percentage")) + " / 100"
COMPONENT_MEMORY: Final = by("Component", clustered("ray_component_rss_bytes"))
SPILLED: Final = by(NODE, clustered("ray_object_store_memory", 'Location="SPILLED"'))


def firing(*matchers: str) -> str:
    """Our alerts that fire; where a whole cluster is silent they name none."""
    chosen = ('alertname=~"Fraudray.*"', 'cluster=~"$cluster|"', *matchers)
    return f'ALERTS{{alertstate="firing",{",".join(chosen)}}}'
