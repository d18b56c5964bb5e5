"""All of fraudray at once: data, sweep, registry, graph, page, MLflow and dashboard."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import click
from rich.panel import Panel

from fraudray import runtime
from fraudray.output import audit_report, console, measured, published_report, say
from fraudray.pipeline import Published, audited
from fraudray.search import PreparedSearch, Search
from fraudray.serving import Graph, wait_for_signal
from serve_app.client import Client
from training.data import Dataset, records_of
from training.home import home
from training.simulate import simulate, write
from training.spec import DatasetSpec
from training.split import fingerprint, split
from training.tracking import Tracking

SENT = 100
"""Held-out payments sent to the graph, one request each."""


@dataclass(frozen=True)
class Ports:
    """Where everything listens, on loopback."""

    graph: int
    page: int
    mlflow: int
    dashboard: int


@dataclass(frozen=True)
class Demo:
    """The demo's settings.

    Parameters
    ----------
    file
        A payments file of one's own; None simulates `rows` payments.
    """

    file: str | None
    spec: DatasetSpec
    rows: int
    trials: int
    seed: int
    ports: Ports

    def run(self) -> None:
        """Do every step, print what a person wants to see, stay until Ctrl-C, leave nothing."""
        search = Search(trials=self.trials, seed=self.seed)
        ports = self.ports
        runtime.require_free(
            {
                "the graph": ports.graph,
                "the page": ports.page,
                "the MLflow page": ports.mlflow,
                "the Ray dashboard": ports.dashboard,
            }
        )
        started = time.monotonic()
        with runtime.stoppable():
            graph = Graph("127.0.0.1", ports.graph, ports.dashboard)
            try:
                file = self.file or self._simulated()
                dataset, report = audited(file, self.spec)
                audit_report(report, error=True)
                prepared = search.prepare(dataset, report)
                say("Starting MLflow and Ray ...")
                tracking = Tracking()
                self._start_mlflow(tracking.uri)
                runtime.start_ray(dashboard_port=ports.dashboard)
                published = prepared.run(tracking, name=None, model=self._model(prepared))
                published_report(published)
                say("Deploying the graph ...")
                self._start_page(graph.url)
                graph.deploy(published.version.model)
                latencies = self._send(graph.url, dataset)
                self._wait_for_pages()
                self._summary(graph, published, latencies, time.monotonic() - started)
                wait_for_signal()
            finally:
                graph.stop()

    def _simulated(self) -> str:
        say(f"Simulating {self.rows:,} payments ...")
        path = home() / "demo" / f"payments-{self.rows}-{self.seed}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        write(simulate(self.rows, seed=self.seed), path)
        return str(path)

    def _model(self, prepared: PreparedSearch) -> str:
        """A registered model of the data's own, so that champions of different data never meet."""
        if self.file is None:
            return f"fraudray-{self.spec.name}-demo"
        stem = re.sub(r"[^a-z0-9]+", "-", Path(self.file).stem.lower()).strip("-")
        return f"fraudray-{self.spec.name}-{stem}-{fingerprint(prepared.dataset)[:6]}"

    def _start_mlflow(self, uri: str) -> None:
        if uri.startswith("http"):
            return  # a server is there already
        artifacts = home() / "artifacts"
        self._background(
            "mlflow.log",
            [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1",
             "--port", str(self.ports.mlflow), "--workers", "1", "--backend-store-uri", uri,
             "--default-artifact-root", artifacts.as_uri()],
        )  # fmt: skip

    def _start_page(self, url: str) -> None:
        self._background(
            "page.log",
            [sys.executable, "-m", "fraudray", "ui", "--port", str(self.ports.page), "--url", url],
        )

    def _background(self, log: str, command: list[str]) -> None:
        """Start a process out of Ctrl-C's reach; `runtime.stoppable` ends it."""
        with (home() / log).open("wb") as output:
            subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip

    def _send(self, url: str, dataset: Dataset) -> list[float]:
        """Send held-out payments, one a request; milliseconds each took."""
        test = dataset.take(split(dataset).test[:SENT])
        milliseconds = []
        with Client(url) as client:
            for payment in records_of(test, list(self.spec.inputs)):
                begun = time.perf_counter()
                client.predict([payment])
                milliseconds.append((time.perf_counter() - begun) * 1000)
        return milliseconds

    def _wait_for_pages(self) -> None:
        pages = {"the page": self.ports.page, "the MLflow page": self.ports.mlflow}
        for name, port in pages.items():
            deadline = time.monotonic() + 60
            while not _answers(port):
                if time.monotonic() > deadline:
                    say(f"warning: {name} does not answer on port {port}; see {home()}/*.log")
                    break
                time.sleep(0.25)

    def _summary(
        self, graph: Graph, published: Published, milliseconds: list[float], seconds: float
    ) -> None:
        card, choice = published.bundle.card, published.bundle.choice
        ordered = sorted(milliseconds)
        test = card["metrics"]["test"]
        kept = "" if published.version.champion else (
            f"\n           (an earlier champion keeps serving: {published.verdict.reason})"
        )  # fmt: skip
        lines = [
            f"Best model {card['family']}, SMOTE ratio {card['smote']:g}{kept}",
            f"Threshold  {choice.threshold:.4f} ({choice.policy} on validation)",
            f"Test       {measured(test)}",
            f"Latency    {statistics.median(ordered):.1f} ms median, "
            f"{ordered[int(len(ordered) * 0.95)]:.1f} ms at the 95th percentile, "
            f"{len(ordered)} single payments one after the other",
            "",
            f"Score a payment   http://127.0.0.1:{self.ports.page}",
            f"HTTP and its docs {graph.url}/docs",
            f"Experiments       http://127.0.0.1:{self.ports.mlflow}",
            f"Ray dashboard     {graph.dashboard}   (token: cat {runtime.token_path()})",
        ]
        title = f"fraudray is up after {seconds:.0f} s. Ctrl-C stops it"
        console().print(Panel("\n".join(lines), title=title, title_align="left"))
        click.echo(f"Try it:\n{_curl(graph.url, self.spec)}")  # outside the frame, to be copied
        sys.stdout.flush()


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


def _curl(url: str, spec: DatasetSpec) -> str:
    """A request to copy, from the spec's examples."""
    fields = ", ".join(
        f'"{name}": "{c.example}"' if isinstance(c.example, str) else f'"{name}": {c.example:g}'
        for name, c in spec.inputs.items()
        if c.example is not None
    )
    return f"curl {url}/predict -d '{{{fields}}}'"
