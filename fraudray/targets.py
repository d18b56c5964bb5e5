"""Targets: where Prometheus finds what runs on this machine, as files that it watches.

Whoever has metrics says so here while it runs, so what is started later or again is found, and what
was stopped is no target that is down. `fraudray monitoring` reads this folder.
"""

from __future__ import annotations

import atexit
import json
from pathlib import Path
from typing import Final

from training.home import home

_DISCOVERY: Final = "prom_metrics_service_discovery.json"


def folder() -> Path:
    """Where the files lie; one for each process that has metrics."""
    return home() / "monitoring" / "targets"


def ray_dashboards() -> Path:
    """Where clusters of this machine write Ray's own dashboards, and Grafana reads them."""
    return home() / "monitoring" / "ray-dashboards"


def announce(job: str, host: str, port: int, *, of: int | None = None) -> None:
    """Have `/metrics` at an address read until this process ends.

    Parameters
    ----------
    job
        What the series are labelled by.
    host, port
        Where it listens; an address that stands for all is read on loopback.
    of
        A port that stays the same when it is started again, where `port` does not: so what a killed
        process has left is written over.
    """
    host = "127.0.0.1" if host in ("", "0.0.0.0", "::") else host  # noqa: S104
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    path = _place(job, of or port)
    unfinished = path.with_suffix(".new")
    unfinished.write_text(json.dumps([{"labels": {"job": job}, "targets": [address]}]), "utf-8")
    unfinished.replace(path)


def announce_cluster(session: Path, dashboard_port: int) -> None:
    """Have all nodes of a Ray cluster read until this process ends.

    Parameters
    ----------
    session
        Folder of its session, where Ray keeps a list of them.
    dashboard_port
        Tells the clusters of this machine apart.
    """
    path = _place("ray", dashboard_port)
    path.unlink(missing_ok=True)  # of a cluster that was killed
    path.symlink_to(session / _DISCOVERY)


def _place(job: str, port: int) -> Path:
    """Where to write; what is written there goes when this process does."""
    path = folder() / f"{job}-{port}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    atexit.register(path.unlink, missing_ok=True)
    return path
