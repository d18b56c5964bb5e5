"""The Ray dashboard's side of serving: applying a configuration, and what became of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import requests
from ray.dashboard.modules.serve.sdk import ServeSubmissionClient
from ray.exceptions import RayError

from fraudray.runtime import RuntimeProblem, use_own_token
from serve_app import writer
from serve_app.app import NAME

PATIENCE: Final = 30.0
"""Seconds in which the dashboard may fail to answer."""
_APPLICATIONS: Final = "/api/serve/applications/"


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
        self._ask("PUT", _APPLICATIONS, json_data=configuration)

    def cpus(self) -> float:
        """CPUs of all nodes that are alive."""
        answer = self._ask("GET", "/api/v0/nodes?detail=1&limit=10000")
        nodes = answer["data"]["result"]["result"]
        alive = [n for n in nodes if n["state"] == "ALIVE"]
        return float(sum((n.get("resources_total") or {}).get("CPU", 0.0) for n in alive))

    def state(self) -> State:
        """What the application does now."""
        found = self._ask("GET", _APPLICATIONS)["applications"].get(NAME)
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

    def _ask(self, method: str, path: str, **sent: Any) -> Any:
        """The dashboard's answer, from JSON. Whatever is asked here may be asked again.

        While Ray starts on a busy machine, the dashboard fails until what it needs is there.
        """
        deadline = time.monotonic() + PATIENCE
        with _told(self.address):
            while (answer := self._client._do_request(method, path, **sent)).status_code >= 500:
                if time.monotonic() > deadline:
                    break
                time.sleep(1.0)
            if answer.status_code != 200:
                # Ray sends a traceback, which ends with what was raised.
                cause = (answer.text.strip().splitlines() or ["no reason given"])[-1]
                raise RuntimeError(f"status {answer.status_code}, {cause}")
            return answer.json() if answer.content else None


@contextmanager
def _told(address: str) -> Iterator[None]:
    """Whatever Ray's client and the network raise, in a line."""
    try:
        yield
    except (
        RayError, requests.RequestException, ConnectionError, RuntimeError, ValueError
    ) as error:  # fmt: skip
        cause = " ".join(str(error).split())[:300]
        raise RuntimeProblem(
            f"the Ray dashboard at {address} does not answer as it should: {cause}"
        ) from error
