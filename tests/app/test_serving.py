"""The graph as it is served: real Ray, real HAProxy, a real registry, and things that go wrong."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import psutil
import pyarrow as pa
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from prometheus_client.parser import text_string_to_metric_families

from serve_app.client import AsyncClient, BadRequest, Client, ServiceError

pytestmark = pytest.mark.slow

REPORT = 2
"""Seconds between two of Ray's reports to Prometheus."""
RAYS = {"Component", "NodeAddress", "SessionName", "Version", "WorkerId"}
"""Labels that Ray adds, besides those of OpenTelemetry."""
MONOTONIC = ("_total", "_count", "_sum", "_bucket")
"""How names of series end whose values only grow."""
TABLE = Path(__file__).parents[2] / "docs" / "monitoring.md"


def scraped(served: Any) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every series of ours at Ray's addresses, without Ray's labels, added up over processes."""
    token = (served.home / "state" / "ray-token").read_text()
    found = httpx.get(
        f"{served.dashboard}/api/prometheus/sd", headers={"Authorization": f"Bearer {token}"},
        timeout=30,
    ).raise_for_status()  # fmt: skip
    series: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for target in found.json()[0]["targets"]:
        text = httpx.get(f"http://{target}/metrics", timeout=30).text
        for family in text_string_to_metric_families(text):
            for name, labels, value, *_ in family.samples:
                if name.startswith("ray_fraudray_"):
                    assert labels.pop("application") == "fraudray"
                    rays = RAYS | {label for label in labels if label.startswith("otel_")}
                    own = tuple(sorted((k, v) for k, v in labels.items() if k not in rays))
                    key = name.removeprefix("ray_fraudray_"), own
                    series[key] = series.get(key, 0.0) + value
    return series


def settled(served: Any) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every series, once counters have stood still for longer than a count is on its way.

    A gauge that is not renewed for some seconds is missing from one answer or another.
    """
    deadline, since, series = time.monotonic() + 120, time.monotonic(), scraped(served)
    while time.monotonic() < since + 5 * REPORT:
        time.sleep(REPORT / 2)
        now = scraped(served)
        if any(now[key] != series.get(key) for key in now if key[0].endswith(MONOTONIC)):
            since = time.monotonic()
        series |= now
        assert since < deadline, "counters do not come to rest"
    return series


@pytest.fixture(scope="module")
def served(start_graph: Any) -> Iterator[Any]:
    """Three versions trained, the first of them served by `fraudray serve`."""
    with start_graph(RAY_metrics_report_interval_ms=str(1000 * REPORT)) as served:
        yield served


def crowned(served: Any, version: str) -> None:
    """Let a version serve, for the test that follows."""
    with Client(served.url) as client:
        assert client.promote(version)["version"] == version


@pytest.mark.parametrize("version", ["3", "2", "1"])
def test_every_way_to_score_gives_what_the_bundle_gives_offline(served: Any, version: str) -> None:
    crowned(served, version)
    expected = served.offline(version)
    with Client(served.url) as client:
        listed = client.predict(served.records, request_id=f"list-{version}")
        one = client.predict_one(served.records[7])
        table = client.predict_table(pa.Table.from_pylist(served.records))
        explained = client.explain(served.records[7])
    assert [a["probability"] for a in listed] == expected.tolist()
    assert {a["model_version"] for a in listed} == {version}
    assert table["probability"].to_pylist() == expected.tolist()
    assert table["decision"].to_pylist() == [a["decision"] for a in listed]
    assert one["probability"] == explained["probability"] == expected[7]
    served.answered.append((f"list-{version}", len(served.records)))


