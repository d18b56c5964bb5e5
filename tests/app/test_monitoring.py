"""A real Prometheus reads a real graph: every query of ours has data, and numbers are the client's.

The graph reports and is read every two seconds, and every duration in rules and queries is ten
times shorter than outside of tests; nothing else differs.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
import ray
import yaml
from playwright.sync_api import sync_playwright
from surroundings import alive

from fraudray.monitoring import shipped
from grafana.settings import FEWEST_LABELS
from serve_app.client import Client, ServiceError
from training.data import check, records_of
from training.simulate import simulate, write

pytestmark = [pytest.mark.slow, pytest.mark.timeout(700)]

FASTER = 10.0
REPORT = 2000
"""Milliseconds between two of Ray's reports; to write them out takes the agent up to a second."""
SOON = 300.0
"""Seconds of traffic after which every query must have data; some look back for 90."""
PAUSE = 60.0
"""Seconds for which Ray's own gauges may be away on a busy machine."""
DASHBOARDS = sorted((shipped() / "dashboards").glob("*.json"))
RULES = sorted((shipped() / "rules").glob("*.yaml"))
NOT_HERE = {
    "ray_memory_manager_worker_eviction_total": "begins when memory runs out for the first time",
    "ray_node_manager_unexpected_worker_failure_total": "begins when a process has died",
    "ray_serve_deployment_error_counter_total": "begins when a deployment has failed",
}
"""Series of Ray's that a graph without a fault does not have, each with the reason."""


