"""The graph on a Ray cluster of this machine: what `serve` and the demo run."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from typing import Any, Final

from fraudray import runtime, targets
from fraudray.dashboard import Dashboard
from fraudray.output import say, table
from fraudray.pipeline import champion, registered_model
from serve_app import app
from serve_app.client import Client, ServiceError
from serve_app.keys import Keys
from training.errors import UsageError
from training.spec import DatasetSpec
from training.tracking import Tracking

LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
READY: Final = 60.0
"""Seconds that a version may take to be in service once all deployments are there."""


class Graph:
    """A serving graph with an address.

    Parameters
    ----------
    host, port
        Where it answers HTTP.
    dashboard_port
        Where the Ray dashboard listens, on loopback.
    """

    def __init__(self, host: str, port: int, dashboard_port: int) -> None:
        self.host = host
        self.port = port
        self.dashboard_port = dashboard_port
        self.model = ""

    @property
    def url(self) -> str:
        """Where to reach it from this machine."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether only this machine reaches it; nobody needs a key then."""
        return self.host in LOOPBACK

    @property
    def dashboard(self) -> str:
        """Where to reach the Ray dashboard from this machine."""
        return f"http://127.0.0.1:{self.dashboard_port}"

    def check(self, spec: DatasetSpec, given: str | None) -> None:
        """Refuse what cannot work before anything is started.

        Raises
        ------
        NoModel
            If there is no champion to serve.
        RuntimeProblem
            If a port is in use, or others could reach the graph and nobody has a key for it.
        """
        if not self.loopback and not Keys().entries():
            raise runtime.RuntimeProblem(
                f"--host {self.host} lets other machines in, and then callers need a key; make the "
                f"first with `fraudray keys add NAME --role caller`"
            )
        runtime.require_free({"the graph": self.port}, self.host)
        runtime.require_free({"the Ray dashboard": self.dashboard_port})
        tracking = Tracking()
        self.model = registered_model(tracking, spec, given, newest=True)
        champion(tracking, self.model)  # its bundle is on this machine after this

    def start(self) -> None:
        """Start Ray and the graph; return when it answers."""
        say("Starting Ray ...")
        runtime.start_ray(dashboard_port=self.dashboard_port)
        self.deploy(self.model)
        say(f"{self.model} answers at {self.url}/v1/predict; API: {self.url}/docs; Ctrl-C stops it")

    def deploy(self, model: str) -> None:
        """Put the graph of a model on the running cluster; return when it answers.

        Raises
        ------
        RuntimeProblem
            If it does not come up.
        """
        deploy(
            model, address=self.dashboard, host=self.host, port=self.port, keys=not self.loopback
        )
        # The deployments are there; a version takes traffic once each of them has said so.
        with Client(self.url, retries=0) as client:
            deadline = time.monotonic() + READY
            while not client.ready():
                if time.monotonic() > deadline:
                    raise runtime.RuntimeProblem(f"the graph is not ready after {READY:g} s")
                time.sleep(0.1)
        if proxy := os.environ.get("RAY_SERVE_HAPROXY_METRICS_PORT"):
            targets.announce("haproxy", "127.0.0.1", int(proxy), of=self.port)


def deploy(model: str, *, address: str, host: str, port: int, keys: bool) -> None:
    """Apply the graph's configuration to a running cluster; return when its deployments are there.

    Parameters
    ----------
    address
        The dashboard's URL.
    keys
        Whether callers need one.

    Raises
    ------
    UsageError
        If others could reach a graph that asks for no key.
    RuntimeProblem
        If the cluster cannot take it.
    """
    if not keys and host not in LOOPBACK:
        raise UsageError(f"--no-keys: expected a loopback --host, got {host}")
    dashboard = Dashboard(address)
    dashboard.apply(app.configuration(model, host=host, port=port, keys=keys))
    dashboard.wait(lambda state: say(f"  {state}"))


def status(address: str, url: str) -> dict[str, Any]:
    """What the dashboard says of the deployments and the graph of its versions, JSON-ready."""
    state = Dashboard(address).state()
    with Client(url, retries=0, timeout=5.0) as client:
        ready = client.ready()
        try:
            model = client.model()
        except ServiceError as error:  # what the deployments say is worth having all the same
            model = {"error": str(error)}
    told = ("name", "version", "family", "policy", "threshold", "challenger", "failed", "error")
    return {
        "application": state.status,
        "message": state.message,
        "deployments": [asdict(d) for d in state.deployments],
        "ready": ready,
        "model": {name: model[name] for name in told if name in model},
    }


def status_report(found: dict[str, Any]) -> None:
    """Write what `status` found, for people."""
    table(
        f"{app.NAME}: {found['application'].lower()}, {'ready' if found['ready'] else 'not ready'}",
        ("deployment", "status", "replicas", ""),
        [
            (d["name"], d["status"].lower(), f"{d['running']} of {d['target']}", d["message"])
            for d in found["deployments"]
        ],
    )
    model = found["model"]
    if "error" in model:
        say(model["error"])
        return
    say(
        f"{model['name']}: version {model['version']} ({model['family']}) is in service, "
        f"threshold {model['threshold']:.6g} ({model['policy']})"
    )
    if model["challenger"]:
        rival = model["challenger"]
        does = "watches" if rival["mode"] == "shadow" else f"answers {rival['share']:.4%}"
        say(f"version {rival['version']} challenges it and {does}")
    for failure in model["failed"]:
        say(f"version {failure['version']} was refused: {failure['reason']}")