class Load:
    """Callers who ask without a pause, and every answer held against the version it names."""

    def __init__(self, served: Any, callers: int, *, retries: int = 0) -> None:
        self._served = served
        self._callers = callers
        self._retries = retries
        self._expected: dict[str, list[float]] = {}
        self.versions: dict[str, int] = {}
        self.failed: list[str] = []
        self.longest = 0.0

    async def during(self, work: Callable[[], Any]) -> Any:
        """Do something in a thread while they ask."""
        over = asyncio.Event()

        async def caller(client: AsyncClient, number: int) -> None:
            place = number
            while not over.is_set():
                place = (place + 1) % len(self._served.records)
                began = time.perf_counter()
                name = f"load-{id(self)}-{number}-{began}"
                try:
                    answer = await client.predict_one(self._served.records[place], request_id=name)
                except ServiceError as error:
                    self.failed.append(str(error))
                    continue
                self.longest = max(self.longest, time.perf_counter() - began)
                self._served.answered.append((name, 1))
                version = answer["model_version"]
                if version not in self._expected:
                    self._expected[version] = self._served.offline(version).tolist()
                assert answer["probability"] == self._expected[version][place]
                self.versions[version] = self.versions.get(version, 0) + 1

        async with AsyncClient(self._served.url, retries=self._retries) as client:
            callers = [asyncio.create_task(caller(client, n)) for n in range(self._callers)]
            await asyncio.sleep(1)
            try:
                return await asyncio.to_thread(work)
            finally:
                await asyncio.sleep(1)
                over.set()
                await asyncio.gather(*callers)


def test_promotions_under_load_fail_nobody_and_mix_nothing(served: Any) -> None:
    def orders() -> None:
        with Client(served.url) as client:
            for version in ("2", "3", "1"):
                assert client.promote(version)["version"] == version
            assert client.rollback()["version"] == "3"
            client.promote("1")

    load = Load(served, 16)
    asyncio.run(load.during(orders))
    assert load.failed == []
    assert set(load.versions) == {"1", "2", "3"}
    assert load.longest < 10


def test_the_graph_follows_the_registry_whoever_writes_it(served: Any) -> None:
    assert "follows" in served.run("models promote 2")
    served.until(lambda: served.model["version"] == "2")
    served.run("models rollback")
    served.until(lambda: served.model["version"] == "1")


def test_a_configuration_applied_again_reverts_no_promotion(served: Any) -> None:
    crowned(served, "3")
    port = served.url.rpartition(":")[2]
    told = served.run(f"deploy --address {served.dashboard} --port {port} --no-keys")
    assert "is deployed" in told
    served.until(lambda: httpx.get(f"{served.url}/ready").status_code == 200)
    assert served.model["version"] == "3"
    crowned(served, "1")


def test_a_damaged_version_never_serves_and_the_reason_is_told(served: Any) -> None:
    tracking, damaged = served.tracking(), served.damaged()
    with Client(served.url) as client, pytest.raises(ServiceError) as refused:
        client.promote(damaged)
    assert refused.value.status == 409
    assert served.model["version"] == "1"
    # Named past all checks, by hand in MLflow, it does not serve either.
    tracking._client.set_registered_model_alias("fraudray-payments", "champion", damaged)
    served.until(lambda: bool(served.model["failed"]))
    model = served.model
    assert (model["version"], model["failed"][0]["version"]) == ("1", damaged)
    told = served.run(f"status --address {served.dashboard} --url {served.url}")
    assert f"version {damaged} was refused" in " ".join(told.split())
    crowned(served, "1")


def test_a_threshold_moves_the_running_graph_and_comes_back(served: Any) -> None:
    with Client(served.url) as client:
        before = client.model()
        moved = client.threshold(threshold=0.011)
        answers = client.predict(served.records)
        assert {a["threshold"] for a in answers} == {0.011}
        assert {a["model_version"] for a in answers} == {moved["version"]}
        assert [a["decision"] for a in answers] == [
            int(p >= 0.011) for p in served.offline("1").tolist()
        ]
        client.threshold(policy="recall>=0.9")
        assert client.model()["policy"] == "recall>=0.9"
        client.rollback()
        client.rollback()
        assert client.model()["threshold"] == before["threshold"]
        actions = [change["action"] for change in client.history()]
    assert actions[:4] == ["rollback", "rollback", "threshold", "threshold"]


