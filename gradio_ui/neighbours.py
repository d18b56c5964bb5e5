"""Neighbours: the other programs' own pages, and whether they are running."""

from __future__ import annotations

import os
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Self

PATIENCE = 3.0
"""Seconds that a page may take to answer before it counts as not running; MLflow's own may take
more than one on a busy machine, and where nothing listens the answer is there at once."""
FRESH = 10.0
"""Seconds for which what was found counts."""

# Straight to the address, whatever proxy there is for the world outside.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass
class Neighbour:
    """A page of another program.

    Attributes
    ----------
    start
        What starts it, for people.
    """

    name: str
    url: str
    shows: str
    start: str
    _seen: tuple[float, bool] = field(default=(-FRESH, False), repr=False)

    @property
    def runs(self) -> bool:
        """Whether it answered within the last ten seconds; any answer will do."""
        if time.monotonic() - self._seen[0] > FRESH:
            self._seen = (time.monotonic(), self._answers())
        return self._seen[1]

    def _answers(self) -> bool:
        try:
            _OPENER.open(self.url, timeout=PATIENCE).close()
        except urllib.error.HTTPError:
            return True  # it wants a password, say
        except (OSError, ValueError):
            return False
        return True


@dataclass(frozen=True)
class Neighbours:
    """The pages beside this one."""

    ray: Neighbour
    mlflow: Neighbour
    grafana: Neighbour

    @classmethod
    def from_environment(cls) -> Self:
        """At the addresses that the environment names, else where they listen by default."""
        return cls(
            ray=Neighbour(
                "Ray dashboard", _address("FRAUDRAY_RAY_URL", 8265),
                "Replicas, workers and logs of the cluster.",
                "It comes up with fraudray serve and make demo.",
            ),
            mlflow=Neighbour(
                "MLflow", _address("FRAUDRAY_MLFLOW_URL", 5000),
                "Every experiment, trial and registered version.",
                "Start it with mlflow server; make demo brings it along.",
            ),
            grafana=Neighbour(
                "Grafana", _address("FRAUDRAY_GRAFANA_URL", 3000),
                "Dashboards and alerts over days and weeks.",
                "Start it with make monitoring, where it is installed.",
            ),
        )  # fmt: skip

    def all(self) -> list[tuple[Neighbour, bool]]:
        """Each with whether it runs, asked all at once."""
        each = [self.ray, self.mlflow, self.grafana]
        with ThreadPoolExecutor(len(each)) as pool:
            return list(zip(each, pool.map(lambda one: one.runs, each), strict=True))


def _address(variable: str, port: int) -> str:
    return (os.environ.get(variable) or f"http://127.0.0.1:{port}").rstrip("/")
