"""The graph on a Ray cluster of this machine: what `serve` and the demo run."""

from __future__ import annotations

from fraudray import runtime
from fraudray.output import say
from fraudray.pipeline import champion, registered_model
from serve_app import app
from training.spec import DatasetSpec
from training.tracking import Tracking


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
        return f"http://{host}:{self.port}"

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
            If a port is in use.
        """
        runtime.require_free({"the graph": self.port}, self.host)
        runtime.require_free({"the Ray dashboard": self.dashboard_port})
        tracking = Tracking()
        self.model = registered_model(tracking, spec, given, newest=True)
        champion(tracking, self.model)  # its bundle is on this machine after this

    def start(self) -> None:
        """Start Ray and the graph; return when it answers."""
        if self.host not in ("127.0.0.1", "localhost", "::1"):
            say(f"warning: whoever reaches {self.host}:{self.port} can score payments and read "
                f"about the model; let only those in whom you trust")  # fmt: skip
        say("Starting Ray ...")
        runtime.start_ray(dashboard_port=self.dashboard_port)
        self.deploy(self.model)
        say(f"{self.model} answers at {self.url}/predict; API: {self.url}/docs; Ctrl-C stops it")

    def deploy(self, model: str) -> None:
        """Put the graph of a model on the running cluster; return when it answers."""
        configuration = app.configuration(model, host=self.host, port=self.port)
        runtime.deploy(
            configuration, dashboard=self.dashboard, tell=lambda state: say(f"  {state}")
        )
