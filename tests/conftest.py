"""What the whole test run shares: one running demo, and what to do where a program is missing."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from surroundings import alive, bare

from fraudray import runtime

if TYPE_CHECKING:
    import numpy as np

    from training.data import Dataset
    from training.tracking import Tracking

# A script that runs the tests in its background has Ctrl-C ignored, and every process that they
# start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Ray reads this when it is first imported, which collecting the tests does.
os.environ.setdefault("RAY_AUTH_MODE", "token")

pytest_plugins = ["in_process"]

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("FRAUDRAY_SHARED", ROOT.parent / "shared"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep for the end what starts a demo or a cluster, which take their share of the machine."""

    def burden(item: pytest.Item) -> tuple[bool, bool]:
        needed = set(getattr(item, "fixturenames", ()))
        return bool(needed & {"demo", "opened"}), item.path.parent.name == "cluster"

    items.sort(key=burden)


@pytest.fixture(autouse=True)
def led_nowhere() -> Iterator[None]:
    """Take back what MLflow notes, in the process and its environment, of the store last used."""
    yield
    if "mlflow" in sys.modules:
        mlflow = sys.modules["mlflow"]
        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)
        os.environ.pop("MLFLOW_REGISTRY_URI", None)


@pytest.fixture(scope="session")
def require() -> Callable[[str], str]:
    """The path of a program; without it the test is skipped, or fails where all must run."""

    def path(program: str) -> str:
        # Those that come with packages lie beside the interpreter, whatever the PATH says.
        found = shutil.which(program, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        if found is None:
            if os.environ.get("FRAUDRAY_REQUIRE_ALL") == "1":
                pytest.fail(f"needs {program}, which is not installed")
            pytest.skip(f"needs {program}")
        return found

    return path


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the real payments file."""
    if not SHARED.is_dir():
        pytest.skip("needs the shared folder (FRAUDRAY_SHARED)")
    return SHARED


@pytest.fixture(scope="session")
def free_ports() -> Callable[[int], list[int]]:
    """Ports for what a test starts."""
    return runtime.free_ports


@pytest.fixture(scope="session")
def postgres(require: Callable[[str], str]) -> Iterator[str]:
    """The URI of an empty database of a PostgreSQL cluster that lives for this test run."""
    initdb, postgres = require("initdb"), require("postgres")
    (port,) = runtime.free_ports(1)
    # Not pytest's own folder, which the next test run closes to all others: as it refuses to run
    # as root, it is another user where we are root.
    as_user: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="fr") as place:
        folder = Path(place)
        if os.geteuid() == 0:
            as_user = {"user": "nobody", "group": "nogroup"}
            shutil.chown(folder, **as_user)
        data, log = folder / "data", folder / "log"
        started: dict[str, Any] = {
            "cwd": folder, "env": os.environ | {"LC_ALL": "C.UTF-8"}, **as_user,
        }  # fmt: skip
        subprocess.run(
            [initdb, "--pgdata", data, "--username", "mlflow", "--auth", "trust", "--no-sync"],
            check=True, capture_output=True, **started,
        )  # fmt: skip
        with log.open("wb") as output:
            server = subprocess.Popen(
                [postgres, "-D", data, "-k", folder, "-p", str(port), "-h", "127.0.0.1"],
                stdout=output, stderr=output, **started,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while "ready to accept connections" not in log.read_text():
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield f"postgresql+psycopg2://mlflow@127.0.0.1:{port}/postgres"
        server.send_signal(signal.SIGINT)  # its fast shutdown, which waits for no client
        server.wait(60)


@dataclass
class Demo:
    """A demo started as a user would, on ports of its own."""

    home: Path
    process: subprocess.Popen[str]
    url: str
    page_url: str
    mlflow_url: str
    dashboard_url: str
    lines: list[str] = field(default_factory=list)

    @property
    def output(self) -> str:
        """All it has printed so far."""
        return "".join(self.lines)

    def stop(self) -> tuple[int, list[psutil.Process]]:
        """Ctrl-C; its exit code and the processes that outlived it."""
        started = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signal.SIGINT)
        try:
            code = self.process.wait(timeout=120)
        finally:
            if self.process.poll() is None:
                self.process.terminate()
        return code, alive(started)


@pytest.fixture(scope="session")
def start_demo(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., Demo]]:
    """Start a demo with further arguments; whatever runs at the end is stopped."""
    started: list[Demo] = []

    def start(*arguments: str, home: Path | None = None) -> Demo:
        home = home or tmp_path_factory.mktemp("home")
        graph, page, mlflow, dashboard = runtime.free_ports(4)
        process = subprocess.Popen(
            [sys.executable, "-m", "fraudray", "demo", *arguments, "--port", str(graph),
             "--ui-port", str(page), "--mlflow-port", str(mlflow),
             "--dashboard-port", str(dashboard)],
            env=bare(FRAUDRAY_HOME=home, PYTHONUNBUFFERED="1"),
            cwd=home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        urls = [f"http://127.0.0.1:{port}" for port in (graph, page, mlflow, dashboard)]
        demo = Demo(home, process, *urls)
        started.append(demo)
        assert process.stdout is not None
        reader = threading.Thread(target=lambda: demo.lines.extend(process.stdout), daemon=True)
        reader.start()
        deadline = time.monotonic() + 420
        while f"curl {demo.url}" not in demo.output:
            assert process.poll() is None, f"the demo has ended:\n{demo.output}"
            assert time.monotonic() < deadline, f"the demo is not up:\n{demo.output}"
            time.sleep(0.2)
        return demo

    yield start
    for demo in started:
        if demo.process.poll() is None:
            code, left = demo.stop()
            assert code == 0
            assert not left


@pytest.fixture(scope="session")
def demo(start_demo: Callable[..., Demo]) -> Demo:
    """The one demo of a test run: a real sweep, MLflow, Ray Serve graph and page."""
    return start_demo("--rows", "12000")


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

    @property
    def environment(self) -> dict[str, str]:
        """That of a command beside it."""
        state = self.home / "state"
        return bare(
            FRAUDRAY_HOME=state, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=state / "ray-token"
        )

    def run(self, arguments: str, code: int = 0) -> str:
        """A command beside it, and what it wrote to both streams."""
        return self._done("fraudray", *arguments.split(), code=code)

    def _done(self, module: str, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments], cwd=self.home, text=True,
            env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
            check=False,
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

    def double(self) -> None:
        """From here on with two replicas a stage, as who must not miss a payment would have it."""
        import yaml

        from serve_app import app

        port = int(self.url.rpartition(":")[2])
        content = app.configuration("fraudray-payments", host="127.0.0.1", port=port, keys=False)
        for deployment in content["applications"][0]["deployments"]:
            if "autoscaling_config" in deployment:
                deployment["autoscaling_config"] |= {"min_replicas": 2}
        file = self.home / "doubled.yaml"
        file.write_text(yaml.safe_dump(content))
        # By Ray's own command: a process keeps the first token that it has read.
        self._done("ray.serve.scripts", "deploy", str(file), "--address", self.dashboard)

        def doubled() -> bool:
            told = self._done("ray.serve.scripts", "status", "--address", self.dashboard)
            (application,) = yaml.safe_load(told)["applications"].values()
            return all(
                deployment["replica_states"].get("RUNNING", 0) > 1
                for name, deployment in application["deployments"].items()
                if name != "Rollout"
            )

        self.until(doubled, 90)

    def damaged(self) -> str:
        """A version that no replica can make sense of: its threshold is damaged in the registry."""
        from training.bundle import ModelBundle

        tracking = self.tracking()
        found = tracking.version("fraudray-payments", "2")
        choice = ModelBundle.load(self.home / "state" / "bundles" / found.files).choice
        version = tracking.rethreshold(found, choice, "damaged")
        tracking.note(version, {"choice": "{}"})
        return version.version

    def tracking(self) -> Tracking:
        """The registry it follows."""
        from training.tracking import Tracking

        return Tracking(f"sqlite:///{self.home}/state/mlflow.db")

    @property
    def model(self) -> dict[str, Any]:
        """What it says of itself."""
        import httpx

        return dict(httpx.get(f"{self.url}/v1/model", timeout=30).json())

    def until(self, holds: Callable[[], bool], seconds: float = 60.0) -> None:
        """Wait until something holds; a question that gets no answer in time is asked again."""
        import httpx

        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if holds():
                    return
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            time.sleep(0.1)

    def offline(self, version: str) -> np.ndarray:
        """What a version makes of the records, by the bundle alone."""
        from training.bundle import ModelBundle

        if version not in self.scores:
            found = self.tracking().version("fraudray-payments", version)
            folder = self.home / "state" / "bundles" / found.files
            self.scores[version] = ModelBundle.load(folder).score(self.rows.columns)
        return self.scores[version]


@pytest.fixture(scope="session")
def start_graph(
    tmp_path_factory: pytest.TempPathFactory, free_ports: Callable[[int], list[int]],
    empty_store: Callable[[Path], Path],
) -> Callable[..., AbstractContextManager[Served]]:  # fmt: skip
    """Train three versions and serve the first by `fraudray serve`, as long as the block runs."""

    @contextmanager
    def start(**environment: str) -> Iterator[Served]:
        import numpy as np

        from training.audit import audit
        from training.data import check, records_of
        from training.fit import Recipe, train
        from training.simulate import simulate
        from training.spec import DatasetSpec
        from training.split import split
        from training.tracking import Tracking

        home = tmp_path_factory.mktemp("served")
        port, dashboard = free_ports(2)
        log = home / "serve.log"
        spec = DatasetSpec.load("payments")
        payments = check(simulate(8_000, seed=5), spec, source="payments")
        parts = split(payments)
        report = audit(payments, parts)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FRAUDRAY_HOME", str(home / "state"))
            tracking = Tracking(f"sqlite:///{empty_store(home / 'state')}")
            for family, parameters in FAMILIES.items():
                with tracking.run("fraudray-train", family) as run:
                    recipe = Recipe(family, parameters, smote=0.0, seed=1)
                    made = train(payments, parts, recipe, report)
                    version = tracking.register(run, "fraudray-payments", made)
                    tracking.fetch(version)
            tracking.promote("fraudray-payments", "1", "the first")
        rows = payments.take(np.arange(300))
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "fraudray", "serve", "--port", str(port),
                 "--dashboard-port", str(dashboard)],
                cwd=home, env=bare(FRAUDRAY_HOME=home / "state", **environment), stdout=output,
                stderr=output,
            )  # fmt: skip
        served = Served(
            home, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{dashboard}", process, log, rows,
            list(records_of(rows, list(spec.inputs))),
        )  # fmt: skip
        try:
            served.until(lambda: "answers at" in log.read_text() or process.poll() is not None, 180)
            assert process.poll() is None, log.read_text()
            yield served
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)  # as a service manager does
                assert process.wait(90) == 0, log.read_text()[-2000:]

    return start


_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def _hastened(text: str, times: float) -> str:
    """Rules or queries whose every duration is so many times shorter, a second at least."""

    def shorter(found: re.Match[str]) -> str:
        milliseconds = 1000 * int(found[1]) * _SECONDS[found[2]] / times
        return f"{max(milliseconds, 1000):.0f}ms"

    return re.sub(r"(?<![\w.:])(\d+)([smhd])(?!\w)", shorter, text)


@dataclass
class Prometheus:
    """A Prometheus that reads a graph, and whose clock runs `times` faster in rules and queries."""

    url: str
    times: float

    def get(self, path: str, **given: str) -> Any:
        """The data of an answer of its API."""
        import httpx

        answer = httpx.get(f"{self.url}/api/v1/{path}", params=given, timeout=30)
        assert answer.status_code == 200, f"{given}: {answer.text}"
        return answer.json()["data"]

    def ask(self, query: str) -> list[dict[str, Any]]:
        """The series that a query finds now."""
        found = self.get("query", query=_hastened(query, self.times))
        # A number without labels is no vector.
        return [] if found["resultType"] == "scalar" else list(found["result"])

    def number(self, query: str) -> float:
        """The one number that a query finds now; 0 where it finds none."""
        found = self.ask(query)
        assert len(found) <= 1, f"{query}: {found}"
        return float(found[0]["value"][1]) if found else 0.0

    def alerts(self, state: str = "firing") -> dict[str, list[dict[str, str]]]:
        """The alerts that fire now, or are pending: labels of each, by name."""
        found: dict[str, list[dict[str, str]]] = {}
        for alert in self.get("alerts")["alerts"]:
            if alert["state"] == state:
                found.setdefault(alert["labels"]["alertname"], []).append(alert["labels"])
        return found


@pytest.fixture(scope="session")
def start_prometheus(
    require: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., AbstractContextManager[Prometheus]]:
    """Read what runs in a home every two seconds by Prometheus, as long as the block runs.

    With the configuration of `fraudray monitoring` and its rules, all of whose durations are so
    many times shorter; the graph must report that much more often.
    """

    @contextmanager
    def start(home: Path, port: int, times: float) -> Iterator[Prometheus]:
        import httpx
        import yaml

        from fraudray import monitoring

        program, folder = require("prometheus"), tmp_path_factory.mktemp("prometheus")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FRAUDRAY_HOME", str(home))
            ports = monitoring.Ports(prometheus=port)
            content = monitoring.Monitoring(program, ports, interval=2).configuration()
        (folder / "rules").mkdir()
        for rules in (monitoring.shipped() / "rules").glob("*.yaml"):
            (folder / "rules" / rules.name).write_text(_hastened(rules.read_text(), times))
        content["rule_files"] = ["rules/*.yaml"]
        content.pop("alerting", None)
        (folder / "prometheus.yml").write_text(yaml.safe_dump(content))
        with (folder / "prometheus.log").open("wb") as log:
            process = subprocess.Popen(
                [program, "--config.file=prometheus.yml", "--storage.tsdb.path=data",
                 f"--web.listen-address=127.0.0.1:{port}"],
                cwd=folder, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            deadline = time.monotonic() + 30
            while True:
                assert process.poll() is None, (folder / "prometheus.log").read_text()
                assert time.monotonic() < deadline, (folder / "prometheus.log").read_text()
                try:
                    if httpx.get(f"http://127.0.0.1:{port}/-/ready").status_code == 200:
                        break
                except httpx.HTTPError:
                    pass
                time.sleep(0.2)
            yield Prometheus(f"http://127.0.0.1:{port}", times)
        finally:
            process.terminate()
            process.wait(30)

    return start


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Lay a store of MLflow that holds nothing into a folder; to make its tables takes seconds."""
    from training.tracking import Tracking

    made = tmp_path_factory.mktemp("store") / "mlflow.db"
    Tracking(f"sqlite:///{made}")

    def lay(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(made, folder / made.name))

    return lay


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A shell's environment with `fraudray` on its path and no state but its own."""
    shim = tmp_path / "bin" / "fraudray"
    shim.parent.mkdir(exist_ok=True)
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fraudray "$@"\n')
    shim.chmod(0o755)
    return bare(PATH=f"{shim.parent}:{os.environ['PATH']}")


@dataclass
class Sweep:
    """A command that runs a sweep."""

    process: subprocess.Popen[str]
    log: Path

    def workers(self) -> list[psutil.Process]:
        """The processes of this machine that trials run in at this moment."""
        below = psutil.Process(self.process.pid).children(recursive=True)
        found = []
        for process in below:
            with contextlib.suppress(psutil.NoSuchProcess):
                title = " ".join(process.cmdline())
                if title.startswith("ray::") and ".train" in title:
                    found.append(process)
        return found

    def wait(self, code: int = 0) -> str:
        """What it wrote to standard output, once it has ended."""
        output, _ = self.process.communicate(timeout=280)
        assert self.process.returncode == code, self.told
        return output

    @property
    def told(self) -> str:
        """What it has written to standard error so far."""
        return self.log.read_text("utf-8")


@dataclass
class Sweeps:
    """Starts commands in a folder, and knows what became of the sweeps there."""

    folder: Path
    environment: dict[str, str]
    started: list[Sweep] = field(default_factory=list)

    def start(self, arguments: str) -> Sweep:
        """Start `fraudray` with these arguments."""
        log = self.folder / f"sweep{len(self.started)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["fraudray", *arguments.split()], cwd=self.folder, env=self.environment,
                stdout=subprocess.PIPE, stderr=output, text=True,
            )  # fmt: skip
        self.started.append(Sweep(process, log))
        return self.started[-1]

    def ended(self, name: str) -> int:
        """How many trials of a sweep its journal holds."""
        journal = self.folder / ".fraudray" / "sweeps" / name / "journal.jsonl"
        return journal.read_text().count('"trial": ') if journal.exists() else 0

    def wait_for(self, sweep: Sweep, name: str, count: int) -> None:
        """Wait until so many trials of a running sweep have ended."""
        deadline = time.monotonic() + 240
        while self.ended(name) < count:
            assert sweep.process.poll() is None, sweep.told
            assert time.monotonic() < deadline, sweep.told
            time.sleep(0.05)

    def runs(self, name: str) -> tuple[Any, list[Any]]:
        """The run of a sweep in MLflow, and those below it."""
        from mlflow.tracking import MlflowClient

        client = MlflowClient(f"sqlite:///{self.folder}/.fraudray/mlflow.db")
        experiment = client.get_experiment_by_name("fraudray-tune")
        assert experiment is not None
        ids = [experiment.experiment_id]
        (parent,) = client.search_runs(ids, f"tags.sweep = '{name}'")
        found = client.search_runs(
            ids, f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'", max_results=1000
        )
        return parent, list(found)

    def scores(self, name: str) -> dict[str, dict[str, float]]:
        """The metrics of every trial of a sweep, by its key; there is one run for each."""
        _, found = self.runs(name)
        kept = {run.data.tags["fraudray.trial"]: run.data.metrics for run in found}
        assert len(kept) == len(found)
        return {k: {n: v for n, v in m.items() if n != "seconds"} for k, m in kept.items()}


@pytest.fixture
def sweeps(
    tmp_path: Path, environment: dict[str, str], empty_store: Callable[[Path], Path]
) -> Iterator[Sweeps]:
    """Sweeps with a state of their own; those that still run at the end are killed."""
    empty_store(tmp_path / ".fraudray")
    sweeps = Sweeps(tmp_path, environment)
    yield sweeps
    for sweep in sweeps.started:
        if sweep.process.poll() is None:
            sweep.process.kill()
        sweep.process.communicate()