def test_a_challenger_watches_then_answers_its_share(served: Any) -> None:
    served.run("models challenger 3 --shadow")
    served.until(lambda: served.model["challenger"] is not None)
    with Client(served.url) as client:
        answers = client.predict(served.records, request_id="watched")
        assert {a["model_version"] for a in answers} == {"1"}
        served.answered.append(("watched", len(served.records)))
        served.until(lambda: bool(client.stats()["shadow"]))
        (shadow,) = client.stats()["shadow"]
        difference = np.abs(served.offline("1") - served.offline("3")).mean()
        assert (shadow["champion"], shadow["challenger"]) == ("1", "3")
        assert shadow["rows"] >= len(served.records)
        assert shadow["mean_difference"] == pytest.approx(difference, rel=0.2)
        client.challenger("3", mode="share", share=0.5)
        met = {
            key: {
                client.predict_one(served.records[0], sticky_key=str(key))["model_version"]
                for _ in range(3)
            }
            for key in range(20)
        }
        assert all(len(versions) == 1 for versions in met.values())
        assert {"1", "3"} == set.union(*met.values())
        client.challenger(None)
        assert client.model()["challenger"] is None


def test_labels_join_their_decisions(served: Any) -> None:
    with Client(served.url) as client:
        answers = client.predict(served.records, request_id="labelled")
        served.answered.append(("labelled", len(served.records)))
        truth = served.rows.label.tolist()
        count = client.feedback_many(
            [{"request_id": "labelled", "payment": i, "label": t} for i, t in enumerate(truth)]
        )
        assert count == len(truth)
        with pytest.raises(ServiceError) as unknown:
            client.feedback("nobody", 1)
        assert unknown.value.status == 404
        found = {(q["version"], q["role"]): q for q in client.stats()["quality"]}
        quality = found["1", "champion"]
    caught = sum(a["decision"] and t for a, t in zip(answers, truth, strict=True))
    assert quality["labelled"] == len(truth)
    assert quality["true_positive"] == caught
    assert quality["false_negative"] == sum(truth) - caught


@pytest.fixture(scope="module")
def doubled(served: Any) -> Any:
    """From here on with two replicas a stage."""
    served.double()
    return served


@pytest.mark.parametrize("stage", ["FeatureEngineering", "Model", "Threshold", "Rollout"])
def test_a_dead_replica_of_an_inner_stage_fails_nobody(doubled: Any, stage: str) -> None:
    load = Load(doubled, 8)
    asyncio.run(load.during(lambda: _killed(doubled, stage)))
    assert load.failed == []
    assert load.versions


def test_a_dead_ingress_fails_no_caller_who_asks_again(doubled: Any) -> None:
    load, before = Load(doubled, 8, retries=8), len(doubled.answered)
    asyncio.run(load.during(lambda: _killed(doubled, "Ingress")))
    assert load.failed == []
    assert load.versions
    doubled.doubtful |= {name for name, _ in doubled.answered[before:]}


def _killed(served: Any, stage: str) -> None:
    """Kill one replica, and wait until there is another."""
    before = served.replicas(stage)
    before[0].kill()
    known = {p.pid for p in before}
    served.until(lambda: bool({p.pid for p in served.replicas(stage)} - known), 60)


