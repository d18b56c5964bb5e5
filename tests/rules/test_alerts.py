"""Every alert fires when it must, and does not when it must not; promtool plays Prometheus."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RULES = [ROOT / "grafana" / "rules" / name for name in ("recording.yaml", "alerts.yaml")]
LOCAL, APPLICATION = {"cluster": "local"}, {"application": "fraudray"}
OURS = LOCAL | APPLICATION


@dataclass(frozen=True)
class Case:
    """What Prometheus sees, one value every 30 s, and what fires at a time.

    Cases of an alert are tried at once, each as a cluster of its own, which has its name.

    Parameters
    ----------
    fires
        Labels, beside `of`, of each alert of this name that fires; none where it must not.
    of
        Labels of what the alert is about, by default the application.
    alone
        Whether the case is an application of its own too, for what is asked across clusters.
    """

    alert: str
    what: str
    series: Mapping[str, str]
    at: str
    fires: tuple[Mapping[str, str], ...] = ()
    of: Mapping[str, str] = field(default_factory=lambda: OURS)
    alone: bool = False

    @property
    def inputs(self) -> list[dict[str, str]]:
        """The series, as promtool reads them."""
        return [{"series": self._own(s), "values": v} for s, v in self.series.items()]

    @property
    def test(self) -> dict[str, Any]:
        """What is asked of them."""
        common = {"alertname": f"Fraudray{self.alert}", "alertstate": "firing"}
        asked = self._own(selector("ALERTS", **common, **(APPLICATION if self.alone else LOCAL)))
        return {
            "expr": asked,
            "eval_time": self.at,
            "exp_samples": [
                {"labels": self._own(selector("ALERTS", **common, **self.of, **labels)), "value": 1}
                for labels in self.fires
            ],
        }

    def _own(self, series: str) -> str:
        labels = LOCAL | APPLICATION if self.alone else LOCAL
        for name, value in labels.items():
            series = series.replace(f'{name}="{value}"', f'{name}="{self.what}"')
        return series


def selector(metric: str, **labels: str) -> str:
    """A series with its labels."""
    return metric + "{" + ",".join(f'{n}="{v}"' for n, v in labels.items()) + "}"


def ours(metric: str, **labels: str) -> str:
    """A series of the application."""
    return selector(metric, **OURS, **labels)


def requests(status: str, route: str = "/v1/predict") -> str:
    """A counter of requests."""
    return ours("ray_fraudray_requests_total", route=route, status=status)


def predictions(status: str = "200", route: str = "/v1/predict", **counts: str) -> dict[str, str]:
    """A histogram of which `fast` and `all` are counted."""
    of = {"route": route, "status": status}
    return {
        ours("ray_fraudray_request_seconds_bucket", **of, le="0.25"): counts["fast"],
        ours("ray_fraudray_request_seconds_bucket", **of, le="+Inf"): counts["all"],
        ours("ray_fraudray_request_seconds_count", **of): counts["all"],
    }


def decisions(
    alerts: str, others: str, expected: str = "0.02x200", version: str = "3x200"
) -> dict[str, str]:
    """What version 3 decided, beside what is expected of the version in service."""
    of = {"model_version": "3", "role": "champion"}
    return {
        ours("ray_fraudray_decisions_total", **of, decision="1"): alerts,
        ours("ray_fraudray_decisions_total", **of, decision="0"): others,
        ours("ray_fraudray_expected_alert_rate"): expected,
        ours("ray_fraudray_model_version", role="champion"): version,
    }


def odd(
    kind: str, count: str, expected: str = "0.01x100", seen: str = "0+100x100"
) -> dict[str, str]:
    """A field that is missing or unknown in so many payments."""
    return {
        ours(f"ray_fraudray_{kind}_total", feature="amount"): count,
        ours(f"ray_fraudray_expected_{kind}_ratio", feature="amount"): expected,
        ours("ray_fraudray_payments_seen_total"): seen,
    }


def psi(value: str, chance: str, of: str = "feature", **labels: str) -> dict[str, str]:
    """Drift beside what chance does."""
    return {
        ours(f"ray_fraudray_{of}_psi", **labels): f"{value}x100",
        ours(f"ray_fraudray_{of}_psi_chance", **labels): f"{chance}x100",
    }


def feedback(
    precision: str, labelled: str, version: str = "3", role: str = "champion"
) -> dict[str, str]:
    """What labels say of a version."""
    of = {"model_version": version, "role": role}
    return {
        ours("ray_fraudray_live_precision", **of): precision,
        ours("ray_fraudray_labelled_alerts", **of): labelled,
    }


def sweep(running: str, reports: str) -> dict[str, str]:
    """A sweep with trials that run, and its reports."""
    of = {"cluster": "local", "sweep": "nightly"}
    return {
        selector("fraudray_sweep_trials", **of, status="running"): running,
        selector("fraudray_sweep_trials", **of, status="done"): "10x200",
        selector("fraudray_sweep_reports_total", **of): reports,
    }


def node(metric: str, instance: str = "a:8080", **labels: str) -> str:
    """A series of a node."""
    return selector(metric, cluster="local", instance=instance, **labels)


def starts(*values: str) -> dict[str, str]:
    """Replicas of the model, a series each."""
    return {
        ours("ray_serve_deployment_replica_starts_total", deployment="Model", replica=str(i)): v
        for i, v in enumerate(values)
    }


AIM = ours("ray_serve_autoscaling_target_replicas", deployment="Model")
CHAMPION = ours("ray_fraudray_model_version", role="champion")
WINDOWS = {"1h": "page", "6h": "page", "1d": "ticket", "3d": "ticket"}


def burning(*windows: str) -> tuple[dict[str, str], ...]:
    """Alerts of these windows."""
    return tuple({"window": w, "severity": WINDOWS[w]} for w in windows)


def replicas(values: str) -> dict[str, str]:
    """Replicas of a stage that die, beside one that is well."""
    return {
        ours("ray_fraudray_replicas", stage="model"): values,
        ours("ray_fraudray_replicas", stage="ingress"): "2x200",
    }


PAGE, TICKET = {"severity": "page"}, {"severity": "ticket"}
STATUS = ours("ray_serve_application_status")
NODE = {"cluster": "local", "instance": "a:8080"}
CASES = (
    # ---- is it there --------------------------------------------------------------------------
    Case("ServingDown", "the application has failed", {STATUS: "6x10 1x20"}, "9m",
         (PAGE | {"cause": "application"},)),
    Case("ServingDown", "it is being deployed", {STATUS: "6x10 5x40"}, "20m"),
    Case("ServingDown", "it has not been started", {STATUS: "6x10 3x20"}, "9m",
         (PAGE | {"cause": "application"},)),
    Case("ServingDown", "one of two replicas finds no room", {STATUS: "6x10 2x40"}, "20m"),
    Case("ServingDegraded", "one of two replicas finds no room now", {STATUS: "6x10 2x40"}, "12m",
         (TICKET,)),
    Case("ServingDegraded", "it was unhealthy for a minute", {STATUS: "6x10 2x2 6x40"}, "6m"),
    Case("ServingDown", "a stage has no replica", replicas("1x10 0x20"), "8m",
         (PAGE | {"cause": "replicas", "stage": "model"},)),
    Case("ServingDown", "a replica was replaced", replicas("1x10 0x1 1x40"), "6m"),
    Case("ServingDown", "no proxy is healthy",
         {node("ray_serve_proxy_status", node_id="a"): "2x10 3x20"}, "9m",
         (PAGE | {"cause": "proxy"},), LOCAL),
    Case("ServingDown", "one of two proxies is ill",
         {node("ray_serve_proxy_status", node_id="a"): "2x40",
          node("ray_serve_proxy_status", node_id="b"): "3x40"}, "9m"),
    Case("ServingDown", "no version is in service",
         {CHAMPION: "0x20", ours("ray_fraudray_model_version", role="challenger"): "2x20"}, "5m",
         (PAGE | {"cause": "version"},)),
    Case("ServingDown", "there is a champion and no challenger",
         {CHAMPION: "3x20", ours("ray_fraudray_model_version", role="challenger"): "0x20"}, "9m"),
    Case("ServingDown", "the cluster fell silent", {CHAMPION: "3x20 stale"}, "14m",
         (PAGE | {"cause": "silence"},), APPLICATION, alone=True),
    Case("ServingDown", "only who tells versions is away",
         {CHAMPION: "3x20 stale", requests("200"): "0+1x90"}, "20m", alone=True),
    Case("ServingDown", "a new cluster took over",
         {CHAMPION: "3x20 stale",
          selector("ray_fraudray_model_version", cluster="next", application="fraudray",
                   role="champion"): "_x15 3x60"}, "20m",
         alone=True),
    Case("NoTraffic", "callers have stopped", {requests("200"): "0+30x140 4200x40"}, "82m",
         (PAGE,)),
    Case("NoTraffic", "they go on", {requests("200"): "0+30x180"}, "82m"),
    Case("NoTraffic", "their key is gone",
         {requests("200"): "0+30x140 4200x40", requests("401"): "0x140 0+30x40"}, "82m", (PAGE,)),
    Case("NoTraffic", "there was hardly any", {requests("200"): "0+1x140 140x40"}, "82m"),
    Case("NoTraffic", "only health checks go on",
         {requests("200"): "0+30x140 4200x40", requests("200", "/health"): "0+30x180"}, "82m",
         (PAGE,)),
    # ---- objectives ---------------------------------------------------------------------------
    Case("ErrorBudgetBurn", "2 % fail", {requests("200"): "0+98x120", requests("503"): "0+2x120"},
         "40m", burning("1h", "6h", "1d", "3d")),
    Case("ErrorBudgetBurn", "1 % fails", {requests("200"): "0+99x120", requests("500"): "0+1x120"},
         "40m", burning("6h", "1d", "3d")),
    Case("ErrorBudgetBurn", "0.4 % fail",
         {requests("200"): "0+996x120", requests("500"): "0+4x120"}, "40m", burning("1d", "3d")),
    Case("ErrorBudgetBurn", "0.2 % fail",
         {requests("200"): "0+998x120", requests("504"): "0+2x120"}, "40m", burning("3d")),
    Case("ErrorBudgetBurn", "0.05 % fail",
         {requests("200"): "0+1999x120", requests("500"): "0+1x120"}, "40m"),
    Case("ErrorBudgetBurn", "most failed for a minute, just now",
         {requests("200"): "0+100x111 11120+20x1 11240+100x40",
          requests("500"): "0x111 80+80x1 160x40"}, "3630s", burning("6h")),
    Case("ErrorBudgetBurn", "1 % has failed since an hour after the start",
         {requests("200"): "0+1000x120 120990+990x100", requests("500"): "0x120 10+10x100"},
         "110m", burning("1d", "3d")),
    Case("ErrorBudgetBurn", "4 % failed until a quarter of an hour ago",
         {requests("200"): "0+96x120", requests("503"): "0+4x60 240x60"}, "46m",
         burning("6h", "1d", "3d")),
    Case("ErrorBudgetBurn", "callers send what is wrong",
         {requests("200"): "0+50x120", requests("422"): "0+50x120"}, "40m"),
    Case("ErrorBudgetBurn", "a route that scores nothing fails",
         {requests("200"): "0+50x120", requests("503", "/v1/stats"): "0+50x120"}, "40m"),
    Case("ErrorBudgetBurn", "one among few fails",
         {requests("200"): "0+1x120", requests("500"): "0x60 1x60"}, "40m"),
    Case("LatencyBudgetBurn", "one of five is slow", predictions(fast="0+80x120", all="0+100x120"),
         "40m", burning("1h", "6h", "1d", "3d")),
    Case("LatencyBudgetBurn", "8 % are slow", predictions(fast="0+92x120", all="0+100x120"),
         "40m", burning("6h", "1d", "3d")),
    Case("LatencyBudgetBurn", "4 % are slow", predictions(fast="0+96x120", all="0+100x120"),
         "40m", burning("1d", "3d")),
    Case("LatencyBudgetBurn", "2 % are slow", predictions(fast="0+98x120", all="0+100x120"),
         "40m", burning("3d")),
    Case("LatencyBudgetBurn", "half a percent is slow",
         predictions(fast="0+995x120", all="0+1000x120"), "40m"),
    Case("LatencyBudgetBurn", "batches take their time",
         predictions(route="/v1/predict/batch", fast="0x120", all="0+100x120"), "40m"),
    Case("LatencyBudgetBurn", "what failed took long",
         predictions(fast="0+100x120", all="0+100x120")
         | predictions(status="504", fast="0x120", all="0+50x120"), "40m"),
    Case("Overload", "one of twenty is refused",
         {requests("200"): "0+95x60", requests("503"): "0+5x60",
          ours("ray_fraudray_refused_total", reason="overload"): "0+5x60"}, "14m", (TICKET,)),
    Case("Overload", "one of a thousand is refused",
         {requests("200"): "0+999x60", requests("503"): "0+1x60",
          ours("ray_fraudray_refused_total", reason="overload"): "0+1x60"}, "14m"),
    Case("Overload", "the decision log is away",
         {requests("200"): "0+95x60", requests("503"): "0+5x60",
          ours("ray_fraudray_refused_total", reason="decision-log"): "0+5x60"}, "14m"),
    # ---- replicas and versions ----------------------------------------------------------------
    Case("ReplicaCrashLooping", "it is started every two minutes",
         starts("1x40 stale", *(f"_x{40 + 4 * i} 1x4 stale" for i in range(6)))
         | {AIM: "1x100"}, "34m", (PAGE | {"deployment": "Model"},)),
    Case("ReplicaCrashLooping", "Prometheus was started beside nine of one day",
         starts(*["_x40 1x100"] * 9) | {AIM: "_x40 1x100"}, "25m"),
    Case("ReplicaCrashLooping", "one died", starts("1x40 stale", "_x42 1x100") | {AIM: "1x100"},
         "25m"),
    Case("ReplicaCrashLooping", "eight were added", starts("1x100", *["_x42 1x100"] * 8)
         | {AIM: "1x40 9x60"}, "25m"),
    Case("ReplicaCrashLooping", "all six were deployed anew",
         starts(*["1x40 stale"] * 6, *["_x42 1x100"] * 6) | {AIM: "6x100"}, "25m"),
    Case("VersionMismatch", "a replica lacks the version",
         {ours("ray_fraudray_replicas_lacking", stage="model"): "0x10 1x20"}, "12m",
         (PAGE | {"cause": "lacking", "stage": "model"},)),
    Case("VersionMismatch", "for a minute, while it loads",
         {ours("ray_fraudray_replicas_lacking", stage="model"): "0x10 1x2 0x40"}, "6m"),
    Case("VersionMismatch", "a stage stays behind",
         {ours("ray_fraudray_stage_version", stage="model"): "3x40",
          ours("ray_fraudray_stage_version", stage="ingress"): "2x40"}, "12m",
         (PAGE | {"cause": "stages"},)),
    Case("VersionMismatch", "the stages are at one version",
         {ours("ray_fraudray_stage_version", stage="model"): "2x10 3x40",
          ours("ray_fraudray_stage_version", stage="ingress"): "2x11 3x40"}, "12m"),
    Case("PromotionFailed", "a version failed for the first time",
         {ours("ray_fraudray_failed_loads_total", stage="rollout"): "_x40 1x60"}, "22m",
         (TICKET | {"stage": "rollout"},)),
    Case("PromotionFailed", "that was half an hour ago",
         {ours("ray_fraudray_failed_loads_total", stage="rollout"): "_x40 1x60"}, "50m"),
    Case("RegistryDown", "for a quarter of an hour",
         {ours("ray_fraudray_registry_up"): "1x10 0x40"}, "20m", (TICKET,)),
    Case("RegistryDown", "for five minutes",
         {ours("ray_fraudray_registry_up"): "1x10 0x10 1x40"}, "10m"),
    # ---- the model ----------------------------------------------------------------------------
    Case("AlertRateJump", "a promotion made it ten times as high",
         decisions("0+2x20 40+20x40", "0+98x20 1960+80x40"), "15m", (PAGE,)),
    Case("AlertRateJump", "it alerts on nothing", decisions("0x60", "0+300x60"), "15m", (PAGE,)),
    Case("AlertRateJump", "the version before alerted more, which is not expected of this one",
         decisions("0+100x20 2000x40", "0+900x20 18000x40", "0.1x20 0.02x40", "3x20 4x40"), "13m"),
    Case("AlertRateJump", "it is twice as high", decisions("0+40x60", "0+960x60"), "15m"),
    Case("AlertRateJump", "three of ten, and no more payments", decisions("0x4 3x60", "0x4 7x60"),
         "6m"),
    Case("AlertRateJump", "none of a hundred and fifty, by chance", decisions("0x60", "0+15x60"),
         "15m"),
    Case("FieldBroken", "a third arrives without the field", odd("missing", "0+33x100"), "20m",
         (PAGE | {"kind": "missing", "feature": "amount"},)),
    Case("FieldBroken", "a third has a value nobody knows", odd("unknown", "0+33x100"), "20m",
         (PAGE | {"kind": "unknown", "feature": "amount"},)),
    Case("FieldBroken", "as many as ever", odd("missing", "0+33x100", expected="0.3x100"), "20m"),
    Case("FieldBroken", "one of ten", odd("unknown", "0+10x100"), "20m"),
    Case("FieldBroken", "a few payments in all",
         odd("missing", "0+1x100", seen="0+2x100"), "20m"),
    Case("FieldBroken", "hardly any ever had it, and chance did the rest",
         odd("missing", "0+29x100", expected="0.95x100", seen="0+30x100"), "20m"),
    Case("ScoreDrift", "they moved", psi("0.4", "0.1", "score"), "20m", (TICKET,)),
    Case("ScoreDrift", "they moved a little", psi("0.2", "0.1", "score"), "20m"),
    Case("ScoreDrift", "chance does as much", psi("0.4", "0.5", "score"), "20m"),
    Case("FeatureDrift", "a field moved", psi("0.4", "0.1", feature="amount"), "20m",
         (TICKET | {"feature": "amount"},)),
    Case("FeatureDrift", "a field moved a little", psi("0.2", "0.1", feature="amount"), "20m"),
    Case("FeatureDrift", "chance does as much; another field has less chance",
         psi("0.4", "0.5", feature="amount") | psi("0.05", "0.1", feature="numItems"), "20m"),
    Case("FeedbackPrecision", "it fell by a third", feedback("0.9x60 0.6x200", "120x260"), "100m",
         (TICKET | {"model_version": "3", "role": "champion"},)),
    Case("FeedbackPrecision", "it fell by a third, by chance",
         feedback("0.3x60 0.2x200", "120x260"), "100m"),
    Case("FeedbackPrecision", "as a challenger it was better",
         feedback("0.9x60 0.9x200", "300x260", role="challenger")
         | feedback("0.6x260", "800x260"), "100m"),
    Case("FeedbackPrecision", "it fell by a tenth", feedback("0.9x60 0.8x200", "800x260"), "100m"),
    Case("FeedbackPrecision", "few labels", feedback("0.9x60 0.6x200", "90x260"), "100m"),
    Case("FeedbackPrecision", "a new version begins lower",
         feedback("0.9x200", "800x260", "2") | feedback("0.6x200", "800x260"), "90m"),
    # ---- the decision log ---------------------------------------------------------------------
    Case("DecisionLogDown", "the database is away",
         {ours("ray_fraudray_decision_log_up"): "1x10 0x40"}, "12m", (PAGE,)),
    Case("DecisionLogDown", "its writer is gone",
         {ours("ray_fraudray_decision_log_up"): "1x10 stale", CHAMPION: "3x60"}, "12m", (PAGE,)),
    Case("DecisionLogDown", "it was away for two minutes",
         {ours("ray_fraudray_decision_log_up"): "1x10 0x4 1x40"}, "7m"),
    Case("DecisionsLost", "an ingress drops what it cannot keep",
         {ours("ray_fraudray_decision_log_dropped_total"): "_x40 250x60"}, "22m",
         (TICKET | {"cause": "dropped"},)),
    Case("DecisionsLost", "none were dropped of late",
         {ours("ray_fraudray_decision_log_dropped_total"): "250x100"}, "30m"),
    Case("DecisionsLost", "an ingress was killed",
         {ours("ray_fraudray_decision_log_lost"): "7x40 30x60"}, "22m",
         (TICKET | {"cause": "lost"},)),
    Case("DecisionsLost", "the writer was started anew and knows of older losses",
         {ours("ray_fraudray_decision_log_lost", WorkerId="a"): "30x40 stale",
          ours("ray_fraudray_decision_log_lost", WorkerId="b"): "_x42 30x60"}, "25m"),
    # ---- sweeps and nodes ---------------------------------------------------------------------
    Case("SweepStalled", "trials run and none reports", sweep("2x200", "0+1x40 40x160"), "60m",
         (TICKET | {"sweep": "nightly"},), LOCAL),
    Case("SweepStalled", "trials report", sweep("2x200", "0+1x200"), "60m"),
    Case("SweepStalled", "all trials have ended", sweep("2x40 0x160", "0+1x40 40x160"), "60m"),
    Case("WorkerLost", "a node is gone",
         {node("ray_node_cpu_count"): "8x100", node("ray_node_cpu_count", "b:8080"): "8x40 stale"},
         "25m", (TICKET | {"cause": "node"},), LOCAL),
    Case("WorkerLost", "the autoscaler stopped a node",
         {node("ray_node_cpu_count"): "8x100", node("ray_node_cpu_count", "b:8080"): "8x40 stale",
          selector("autoscaler_stopped_nodes_total", cluster="local"): "0x38 1x100"}, "25m"),
    Case("WorkerLost", "a node came",
         {node("ray_node_cpu_count"): "8x100", node("ray_node_cpu_count", "b:8080"): "_x40 8x60"},
         "25m"),
    Case("WorkerLost", "memory ran out",
         {node("ray_memory_manager_worker_eviction_total", Type="ACTOR"): "_x40 1x60"}, "22m",
         (TICKET | {"cause": "memory"},), LOCAL),
    Case("WorkerLost", "processes die",
         {node("ray_node_manager_unexpected_worker_failure_total"): "1x40 5x60"}, "22m",
         (TICKET | {"cause": "process"},), LOCAL),
    Case("WorkerLost", "one process died",
         {node("ray_node_manager_unexpected_worker_failure_total"): "1x40 2x60"}, "22m"),
    Case("DiskFilling", "3 % are free",
         {node("ray_node_disk_free"): "3e9x60", node("ray_node_disk_usage"): "97e9x60"}, "20m",
         (PAGE, TICKET), NODE),
    Case("DiskFilling", "10 % are free",
         {node("ray_node_disk_free"): "10e9x60", node("ray_node_disk_usage"): "90e9x60"}, "20m",
         (TICKET,), NODE),
    Case("DiskFilling", "30 % are free",
         {node("ray_node_disk_free"): "30e9x60", node("ray_node_disk_usage"): "70e9x60"}, "20m"),
    Case("ObjectStoreFull", "95 % are in use",
         {node("ray_object_store_used_memory"): "95e6x60",
          node("ray_object_store_available_memory"): "5e6x60"}, "15m", (TICKET,), NODE),
    Case("ObjectStoreFull", "95 % were in use for three minutes",
         {node("ray_object_store_used_memory"): "1e6x10 95e6x6 1e6x60",
          node("ray_object_store_available_memory"): "99e6x10 5e6x6 99e6x60"}, "8m"),
)  # fmt: skip


def alerts() -> list[dict[str, Any]]:
    """The alerting rules as committed."""
    groups = yaml.safe_load(RULES[1].read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def promtool(program: str, tests: dict[str, Any], folder: Path) -> None:
    """Have promtool run these tests."""
    file = folder / "tests.yaml"
    file.write_text(yaml.safe_dump(tests), "utf-8")
    told = subprocess.run(
        [program, "test", "rules", file], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr


def test_rules_are_rules(require: Callable[[str], str]) -> None:
    subprocess.run([require("promtool"), "check", "rules", *RULES], check=True)


@pytest.mark.parametrize("alert", sorted({case.alert for case in CASES}))
def test_fires_when_it_must_and_only_then(
    alert: str, require: Callable[[str], str], tmp_path: Path
) -> None:
    cases = [case for case in CASES if case.alert == alert]
    together = {
        "interval": "30s",
        "input_series": [series for case in cases for series in case.inputs],
        "promql_expr_test": [case.test for case in cases],
    }
    tests = {
        "rule_files": [str(path) for path in RULES],
        "evaluation_interval": "30s",
        "tests": [together],
    }
    promtool(require("promtool"), tests, tmp_path)


def test_what_is_told_can_be_read(require: Callable[[str], str], tmp_path: Path) -> None:
    (broken,) = (rule for rule in alerts() if rule["labels"].get("kind") == "missing")
    links = {name: broken["annotations"][name] for name in ("runbook_url", "dashboard_url")}
    links["dashboard_url"] = links["dashboard_url"].replace(
        "{{ with $labels.cluster }}?var-cluster={{ . | urlquery }}{{ end }}", "?var-cluster=a+b"
    )
    told = links | {
        "summary": "amount arrives without a value",
        "description": "Of the payments that used to have a value the model knows, 32.32% now have "
        "amount without a value: a caller has changed what it sends, and the model decides without "
        "that field.",
    }
    labels = {"cluster": "a b", **APPLICATION, "feature": "amount", **broken["labels"]}
    series = {s.replace("local", "a b"): v for s, v in odd("missing", "0+33x100").items()}
    tests = {
        "rule_files": [str(path) for path in RULES],
        "evaluation_interval": "30s",
        "tests": [
            {
                "interval": "30s",
                "input_series": [{"series": s, "values": v} for s, v in series.items()],
                "alert_rule_test": [
                    {
                        "eval_time": "20m",
                        "alertname": broken["alert"],
                        "exp_alerts": [{"exp_labels": labels, "exp_annotations": told}],
                    }
                ],
            }
        ],
    }
    promtool(require("promtool"), tests, tmp_path)


def test_every_rule_is_seen_firing_and_every_alert_silent() -> None:
    def key(name: str, labels: Mapping[str, str]) -> tuple[str, ...]:
        told = {n: labels.get(n, "") for n in ("severity", "cause", "kind", "window")}
        return (name, *told.values())

    fired = {key(f"Fraudray{c.alert}", labels) for c in CASES for labels in c.fires}
    assert fired == {key(rule["alert"], rule["labels"]) for rule in alerts()}
    silent = {f"Fraudray{c.alert}" for c in CASES if not c.fires}
    assert silent == {rule["alert"] for rule in alerts()}
