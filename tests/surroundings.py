"""What the commands that tests start find around them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

import psutil

_TOLD = ("RAY_", "MLFLOW_", "FRAUDRAY_")


def bare(**further: str | Path) -> dict[str, str]:
    """The environment of a command as a newcomer's shell would give it, and what is given here.

    Nothing of Ray, MLflow or fraudray is in it: a test process that has joined a cluster itself has
    been told of another token, another registry, or to stay on loopback.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_TOLD)}
    return kept | {name: str(value) for name, value in further.items()}


def alive(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those that run still; one that has ended and that nobody has waited for does not."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
