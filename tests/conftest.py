"""What the whole test run shares: one running demo, and what to do where a program is missing."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

# A script that runs the tests in its background has Ctrl-C ignored, and every process that they
# start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Ray reads this when it is first imported, which collecting the tests does.
os.environ.setdefault("RAY_AUTH_MODE", "token")

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("FRAUDRAY_SHARED", ROOT.parent / "shared"))


@pytest.fixture(scope="session")
def require() -> Callable[[str], str]:
    """The path of a program; without it the test is skipped, or fails where all must run."""

    def path(program: str) -> str:
        found = shutil.which(program)
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


def _free_ports(count: int) -> list[int]:
    """Ports that nothing listens on, all held at once so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    for probe in sockets:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in sockets]
    for probe in sockets:
        probe.close()
    return ports


@pytest.fixture(scope="session")
def free_ports() -> Callable[[int], list[int]]:
    """Ports for what a test starts."""
    return _free_ports


@pytest.fixture(scope="session")
def postgres(
    require: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The URI of an empty database of a PostgreSQL cluster that lives for this test run."""
    initdb, postgres = require("initdb"), require("postgres")
    folder = tmp_path_factory.mktemp("postgres")
    (port,) = _free_ports(1)
    # It refuses to run as root; another user must reach the folder.
    as_user: dict[str, str] = {}
    if os.geteuid() == 0:
        as_user = {"user": "nobody", "group": "nogroup"}
        shutil.chown(folder, **as_user)
        for parent in folder.parents[:3]:
            if parent != Path(tempfile.gettempdir()):
                parent.chmod(parent.stat().st_mode | 0o011)
    data, log = folder / "data", folder / "log"
    started: dict[str, Any] = {"cwd": folder, "env": os.environ | {"LC_ALL": "C.UTF-8"}, **as_user}
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
        return code, [p for p in started if p.is_running() and p.status() != "zombie"]


@pytest.fixture(scope="session")
def start_demo(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., Demo]]:
    """Start a demo with further arguments; whatever runs at the end is stopped."""
    started: list[Demo] = []

    def start(*arguments: str, home: Path | None = None) -> Demo:
        home = home or tmp_path_factory.mktemp("home")
        graph, page, mlflow, dashboard = _free_ports(4)
        environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
        process = subprocess.Popen(
            [sys.executable, "-m", "fraudray", "demo", *arguments, "--port", str(graph),
             "--ui-port", str(page), "--mlflow-port", str(mlflow),
             "--dashboard-port", str(dashboard)],
            env=environment | {"FRAUDRAY_HOME": str(home), "PYTHONUNBUFFERED": "1"},
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


@pytest.fixture(scope="session")
def fresh_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of MLflow that holds nothing, to be copied: its tables take seconds to lay out."""
    from training.tracking import Tracking

    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    Tracking(f"sqlite:///{file}")
    return file


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A shell's environment with `fraudray` on its path and no state but its own."""
    shim = tmp_path / "bin" / "fraudray"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fraudray "$@"\n')
    shim.chmod(0o755)
    kept = {
        k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "FRAUDRAY_HOME")
    }
    return kept | {"PATH": f"{shim.parent}:{os.environ['PATH']}"}


@dataclass
class Sweep:
    """A command that runs a sweep."""

    process: subprocess.Popen[str]
    log: Path

    def workers(self) -> list[psutil.Process]:
        """The processes of this machine that trials run in."""
        below = psutil.Process(self.process.pid).children(recursive=True)
        titles = {p: " ".join(p.cmdline()) for p in below if p.is_running()}
        return [p for p, t in titles.items() if t.startswith("ray::") and ".train" in t]

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
def sweeps(tmp_path: Path, environment: dict[str, str]) -> Iterator[Sweeps]:
    """Sweeps with a state of their own; those that still run at the end are killed."""
    sweeps = Sweeps(tmp_path, environment)
    yield sweeps
    for sweep in sweeps.started:
        if sweep.process.poll() is None:
            sweep.process.kill()
        sweep.process.communicate()
