"""The servers of the benchmark: how each is started, asked and stopped, one at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
from page import Broken
from serving_case import MODEL, Case

from fraudray import runtime
from training.tracking import tracking_uri

HERE: Final = Path(__file__).parent
PATIENCE: Final = 180.0  # seconds to start in; Ray takes most of a minute on a busy machine


def _plain(answer: Any) -> float:
    return float(answer["probability"])


@dataclass(frozen=True)
class Server:
    """One program in one of its settings.

    Attributes
    ----------
    command
        `{port}` stands for where it listens, on loopback.
    path
        Of a request with one payment.
    body
        What is sent for a payment's JSON.
    probability
        From an answer's JSON.
    """

    name: str
    settings: str
    command: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)
    path: str = "/predict"
    body: Callable[[bytes], bytes] = bytes
    probability: Callable[[Any], float] | None = _plain

    @contextmanager
    def running(self, case: Case) -> Iterator[str]:
        """Start it, wait until it answers, give its URL; end it and all it started.

        Raises
        ------
        Broken
            If it ends before it answers, or never answers.
        """
        (port,) = runtime.free_ports(1)
        log = case.folder / "server.log"
        command = [part.format(port=port) for part in self.command]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=case.folder,
                env=case.environment | self.environment, start_new_session=True,
            )  # fmt: skip
        url = f"http://127.0.0.1:{port}"
        try:
            self._wait(process, url, case, log)
            yield url
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
            runtime.end_children()

    def ask(self, client: httpx.Client, url: str, payment: bytes) -> Any:
        """The answer to one payment."""
        headers = {"Content-Type": "application/json"}
        answer = client.post(url + self.path, content=self.body(payment), headers=headers)
        answer.raise_for_status()
        return answer.json()

    def check(self, case: Case, url: str, count: int = 100) -> float | None:
        """The largest difference of its probabilities from the offline ones; None if it has none.

        Raises
        ------
        Broken
            If they are not the model's: then its speed means nothing.
        """
        with httpx.Client(trust_env=False, timeout=60) as client:
            answers = [self.ask(client, url, body) for body in case.bodies[:count]]
        if self.probability is None:
            return None
        return case.require([self.probability(a) for a in answers], f"{self.name}, {self.settings}")

    def _wait(self, process: subprocess.Popen[bytes], url: str, case: Case, log: Path) -> None:
        deadline, last = time.monotonic() + PATIENCE, "nothing"
        with httpx.Client(trust_env=False, timeout=10) as client:
            while time.monotonic() < deadline:
                if process.poll() is not None:
                    raise Broken(f"{self.name}, {self.settings}: ended at its start: {_end(log)}")
                try:
                    self.ask(client, url, case.bodies[0])
                except (httpx.HTTPError, ValueError) as error:
                    last = " ".join(str(error).split())[:200]
                    time.sleep(0.5)
                else:
                    return
        raise Broken(f"{self.name}, {self.settings}: no answer; last {last}; {_end(log)}")


def original(workers: int, threads: int) -> Server:
    """The first design of the project: FastAPI, pandas and a scikit-learn pipeline."""
    return Server(
        "original: FastAPI, pandas, scikit-learn",
        f"{_many(workers, 'worker')}, {_many(threads, 'thread')}",
        _uvicorn("serving_original:app", workers),
        {"BENCH_THREADS": str(threads)},
    )


def own_fastapi(workers: int) -> Server:
    """FastAPI around our contract and score."""
    return Server(
        "FastAPI, our scoring",
        _many(workers, "worker"),
        _uvicorn("serving_fastapi:app", workers),
    )


def mlflow(workers: int) -> Server:
    """MLflow's own server on the registered model."""

    def body(payment: bytes) -> bytes:
        return b'{"dataframe_records": [' + payment + b"]}"

    return Server(
        "mlflow models serve",
        _many(workers, "worker"),
        [sys.executable, "-m", "mlflow", "models", "serve", "-m", f"models:/{MODEL}@champion",
         "--env-manager", "local", "--host", "127.0.0.1", "--port", "{port}",
         "--workers", str(workers)],
        # MLflow looks for its server on the PATH, and for the registry in its own variable.
        {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
         "MLFLOW_TRACKING_URI": tracking_uri()},
        path="/invocations",
        body=body,
        probability=lambda answer: float(answer["predictions"][0]["probability"]),
    )  # fmt: skip


def chain(ingress: int, stages: int) -> Server:
    """Three chained deployments called once a request, in plain Ray Serve."""
    return Server(
        "plain Ray Serve composition",
        f"{ingress} ingress, {stages} of each stage",
        [sys.executable, str(HERE / "serving_chain.py"), "chain", "--port", "{port}",
         "--ingress", str(ingress), "--stages", str(stages)],
    )  # fmt: skip


def ceiling(ingress: int) -> Server:
    """An ingress like ours that answers a constant."""
    return Server(
        "ceiling: an ingress answering a constant",
        f"{ingress} ingress",
        [sys.executable, str(HERE / "serving_chain.py"), "ceiling", "--port", "{port}",
         "--ingress", str(ingress)],
        probability=None,
    )  # fmt: skip


def graph(dashboard: int) -> Server:
    """Ours, by its own command and with its own settings."""
    return Server(
        "fraudray",
        "as it comes",
        [sys.executable, "-m", "fraudray", "serve", "--port", "{port}",
         "--dashboard-port", str(dashboard)],
    )  # fmt: skip


def _uvicorn(app: str, workers: int) -> list[str]:
    return [
        sys.executable, "-m", "uvicorn", app, "--app-dir", str(HERE), "--host", "127.0.0.1",
        "--port", "{port}", "--workers", str(workers), "--no-access-log",
        "--log-level", "warning", "--loop", "uvloop", "--http", "httptools",
    ]  # fmt: skip


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"


def _end(log: Path) -> str:
    return " ".join(log.read_text("utf-8", errors="replace").split())[-400:]
