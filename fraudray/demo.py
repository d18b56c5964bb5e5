"""All of fraudray at once: data, sweep, registry, graph, page, MLflow and dashboard."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import click
import httpx
import numpy as np
from rich.panel import Panel
from rich.text import Text

from fraudray import runtime
from fraudray.order import Order
from fraudray.output import console, say
from fraudray.pipeline import Published, timestamped
from fraudray.reports import audit_report, measured, published_report
from fraudray.search import PreparedSearch, Search
from fraudray.serving import Graph
from fraudray.sweeping import Sweep
from serve_app.client import Client
from training.data import Dataset, records_of
from training.home import home
from training.identity import fingerprint
from training.simulate import simulate, write
from training.spec import DatasetSpec
from training.tracking import Tracking
from tuning.journal import Journal
from tuning.space import Space

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
        search = Search(space=Space.load(), trials=self.trials, seed=self.seed)
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
        order = Order(file=self.file or self._simulated(), spec=self.spec.to_dict(), search=search)
        prepared = order.prepare()
        audit_report(prepared.material.report, brief=True)
        say("Starting MLflow and Ray ...")
        tracking = Tracking()
        order = replace(order, model=self._model(prepared))
        tracking.check_target(order.model, self.spec.name)
        journal = Journal(timestamped("demo"))
        graph = Graph("127.0.0.1", ports.graph, ports.dashboard)
        with runtime.stoppable():
            try:
                pages = {"the MLflow page": self._start_mlflow(tracking)}
                runtime.start_ray(dashboard_port=ports.dashboard)
                with journal.locked():
                    sweep = Sweep.begin(journal, order, prepared, tracking)
                    published = sweep.run()
                published_report(published)
                say("Deploying the graph ...")
                pages["the page"] = self._start_page(graph, pages["the MLflow page"])
                graph.deploy(published.version.model)
                latencies = self._send(graph.url, prepared.material.test)
                for name, url in pages.items():
                    _wait_for(name, url)
                self._summary(graph, pages, published, latencies, time.monotonic() - started)
                runtime.wait_for_signal()
            finally:
                say("Stopping ...")
                runtime.stop_ray(serving=True)

    def _simulated(self) -> str:
        say(f"Simulating {self.rows:,} payments ...")
        path = home() / "demo" / f"payments-{self.rows}-{self.seed}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        write(simulate(self.rows, seed=self.seed), path)
        return str(path)

    def _model(self, prepared: PreparedSearch) -> str:
        """A registered model of the data's own, so that champions of different data never meet."""
        stem = Path(self.file).stem.lower() if self.file else "demo"
        stem = re.sub(r"[^a-z0-9]+", "-", stem).strip("-")
        return f"fraudray-{self.spec.name}-{stem}-{fingerprint(prepared.material.dataset)[:6]}"

    def _start_mlflow(self, tracking: Tracking) -> str:
        """Open MLflow's page on the store, unless the store is a server; where it is."""
        if tracking.uri.startswith("http"):
            return tracking.shown
        self._background(
            "mlflow.log",
            [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1",
             "--port", str(self.ports.mlflow), "--workers", "1"],
            # Not among the arguments, which every user of the machine can read: a password.
            MLFLOW_BACKEND_STORE_URI=tracking.uri,
            MLFLOW_DEFAULT_ARTIFACT_ROOT=(home() / "artifacts").as_uri(),
        )  # fmt: skip
        return f"http://127.0.0.1:{self.ports.mlflow}"

    def _start_page(self, graph: Graph, mlflow: str) -> str:
        """Open the page for people, which links to the others; where it is."""
        self._background(
            "page.log",
            [sys.executable, "-m", "fraudray", "ui", "--port", str(self.ports.page),
             "--url", graph.url],
            FRAUDRAY_MLFLOW_URL=mlflow, FRAUDRAY_RAY_URL=graph.dashboard,
        )  # fmt: skip
        return f"http://127.0.0.1:{self.ports.page}"

    def _background(self, log: str, command: list[str], **environment: str) -> None:
        """Start a process out of Ctrl-C's reach; `runtime.stoppable` ends it."""
        with (home() / log).open("wb") as output:
            subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True, env=os.environ | environment,
            )  # fmt: skip

    def _send(self, url: str, test: Dataset) -> list[float]:
        """Send held-out payments, one a request; milliseconds each took."""
        test = test.take(np.arange(min(SENT, len(test))))
        milliseconds = []
        with Client(url) as client:
            for payment in records_of(test, list(self.spec.inputs)):
                begun = time.perf_counter()
                client.predict([payment])
                milliseconds.append((time.perf_counter() - begun) * 1000)
        return milliseconds

    def _summary(
        self, graph: Graph, pages: dict[str, str], published: Published,
        milliseconds: list[float], seconds: float,
    ) -> None:  # fmt: skip
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
            f"Score a payment   {pages['the page']}",
            f"HTTP and its docs {graph.url}/docs",
            f"Experiments       {pages['the MLflow page']}",
            f"Ray dashboard     {graph.dashboard}   (token: cat {runtime.token_path()})",
            "Metrics, alerts   fraudray monitoring, in another terminal",
        ]
        title = f"fraudray is up after {seconds:.0f} s. Ctrl-C stops it"
        console().print(Panel(Text("\n".join(lines)), title=title, title_align="left"))
        click.echo(f"Try it:\n{_curl(graph.url, self.spec)}")  # outside the frame, to be copied
        sys.stdout.flush()


def _wait_for(name: str, url: str, patience: float = 60.0) -> None:
    """Wait until a page answers; the demo goes on without it."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            httpx.get(url, timeout=2, trust_env=False).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.25)
        else:
            return
    say(f"warning: {name} does not answer at {url}; see {home()}/*.log")


def _curl(url: str, spec: DatasetSpec) -> str:
    """A request to copy, from the spec's examples."""
    fields = ", ".join(
        f'"{name}": "{c.example}"' if isinstance(c.example, str) else f'"{name}": {c.example:g}'
        for name, c in spec.inputs.items()
        if c.example is not None
    )
    return f"curl {url}/v1/predict -H 'content-type: application/json' -d '{{{fields}}}'"
