"""The Ray dashboard's side of serving: applying a configuration, and what became of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests
from ray.dashboard.modules.serve.sdk import ServeSubmissionClient

from fraudray.runtime import RuntimeProblem, use_own_token
from serve_app import writer
from serve_app.app import NAME


@dataclass(frozen=True)
class Deployment:
    """One deployment as it is now.

    Attributes
    ----------
    running, target
        Replicas that take requests, and how many there are to be.
    """

    name: str
    status: str
    running: int
    target: int
    message: str


@dataclass(frozen=True)
class State:
    """The application as it is now; `status` is Ray's word, `NOT_DEPLOYED` where there is none."""

    status: str
    message: str
    deployments: tuple[Deployment, ...]

    @property
    def cause(self) -> str:
        """What went wrong, as the deployments or the application tell it."""
        told = [*(d.message for d in self.deployments), self.message]
        words = next((m.strip() for m in told if m and m.strip()), "no reason given")
        return words.splitlines()[-1]


class Dashboard:
    """The dashboard of a running cluster.

    Parameters
    ----------
    address
        Its URL; the cluster's token is taken from where Ray takes it.

    Raises
    ------
    RuntimeProblem
        If nothing answers there, or the cluster does not let us in.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        use_own_token()
        with _told(address):
            self._client = ServeSubmissionClient(address)

    def apply(self, configuration: dict[str, Any]) -> None:
        """Apply a Serve configuration, which must find room.

        Raises
        ------
        RuntimeProblem
            If the CPUs of the cluster do not suffice.
        """
        application = configuration["applications"][0]
        wanted = writer.CPUS + sum(
            d["ray_actor_options"]["num_cpus"]
            * d.get("autoscaling_config", {"min_replicas": 1})["min_replicas"]
            for d in application["deployments"]
        )
        there = self.cpus()
        if wanted > there:
            raise RuntimeProblem(f"the graph needs {wanted:g} CPUs, this cluster has {there:g}")
        with _told(self.address):
            self._client.deploy_applications(configuration)

    def cpus(self) -> float:
        """CPUs of all nodes that are alive."""
        with _told(self.address):
            answer = self._client._do_request("GET", "/api/v0/nodes?detail=1&limit=10000")
            answer.raise_for_status()
            nodes = answer.json()["data"]["result"]["result"]
        alive = [n for n in nodes if n["state"] == "ALIVE"]
        return float(sum((n.get("resources_total") or {}).get("CPU", 0.0) for n in alive))

    def state(self) -> State:
        """What the application does now."""
        with _told(self.address):
            found = self._client.get_serve_details()["applications"].get(NAME)
        if found is None:
            return State("NOT_DEPLOYED", "", ())
        deployments = []
        for name, details in found["deployments"].items():
            replicas = [r for r in details["replicas"] if r["state"] == "RUNNING"]
            deployments.append(
                Deployment(
                    name, details["status"], len(replicas), details["target_num_replicas"],
                    details["message"],
                )
            )  # fmt: skip
        return State(found["status"], found["message"], tuple(deployments))

    def wait(self, tell: Callable[[str], None], *, timeout: float = 180.0) -> None:
        """Wait until the application runs.

        Parameters
        ----------
        tell
            Called with how many deployments are ready whenever that changes.

        Raises
        ------
        RuntimeProblem
            If the application fails or the time is over.
        """
        deadline, told = time.monotonic() + timeout, ""
        while time.monotonic() < deadline:
            state = self.state()
            ready = sum(d.status == "HEALTHY" for d in state.deployments)
            now = f"{ready} of {len(state.deployments)} deployments ready"
            if state.deployments and now != told:
                tell(told := now)
            if state.status == "RUNNING":
                return
            if state.status in ("DEPLOY_FAILED", "UNHEALTHY"):
                raise RuntimeProblem(f"the graph cannot be deployed: {state.cause}")
            time.sleep(0.25)
        raise RuntimeProblem(f"the graph is not ready after {timeout:g} s: {told or 'no status'}")


@contextmanager
def _told(address: str) -> Iterator[None]:
    """Whatever Ray's client and the network raise, in a line."""
    try:
        yield
    except (requests.RequestException, ConnectionError, RuntimeError, ValueError) as error:
        cause = " ".join(str(error).split())[:300]
        raise RuntimeProblem(
            f"the Ray dashboard at {address} does not answer as it should: {cause}"
        ) from error
