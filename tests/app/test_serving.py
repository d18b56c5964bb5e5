"""The graph as it is served: real Ray, real HAProxy, a real registry, and things that go wrong."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pyarrow as pa
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from fraudray.dashboard import Dashboard
from serve_app import app
from serve_app.client import AsyncClient, Client, ServiceError
from training.audit import audit
from training.bundle import ModelBundle
from training.data import Dataset, check, records_of
from training.fit import Recipe, train
from training.simulate import simulate
from training.spec import DatasetSpec
from training.split import split
from training.tracking import Tracking

pytestmark = pytest.mark.slow

FAMILIES: dict[str, dict[str, Any]] = {
    "xgboost": {"n_estimators": 50, "max_depth": 4},
    "logistic-regression": {"C": 0.5},
    "random-forest": {"n_estimators": 50, "max_depth": 8},
}
"""Of versions 1, 2 and 3."""


@dataclass
class Served:
    """A graph of three versions, and what they say offline."""

    home: Path
    url: str
    dashboard: str
    process: subprocess.Popen[bytes]
    log: Path
    rows: Dataset
    records: list[dict[str, Any]]
    scores: dict[str, np.ndarray] = field(default_factory=dict)
    answered: list[tuple[str, int]] = field(default_factory=list)
    """Request ids and numbers of payments of all that was scored: the decision log must have it."""
    doubtful: set[str] = field(default_factory=set)
    """Those that an ingress may have taken with it when it was killed: the log says how many."""

    def run(self, arguments: str, code: int = 0) -> str:
        """A command beside it, and what it wrote to both streams."""
        done = subprocess.run(
            [sys.executable, "-m", "fraudray", *arguments.split()], cwd=self.home, text=True,
            env=os.environ | {"FRAUDRAY_HOME": str(self.home / "state")}, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout
        return done.stdout

    def replicas(self, deployment: str) -> list[psutil.Process]:
        """Processes of a deployment's replicas."""
        title = f"ray::ServeReplica:fraudray:{deployment}"
        return [p for p, told in self.processes() if told.startswith(title)]

    def processes(self) -> list[tuple[psutil.Process, str]]:
        """All that it has started and that lives, with their command lines."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                found.append((process, " ".join(process.cmdline())))
        return found

    def tracking(self) -> Tracking:
        """The registry it follows."""
        return Tracking(f"sqlite:///{self.home}/state/mlflow.db")

    @property
    def model(self) -> dict[str, Any]:
        """What it says of itself."""
        return dict(httpx.get(f"{self.url}/v1/model").json())

    def until(self, holds: Callable[[], bool], seconds: float = 20.0) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            time.sleep(0.1)

    def offline(self, version: str) -> np.ndarray:
        """What a version makes of the records, by the bundle alone."""
        if version not in self.scores:
            found = self.tracking().version("fraudray-payments", version)
            folder = self.home / "state" / "bundles" / found.files
            self.scores[version] = ModelBundle.load(folder).score(self.rows.columns)
        return self.scores[version]


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, free_ports: Callable[[int], list[int]]
) -> Iterator[Served]:
    """Three versions trained, the first of them served by `fraudray serve`."""
    home = tmp_path_factory.mktemp("served")
    port, dashboard = free_ports(2)
    log = home / "serve.log"
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    environment |= {"FRAUDRAY_HOME": str(home / "state")}
    command = [sys.executable, "-m", "fraudray"]
    spec = DatasetSpec.load("payments")
    payments = check(simulate(8_000, seed=5), spec, source="payments")
    parts = split(payments)
    report = audit(payments, parts)
    (home / "state").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FRAUDRAY_HOME", str(home / "state"))
        tracking = Tracking(f"sqlite:///{home}/state/mlflow.db")
        for family, parameters in FAMILIES.items():
            with tracking.run("fraudray-train", family) as run:
                made = train(payments, parts, Recipe(family, parameters, smote=0.0, seed=1), report)
                version = tracking.register(run, "fraudray-payments", made)
                tracking.fetch(version)
        tracking.promote("fraudray-payments", "1", "the first")
    rows = payments.take(np.arange(300))
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "serve", "--port", str(port), "--dashboard-port", str(dashboard)],
            cwd=home, env=environment, stdout=output, stderr=output,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    served = Served(
        home, url, f"http://127.0.0.1:{dashboard}", process, log, rows,
        list(records_of(rows, list(spec.inputs))),
    )  # fmt: skip
    try:
        served.until(lambda: "answers at" in log.read_text() or process.poll() is not None, 180)
        assert process.poll() is None, log.read_text()
        yield served
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(90)


def crowned(served: Served, version: str) -> None:
    """Let a version serve, for the test that follows."""
    with Client(served.url) as client:
        assert client.promote(version)["version"] == version


@pytest.mark.parametrize("version", ["3", "2", "1"])
def test_every_way_to_score_gives_what_the_bundle_gives_offline(
    served: Served, version: str
) -> None:
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

    def __init__(self, served: Served, callers: int, *, retries: int = 0) -> None:
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


def test_promotions_under_load_fail_nobody_and_mix_nothing(served: Served) -> None:
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
    assert load.longest < 5


def test_the_graph_follows_the_registry_whoever_writes_it(served: Served) -> None:
    assert "follows" in served.run("models promote 2")
    served.until(lambda: served.model["version"] == "2", 10)
    served.run("models rollback")
    served.until(lambda: served.model["version"] == "1", 10)


def test_a_configuration_applied_again_reverts_no_promotion(served: Served) -> None:
    crowned(served, "3")
    port = served.url.rpartition(":")[2]
    told = served.run(f"deploy --address {served.dashboard} --port {port} --no-keys")
    assert "is deployed" in told
    served.until(lambda: httpx.get(f"{served.url}/ready").status_code == 200)
    assert served.model["version"] == "3"
    crowned(served, "1")


def test_a_damaged_version_never_serves_and_the_reason_is_told(served: Served) -> None:
    tracking = served.tracking()
    found = tracking.version("fraudray-payments", "2")
    rechosen = tracking.rethreshold(
        found, ModelBundle.load(served.home / "state" / "bundles" / found.files).choice, "again"
    )
    # Its threshold is damaged in the registry: no replica can make sense of it.
    tracking.note(rechosen, {"choice": "{}"})
    with Client(served.url) as client, pytest.raises(ServiceError) as refused:
        client.promote(rechosen.version)
    assert refused.value.status == 409
    assert served.model["version"] == "1"
    # Named past all checks, by hand in MLflow, it does not serve either.
    tracking._client.set_registered_model_alias("fraudray-payments", "champion", rechosen.version)
    served.until(lambda: bool(served.model["failed"]))
    model = served.model
    assert (model["version"], model["failed"][0]["version"]) == ("1", rechosen.version)
    told = served.run(f"status --address {served.dashboard} --url {served.url}")
    assert f"version {rechosen.version} was refused" in " ".join(told.split())
    crowned(served, "1")


def test_a_threshold_moves_the_running_graph_and_comes_back(served: Served) -> None:
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


def test_a_challenger_watches_then_answers_its_share(served: Served) -> None:
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


def test_labels_join_their_decisions(served: Served) -> None:
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
def doubled(served: Served) -> Served:
    """From here on with two replicas a stage, as who must not miss a payment would have it."""
    port = int(served.url.rpartition(":")[2])
    configuration = app.configuration("fraudray-payments", host="127.0.0.1", port=port, keys=False)
    for deployment in configuration["applications"][0]["deployments"]:
        if "autoscaling_config" in deployment:
            deployment["autoscaling_config"] |= {"min_replicas": 2}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_TOKEN_PATH", str(served.home / "state" / "ray-token"))
        cluster = Dashboard(served.dashboard)
        cluster.apply(configuration)
        served.until(
            lambda: all(d.running > 1 for d in cluster.state().deployments if d.name != "Rollout"),
            90,
        )
    return served


@pytest.mark.parametrize("stage", ["FeatureEngineering", "Model", "Threshold", "Rollout"])
def test_a_dead_replica_of_an_inner_stage_fails_nobody(doubled: Served, stage: str) -> None:
    load = Load(doubled, 8)
    asyncio.run(load.during(lambda: _killed(doubled, stage)))
    assert load.failed == []
    assert load.versions


def test_a_dead_ingress_fails_no_caller_who_asks_again(doubled: Served) -> None:
    load, before = Load(doubled, 8, retries=8), len(doubled.answered)
    asyncio.run(load.during(lambda: _killed(doubled, "Ingress")))
    assert load.failed == []
    assert load.versions
    doubled.doubtful |= {name for name, _ in doubled.answered[before:]}


def _killed(served: Served, stage: str) -> None:
    """Kill one replica, and wait until there is another."""
    before = served.replicas(stage)
    before[0].kill()
    known = {p.pid for p in before}
    served.until(lambda: bool({p.pid for p in served.replicas(stage)} - known), 60)


@pytest.mark.parametrize("orders", [False, True])
def test_nothing_undocumented_and_no_500_whatever_is_sent(served: Served, orders: bool) -> None:
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
            max_examples=5 if orders else 40, deadline=None, database=None, derandomize=True,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def holds(case: schemathesis.Case) -> None:
            case.call_and_validate(timeout=60)

        holds()
    assert tried == (5 if orders else 10)
    crowned(served, "1")
    served.run("models challenger --none")


def test_the_registry_may_be_away(served: Served) -> None:
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


def test_nothing_listens_beyond_this_machine_but_ray_itself(served: Served) -> None:
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


def test_what_was_answered_is_in_the_decision_log_once_after_a_stop(served: Served) -> None:
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
    missing = [name for name, rows in served.answered if held.get(name) != rows]
    assert set(missing) <= served.doubtful
    assert len(missing) <= lost
    lines = served.log.read_text()
    assert "Traceback" not in lines
    assert not list((served.home / "state" / "ledgers").rglob("*.count"))
    assert json.dumps(served.records[0])[:40] not in lines