@pytest.mark.parametrize("orders", [False, True])
def test_nothing_undocumented_and_no_500_whatever_is_sent(served: Any, orders: bool) -> None:
    """Schemathesis over the document of the running graph."""
    schema = schemathesis.openapi.from_url(f"{served.url}/openapi.json")
    tried = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path.startswith("/v1/admin/") is not orders:
            continue
        tried += 1

        # Every order waits for all replicas, and thresholds are versions that stay.
        @given(case=operation.as_strategy())
        @settings(
            max_examples=5 if orders else 20, deadline=None, database=None, derandomize=True,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def holds(case: schemathesis.Case) -> None:
            case.call_and_validate(timeout=60)

        holds()
    assert tried == (5 if orders else 10)
    crowned(served, "1")
    served.run("models challenger --none")


def test_the_registry_may_be_away(served: Any) -> None:
    with sqlite3.connect(served.home / "state" / "mlflow.db", isolation_level=None) as locked:
        locked.execute("BEGIN EXCLUSIVE")
        try:
            load = Load(served, 4)
            asyncio.run(load.during(lambda: time.sleep(4)))
        finally:
            locked.execute("ROLLBACK")
    assert load.failed == []
    assert set(load.versions) == {"1"}
    crowned(served, "2")
    crowned(served, "1")


def test_nothing_listens_beyond_this_machine_but_ray_itself(served: Any) -> None:
    listening = {
        (process.name(), connection.laddr.ip, connection.laddr.port)
        for process, told in served.processes()
        if process.name() == "haproxy" or "ServeReplica" in told
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    proxied = {(ip, port) for name, ip, port in listening if name == "haproxy"}
    assert {ip for ip, _ in proxied} == {"127.0.0.1"}
    assert int(served.url.rpartition(":")[2]) in {port for _, port in proxied}
    for port in {port for name, ip, port in listening if ip not in ("127.0.0.1", "::1")}:
        # Ray's own gRPC ports: no HTTP is answered there.
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{port}/v1/model", timeout=2).raise_for_status()


def test_prometheus_is_told_what_callers_counted(doubled: Any) -> None:
    """Whatever the replicas: two a stage."""
    crowned(doubled, "1")
    with Client(doubled.url) as client:
        client.challenger("3", mode="shadow")
        client.predict_one(doubled.records[0])
        doubled.until(lambda: ("waiting_requests", ()) in scraped(doubled), 60)
        before = settled(doubled)
        answers = [client.predict_one(record) for record in doubled.records[:40]]
        answers += client.predict(doubled.records, request_id="counted")
        doubled.answered.append(("counted", len(doubled.records)))
        for _ in range(7):
            with pytest.raises(BadRequest):
                client.predict_one({"paymentMethod": 7})
        truth = doubled.rows.label.tolist()
        client.feedback_many(
            [{"request_id": "counted", "payment": i, "label": x} for i, x in enumerate(truth)]
        )

        seen, shadow = ("payments_seen_total", ()), "shadow_payments_total"
        pair = (("challenger", "3"), ("champion", "1"))
        doubled.until(lambda: scraped(doubled)[seen] >= before[seen] + len(answers), 60)
        doubled.until(lambda: (shadow, pair) in scraped(doubled), 60)
        now = settled(doubled)
        drift = client.stats()["drift"]
        client.challenger(None)

    def grown(name: str, **labels: str) -> float:
        key = name, tuple(sorted(labels.items()))
        return now[key] - before.get(key, 0.0)

    assert grown("requests_total", route="/v1/predict", status="200") == 40
    assert grown("requests_total", route="/v1/predict/batch", status="200") == 1
    assert grown("requests_total", route="/v1/predict", status="422") == 7
    assert grown("refused_total", reason="invalid") == 7
    assert grown("request_seconds_count", route="/v1/predict", status="200") == 40
    assert grown("request_seconds_bucket", route="/v1/predict", status="200", le="+Inf") == 40
    alerts = sum(a["decision"] for a in answers)
    by = {"model_version": "1", "role": "champion"}
    assert grown("decisions_total", decision="1", **by) == alerts
    assert grown("decisions_total", decision="0", **by) == len(answers) - alerts
    assert grown("score_count", model_version="1") == len(answers)
    assert grown("score_sum", model_version="1") == pytest.approx(
        sum(a["probability"] for a in answers)
    )
    assert grown("decision_log_written_total") == len(answers)
    assert grown("labels_total", label="1") == sum(truth)
    assert grown("payments_seen_total") == len(answers)
    for stage in ("features", "model", "threshold"):
        assert grown("stage_payments_sum", stage=stage) >= len(answers)
    assert now["model_version", (("role", "champion"),)] == 1
    assert now["replicas", (("stage", "model"),)] == 2
    assert now["decision_log_up", ()] == now["registry_up", ()] == 1
    assert drift["version"] == "1"
    assert drift["skipped"] == ["localTime", "isWeekend"]
    told = {f["name"]: f for f in drift["fields"]}
    assert now["feature_psi", (("feature", "numItems"),)] == pytest.approx(
        told["numItems"]["psi"], rel=0.5, abs=0.05
    )


def test_the_table_of_metrics_is_what_prometheus_sees(doubled: Any) -> None:
    table = {
        name: (kind, set(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in re.findall(
            r"^\| `ray_fraudray_(\w+)` \| (\w+) \|([^|]*)\|", TABLE.read_text("utf-8"), re.M
        )
    }
    expected = {}
    for name, (kind, labels) in table.items():
        if kind == "histogram":
            expected |= {f"{name}_{part}": labels for part in ("sum", "count")}
            expected[f"{name}_bucket"] = labels | {"le"}
        else:
            expected[name] = labels
    found: dict[str, set[str]] = {}
    for name, labels in settled(doubled):
        found.setdefault(name, set()).update(label for label, _ in labels)
    assert found == expected


def test_hostile_callers_add_no_series(doubled: Any) -> None:
    random = np.random.default_rng(1)
    record = doubled.records[0]

    def noise() -> str:
        return "".join(map(chr, random.integers(33, 126, 20)))

    def attack() -> None:
        with httpx.Client(base_url=doubled.url) as client:
            for i in range(20):
                path = quote(noise(), safe="")
                client.request(f"X{i}", "/v1/predict", json=record)
                client.get(f"/v1/{path}")
                client.get("/v1/model", headers={"Host": noise()})
                client.post("/v1/predict", content=random.bytes(50))
                client.post("/v1/predict", json=record | {path: 1})
                client.post("/v1/predict", json=record, headers={"Content-Type": f"a/{i}"})
                strange = {
                    "X-Request-ID": noise(),
                    "X-Sticky-Key": noise(),
                    "X-Forwarded-For": path,
                }
                known = client.post(
                    "/v1/predict", json=record | {"paymentMethod": noise()}, headers=strange
                )
                assert known.status_code == 200
                if i % 10 == 0:  # what is known of no decision is looked for a second
                    client.post("/v1/feedback", json={"request_id": noise(), "label": i % 2})
                client.post("/v1/admin/promote", json={"version": noise()})

    def told() -> float:
        now = scraped(doubled)
        return now["requests_total", (("route", "other"), ("status", "404"))]

    attack()  # every kind of answer has been given once
    before = settled(doubled)
    counted = told()
    attack()
    doubled.until(lambda: told() >= counted + 20, 60)
    assert set(settled(doubled)) <= set(before)


def test_what_was_answered_is_in_the_decision_log_once_after_a_stop(served: Any) -> None:
    """The last test of this module: it stops the graph."""
    load = Load(served, 8)

    def stop() -> None:
        time.sleep(2)

    asyncio.run(load.during(stop))
    with Client(served.url) as client:
        log = client.stats()["log"]
    assert log["dropped"] == 0
    lost = sum(loss["decisions"] for loss in log["lost"])
    served.process.send_signal(signal.SIGINT)
    assert served.process.wait(90) == 0
    with sqlite3.connect(served.home / "state" / "decisions.db") as store:
        held = dict(
            store.execute(
                "SELECT request_id, COUNT(*) FROM decisions_made GROUP BY request_id"
            ).fetchall()
        )
    assert len(served.answered) > 100
    # What was asked again after an ingress had died may stand there twice, or not at all.
    odd = {name for name, rows in served.answered if held.get(name) != rows}
    assert odd <= served.doubtful
    missing = [name for name, rows in served.answered if held.get(name, 0) < rows]
    assert len(missing) <= lost
    lines = served.log.read_text()
    assert "Traceback" not in lines
    assert not list((served.home / "state" / "ledgers").rglob("*.count"))
    assert json.dumps(served.records[0])[:40] not in lines