@dataclass
class Traffic:
    """What a client has sent, and what it was answered."""

    url: str
    records: list[dict[str, Any]]
    fields: list[str]
    answered: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Answers by route and status."""
    decided: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Payments by version and decision."""
    labelled: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    """Payments without a value, by field."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while a request is sent and counted."""

    def send(self, path: str, body: Any, **headers: str) -> httpx.Response:
        """Post something, and count what is answered."""
        with self.lock:
            answer = httpx.post(f"{self.url}{path}", json=body, headers=headers, timeout=30)
            self.answered[path, str(answer.status_code)] += 1
            if answer.status_code == 200 and path.startswith(("/v1/predict", "/v1/explain")):
                payments = body if isinstance(body, list) else [body]
                answers = answer.json() if isinstance(body, list) else [answer.json()]
                for payment, one in zip(payments, answers, strict=True):
                    self.decided[one["model_version"], str(one["decision"])] += 1
                    self.missing.update(n for n in self.fields if payment.get(n) is None)
        return answer

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Single payments, some twenty a second, while the block runs."""
        over = threading.Event()

        def go_on() -> None:
            place = 0
            while not over.wait(0.05):
                # Callers who no longer send a field: a page, which dashboards show.
                payment = self.records[place % len(self.records)] | {"amount": None}
                self.send("/v1/predict", payment)
                place += 1

        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@dataclass
class Watched:
    """A graph, its Prometheus, and what was sent."""

    served: Any
    prometheus: Any
    traffic: Traffic
    since: float = 0.0
    """When traffic of all kinds began."""

    def until(self, query: str, expected: float, seconds: float = 90.0) -> None:
        """Wait until a query finds a number; all that is on the way takes some seconds."""
        deadline = time.monotonic() + seconds
        while (found := self.prometheus.number(query)) != pytest.approx(expected, abs=1e-9):
            assert time.monotonic() < deadline, f"{query}: {found}, expected {expected}"
            time.sleep(0.3)


@pytest.fixture(scope="module")
def watched(
    start_graph: Any, start_prometheus: Any, free_ports: Callable[[int], list[int]]
) -> Iterator[Watched]:
    """A fresh graph that Prometheus reads from its first request on."""
    (port,) = free_ports(1)
    environment = {
        "RAY_metrics_report_interval_ms": f"{REPORT}",
        "RAY_PROMETHEUS_HOST": f"http://127.0.0.1:{port}",
    }
    with (
        start_graph(**environment) as served,
        start_prometheus(served.home / "state", port, FASTER) as prometheus,
    ):
        fields = list(served.rows.spec.inputs)
        yield Watched(served, prometheus, Traffic(served.url, served.records, fields))


def test_the_numbers_are_what_the_client_counted(watched: Watched) -> None:
    traffic, served = watched.traffic, watched.served
    records, truth = served.records, served.rows.label.tolist()
    for record in records[:60]:
        traffic.send("/v1/predict", record)
    for number in range(2):
        headers = {"X-Request-Id": f"list-{number}"}
        traffic.send("/v1/predict/batch", records, **headers)
        labels = [
            {"request_id": f"list-{number}", "payment": i, "label": t} for i, t in enumerate(truth)
        ]
        assert traffic.send("/v1/feedback", labels).status_code == 200
        traffic.labelled.update(str(t) for t in truth)
    # Alerts with a label, as many as precision is told from.
    payments = check(simulate(8_000, seed=5), served.rows.spec, source="simulated")
    frauds = payments.take(np.flatnonzero(payments.label))
    several = 4 * list(records_of(frauds, traffic.fields))
    traffic.send("/v1/predict/batch", several, **{"X-Request-Id": "frauds"})
    labels = [{"request_id": "frauds", "payment": i, "label": 1} for i in range(len(several))]
    assert traffic.send("/v1/feedback", labels).status_code == 200
    traffic.labelled["1"] += len(several)
    traffic.send("/v1/predict/batch", [{**record, "amount": None} for record in records])
    traffic.send("/v1/predict", {"amount": "much"})
    traffic.send("/v1/predict", {})
    traffic.send("/v1/explain", records[0])

    for (route, status), count in traffic.answered.items():
        labels = f'route="{route}",status="{status}"'
        watched.until(f"sum(ray_fraudray_requests_total{{{labels}}})", count)
        if status == "200":
            watched.until(f"sum(ray_fraudray_request_seconds_count{{{labels}}})", count)
    assert {status for _, status in traffic.answered} == {"200", "422"}
    watched.until('sum(ray_fraudray_refused_total{reason="invalid"})', 2)
    for label, count in traffic.labelled.items():
        watched.until(f'sum(ray_fraudray_labels_total{{label="{label}"}})', count)
    decided = sum(traffic.decided.values())
    watched.until("sum(ray_fraudray_payments_seen_total)", decided)
    watched.until("sum(ray_fraudray_drift_payments)", decided)
    for feature in traffic.fields:
        name = f'ray_fraudray_missing_total{{feature="{feature}"}}'
        watched.until(f"sum({name})", traffic.missing[feature])
    assert traffic.missing["amount"] >= len(records)


def test_decisions_are_counted_by_the_version_that_made_them(watched: Watched) -> None:
    traffic, served = watched.traffic, watched.served
    with Client(served.url) as client:
        client.promote("2")
        traffic.send("/v1/predict/batch", served.records[:150])
        watched.until('max(ray_fraudray_model_version{role="champion"})', 2)
        client.rollback()
    watched.until('max(ray_fraudray_model_version{role="champion"})', 1)
    watched.until("sum(ray_fraudray_promotions_total)", 2)
    assert {version for version, _ in traffic.decided} == {"1", "2"}
    for (version, decision), count in traffic.decided.items():
        labels = f'model_version="{version}",role="champion",decision="{decision}"'
        watched.until(f"sum(ray_fraudray_decisions_total{{{labels}}})", count)
    for version in ("1", "2"):
        scored = sum(n for (v, _), n in traffic.decided.items() if v == version)
        watched.until(f'sum(ray_fraudray_score_count{{model_version="{version}"}})', scored)
    watched.until("sum(ray_fraudray_decision_log_written_total)", sum(traffic.decided.values()))
    watched.until("sum(ray_fraudray_decision_log_pending)", 0)


def test_live_quality_is_that_of_the_labels(watched: Watched) -> None:
    with Client(watched.served.url) as client:
        (quality,) = [q for q in client.stats()["quality"] if q["role"] == "champion"]
    alerts = quality["true_positive"] + quality["false_positive"]
    frauds = quality["true_positive"] + quality["false_negative"]
    assert alerts > FEWEST_LABELS
    watched.until("sum(ray_fraudray_labelled_payments)", quality["labelled"])
    watched.until("sum(ray_fraudray_labelled_alerts)", alerts)
    watched.until("sum(ray_fraudray_live_recall)", quality["true_positive"] / frauds)
    watched.until("sum(ray_fraudray_live_precision)", quality["true_positive"] / alerts)


@pytest.fixture(scope="module")
def lively(
    watched: Watched, free_ports: Callable[[int], list[int]], require: Callable[[str], str]
) -> Iterator[Watched]:
    """The same graph with a challenger, a refused version, a page, a sweep, and traffic."""
    served, (page, sweep) = watched.served, free_ports(2)
    with Client(served.url) as client, pytest.raises(ServiceError):
        client.promote(served.damaged())
    served.run("models challenger 3 --shadow")
    payments = served.home / "payments.parquet"
    write(simulate(8_000, seed=9), payments)
    commands = [
        f"ui --port {page} --url {served.url}",
        # It goes on until it is killed: a sweep that has ended tells nothing more.
        f"tune {payments} --address {_cluster(served)} --metrics {sweep} --trials 9999 --promote "
        "never --registered-model fraudray-sweep --concurrency 1 --models logistic-regression",
    ]
    with (served.home / "beside.log").open("wb") as log:
        started = [
            subprocess.Popen(
                [sys.executable, "-m", "fraudray", *command.split()],
                cwd=served.home, env=served.environment, stdout=log, stderr=log,
            )
            for command in commands
        ]  # fmt: skip
    try:
        with watched.traffic.going_on():
            watched.since = time.monotonic()
            _visit(require("chromium"), f"http://127.0.0.1:{page}", served)
            yield watched
    finally:
        for process in started:
            process.send_signal(signal.SIGINT)
        for process in started:
            process.wait(60)


def _visit(chromium: str, page: str, served: Any) -> None:
    """Open the page in a browser with a payment that is refused: what it counts is there then."""
    served.until(lambda: httpx.get(page, timeout=5).status_code == 200)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        opened = browser.new_page()
        opened.goto(f"{page}/?amount=5")
        opened.get_by_text("Not scored").wait_for(timeout=60_000)
        browser.close()


def _cluster(served: Any) -> str:
    """Where other drivers join the cluster of a graph."""
    for _, told in served.processes():
        if "raylet" in told and (found := re.search(r"--gcs-address=(\S+)", told)):
            return found[1]
    raise AssertionError("no raylet runs")


def _queries(path: Path) -> Iterator[tuple[str, str]]:
    """Every query of a dashboard, with where it stands."""

    def within(what: Any, where: str) -> Iterator[tuple[str, str]]:
        if isinstance(what, dict):
            where = str(what.get("title") or what.get("name") or where)
            if isinstance(what.get("expr"), str):
                yield where, what["expr"]
            query = what.get("query")
            query = query.get("query") if isinstance(query, dict) else query
            if isinstance(query, str) and what.get("type") == "query":
                yield where, re.sub(r"^label_values\((.*),\s*\w+\)$", r"\1", query)
            for value in what.values():
                yield from within(value, where)
        elif isinstance(what, list):
            for value in what:
                yield from within(value, where)

    yield from within(json.loads(path.read_text()), path.stem)


def _chosen(query: str) -> str:
    """The query as Grafana asks it, with all that can be chosen."""
    for name, value in {"rate_interval": "1m", "range": "10m", "interval": "1m"}.items():
        query = re.sub(rf"\$__{name}\b|\$\{{__{name}\}}", value, query)
    return re.sub(r"\$\{\w+(:\w+)?\}|\$\w+", ".*", query)


def _unconditional(expression: str) -> str:
    """The expression with its comparisons taken off: all that it looks at must be there.

    Both sides of a comparison are subtracted, which joins them as the comparison does, and what
    `unless` takes away is asked for.
    """
    parts = re.split(r'(\{[^}]*\}|"[^"]*")', expression)
    for place in range(0, len(parts), 2):
        parts[place] = re.sub(r"(==|!=|>=|<=|>|<)( bool)?", " - ", parts[place])
        parts[place] = re.sub(r"\bunless\b", "and", parts[place])
    return "".join(parts)


def _without_data(watched: Watched, asked: dict[str, str]) -> dict[str, str]:
    """The queries that find nothing, after a while in which each is asked again and again."""
    left = {where: query for where, query in asked.items() if not any(s in query for s in NOT_HERE)}
    deadline = max(watched.since + SOON, time.monotonic() + PAUSE)
    while left and time.monotonic() < deadline:
        left = {where: query for where, query in left.items() if not watched.prometheus.ask(query)}
        time.sleep(1)
    return left


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_query_of_a_dashboard_has_data(lively: Watched, path: Path) -> None:
    asked = {f"{where}: {query}": _unconditional(_chosen(query)) for where, query in _queries(path)}
    assert asked
    assert list(_without_data(lively, asked)) == []


def test_every_metric_that_is_named_is_there(lively: Watched) -> None:
    """Also where a query makes do without: `or vector(0)` finds something in any case."""
    texts = "".join(path.read_text() for path in (*DASHBOARDS, *RULES))
    named = set(re.findall(r"\b(?:ray|fraudray|haproxy|autoscaler)_\w+(?=[{\[ )])", texts))
    assert named
    assert list(_without_data(lively, {name: name for name in named})) == []


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_every_rule_has_data(lively: Watched, path: Path) -> None:
    asked = {
        f"{rule.get('record') or rule['alert']}: {rule['expr']}": _unconditional(rule["expr"])
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    }
    assert asked
    assert list(_without_data(lively, asked)) == []


def test_every_rule_is_evaluated_without_an_error(lively: Watched) -> None:
    groups = lively.prometheus.get("rules")["groups"]
    assert {group["name"] for group in groups} == {
        group["name"] for path in RULES for group in yaml.safe_load(path.read_text())["groups"]
    }
    assert [r for g in groups for r in g["rules"] if r["health"] != "ok"] == []


def test_what_cannot_be_here_is_nowhere_to_be_found(watched: Watched) -> None:
    panels = Path(ray.__path__[0]) / "dashboard" / "modules" / "metrics" / "dashboards"
    asked = "".join(path.read_text("utf-8") for path in panels.glob("*_panels.py"))
    for series in NOT_HERE:
        assert watched.prometheus.ask(f"{series}") == [], f"{series} is here after all"
        assert series.removeprefix("ray_") in asked, f"Ray's own dashboards do not know {series}"


def test_the_ray_dashboard_finds_what_draws_its_graphs(watched: Watched) -> None:
    state = watched.served.home / "state"
    token = (state / "ray-token").read_text().strip()
    answer = httpx.get(
        f"{watched.served.dashboard}/api/prometheus_health",
        headers={"Authorization": f"Bearer {token}"}, timeout=60,
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    drawn = {path.name for path in (state / "monitoring" / "ray-dashboards").glob("*.json")}
    assert {"default_grafana_dashboard.json", "serve_grafana_dashboard.json"} <= drawn


def test_the_command_finds_what_runs_and_leaves_nothing_behind(
    watched: Watched, free_ports: Callable[[int], list[int]], environment: dict[str, str]
) -> None:
    port, *others = free_ports(3)
    state = watched.served.home / "state"
    process = subprocess.Popen(
        ["fraudray", "monitoring", "--port", str(port), "--alertmanager-port", str(others[0]),
         "--grafana-port", str(others[1]), "--interval", "2"],
        env=environment | {"FRAUDRAY_HOME": str(state)}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    api = f"http://127.0.0.1:{port}/api/v1"
    try:
        health: Counter[tuple[str, str]] = Counter()
        deadline = time.monotonic() + 60
        while health[("ray", "up")] < 3 or health[("haproxy", "up")] < 1:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline, health
            time.sleep(0.5)
            with suppress(httpx.HTTPError):
                answer = httpx.get(f"{api}/targets").raise_for_status()
                found = answer.json()["data"]["activeTargets"]
                health = Counter((t["labels"]["job"], t["health"]) for t in found)
                assert {t["labels"]["cluster"] for t in found} <= {"local"}
        rules = httpx.get(f"{api}/rules").json()["data"]["groups"]
        assert sum(len(group["rules"]) for group in rules) > 0
        below = psutil.Process(process.pid).children(recursive=True)
        assert "prometheus" in {p.name() for p in below}
        for child in below:
            for connection in child.net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    assert connection.laddr.ip == "127.0.0.1"
    finally:
        process.send_signal(signal.SIGINT)
        told, _ = process.communicate(timeout=60)
    assert process.returncode == 0, told
    assert f"http://127.0.0.1:{port}" in told
    assert not alive(below)
