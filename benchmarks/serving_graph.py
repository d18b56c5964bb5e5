"""What the Ray dashboard says of the running graph: its replicas, their processes, their number."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
from page import Broken
from serving_case import Case

APPLICATION: Final = "fraudray"
_PATH: Final = "/api/serve/applications/"


@dataclass(frozen=True)
class Replica:
    """A running replica."""

    deployment: str
    name: str
    pid: int


class Dashboard:
    """Ray's dashboard of the graph in a home, which asks for the token that lies there."""

    def __init__(self, folder: Path, port: int) -> None:
        token = (folder / "ray-token").read_text("utf-8")
        self._http = httpx.Client(
            base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20,
            headers={"Authorization": f"Bearer {token.strip()}"},
        )  # fmt: skip

    def application(self) -> dict[str, Any]:
        """Serve's account of the application."""
        answer = self._http.get(_PATH)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()["applications"][APPLICATION]
        return found

    def running(self) -> list[Replica]:
        """Replicas that take requests."""
        return [
            Replica(name, replica["replica_id"], replica["pid"])
            for name, deployment in self.application()["deployments"].items()
            for replica in deployment["replicas"]
            if replica["state"] == "RUNNING" and replica["pid"]
        ]

    def counts(self) -> dict[str, int]:
        """Running replicas of every deployment."""
        found = self.running()
        return {d: sum(r.deployment == d for r in found)
                for d in self.application()["deployments"]}  # fmt: skip

    def scale(self, count: int, patience: float = 120.0) -> None:
        """Hold every deployment that scales at so many replicas; return when they run.

        Raises
        ------
        Broken
            If they do not.
        """
        content = self._http.get(_PATH).json()
        config = content["applications"][APPLICATION]["deployed_app_config"]
        scaled = []
        for deployment in config["deployments"]:
            own = deployment.get("autoscaling_config")
            if own:
                own |= {"min_replicas": count, "max_replicas": count, "initial_replicas": None}
                scaled.append(deployment["name"])
        whole = {"applications": [config], "proxy_location": content["proxy_location"],
                 "http_options": content["http_options"]}  # fmt: skip
        self._http.put(_PATH, json=whole).raise_for_status()
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            counts = self.counts()
            if all(counts.get(name) == count for name in scaled):
                return
            time.sleep(1)
        raise Broken(f"the graph does not scale to {count} replicas: {self.counts()}")


def replicas(case: Case, dashboard: int) -> str:
    """How many replicas each stage has at this moment, in words."""
    counts = Dashboard(case.folder, dashboard).counts()
    return ", ".join(f"{count} {name}" for name, count in counts.items())
