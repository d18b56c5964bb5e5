"""Is this machine fit to run fraudray, and if not, what to do."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version

import psutil

from fraudray import runtime
from training.errors import FraudrayError
from training.home import VERSION, home

_PORTS = {"the graph": 8000, "the page": 7860, "the MLflow page": 5000, "the Ray dashboard": 8265}
_OURS = ("raylet", "gcs_server", "haproxy")


@dataclass(frozen=True)
class Check:
    """One thing looked at.

    Attributes
    ----------
    severity
        What it means if not `ok`: `error` stops fraudray, `warning` may be in the way.
    """

    name: str
    ok: bool
    severity: str
    found: str


def examine() -> list[Check]:
    """Look at everything; an MLflow store is made where there is none yet."""
    return [*_python(), *_machine(), *_state(), *_ports(), *_leftovers()]


def _python() -> Iterator[Check]:
    good = sys.version_info >= (3, 11)
    found = platform.python_version()
    yield Check("Python", good, "error", found if good else f"{found}; 3.11 or newer is needed")
    missing = []
    for line in requires("fraudray") or []:
        name = line.split(";")[0].split(">=")[0].split("[")[0].strip()
        try:
            if "extra" not in line:
                version(name)
        except PackageNotFoundError:
            missing.append(name)
    found = f"missing: {', '.join(missing)}; run `make setup`" if missing else f"fraudray {VERSION}"
    yield Check("packages", not missing, "error", found)


def _machine() -> Iterator[Check]:
    cores = os.cpu_count() or 1
    free = psutil.virtual_memory().available / 2**30
    disk = shutil.disk_usage("/tmp").free / 2**30  # noqa: S108
    yield Check("cores", cores >= 2, "warning", f"{cores} (2 or more are wanted)")
    yield Check("memory", free >= 3, "warning", f"{free:.1f} GiB free (3 or more are wanted)")
    yield Check("disk for Ray", disk >= 2, "warning", f"{disk:.0f} GiB free in /tmp (2 are wanted)")


def _state() -> Iterator[Check]:
    place = home()
    existing = next(p for p in (place, *place.parents) if p.exists())
    writable = os.access(existing, os.W_OK)
    advice = "" if writable else " may not be written; set FRAUDRAY_HOME"
    yield Check("home folder", writable, "error", f"{place}{advice}")
    from training.tracking import Tracking

    try:
        tracking = Tracking()
    except FraudrayError as error:
        yield Check("MLflow store", False, "error", str(error))
        return
    yield Check("MLflow store", True, "error", tracking.shown)
    models = tracking.models("payments")
    yield Check("models", bool(models), "warning",
                ", ".join(models) or "none yet; make one with `fraudray tune FILE`")  # fmt: skip


def _ports() -> Iterator[Check]:
    for purpose, port in _PORTS.items():
        try:
            runtime.require_free({purpose: port})
        except FraudrayError as error:
            yield Check(f"port {port}", False, "warning", str(error))
        else:
            yield Check(f"port {port}", True, "warning", f"free for {purpose}")


def _leftovers() -> Iterator[Check]:
    """Processes of a Ray that no longer has a parent: a session that was killed."""
    found = [
        f"{p.info['name']} (pid {p.info['pid']})"
        for p in psutil.process_iter(["name", "pid", "ppid"])
        if p.info["name"] in _OURS and p.info["ppid"] == 1
    ]
    yield Check("leftover processes", not found, "warning",
                ", ".join(found) + "; end them by `kill`" if found else "none")  # fmt: skip
