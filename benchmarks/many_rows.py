"""A million payments: made by the simulator, read and audited."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from page import Broken, met, table

from training.audit import audit
from training.data import Dataset, load
from training.simulate import simulate, write
from training.spec import DatasetSpec
from training.split import split

LEAST_SIMULATED: Final = 500_000.0  # rows a second
MOST_AUDIT: Final = 30.0  # seconds
FORMATS: Final = ("csv", "parquet")

_SIMULATE = """
import sys, time
from training.simulate import simulate
for _ in range(2):
    begin = time.perf_counter()
    simulate(int(sys.argv[1]), seed=1)
    print(time.perf_counter() - begin)
"""


@dataclass(frozen=True)
class ManyRows:
    """Seconds for `rows` payments.

    Attributes
    ----------
    simulated
        The first call of a fresh process, imports apart, and the second.
    steps
        Per format, per step: read and check, split, audit.
    command
        Per format: `fraudray audit` from start to exit.
    """

    rows: int
    simulated: tuple[float, float]
    steps: dict[str, dict[str, float]] = field(default_factory=dict)
    command: dict[str, float] = field(default_factory=dict)


def many_rows(rows: int) -> ManyRows:
    """Measure simulator, reading and audit.

    Raises
    ------
    Broken
        If a command fails.
    """
    first, second = (float(x) for x in run([sys.executable, "-c", _SIMULATE, str(rows)]).split())
    found = ManyRows(rows, (first, second))
    with TemporaryDirectory() as folder:
        environment = os.environ | {"FRAUDRAY_HOME": str(Path(folder) / "home")}
        payments = simulate(rows, seed=1)
        for kind in FORMATS:
            path = Path(folder) / f"payments.{kind}"
            write(payments, path)
            found.steps[kind] = _steps(path)
            with _clock(found.command, kind):
                run([sys.executable, "-m", "fraudray", "audit", str(path), "--json"], environment)
            path.unlink()
    return found


def many_rows_block(found: ManyRows) -> str:
    """The two tables."""
    simulated = [
        [when, f"{seconds:.2f}", f"{found.rows / seconds:,.0f}",
         met(found.rows / seconds >= LEAST_SIMULATED, f"{LEAST_SIMULATED:,.0f}")]
        for when, seconds in zip(("first call of a process", "second call"),
                                 found.simulated, strict=True)
    ]  # fmt: skip
    audited = [
        [kind, *(f"{seconds:.1f}" for seconds in steps.values()),
         f"{found.command[kind]:.1f}",
         met(found.command[kind] < MOST_AUDIT, f"{MOST_AUDIT:g} s")]
        for kind, steps in found.steps.items()
    ]  # fmt: skip
    return "\n\n".join(
        [
            f"Simulator, {found.rows:,} payments:",
            table(["", "seconds", "rows a second", "at least"], simulated),
            f"`fraudray audit` of {found.rows:,} payments, seconds:",
            table(["file", "read and check", "split", "audit", "the whole command", "under"],
                  audited),
        ]
    )  # fmt: skip


def run(command: list[str], environment: dict[str, str] | None = None) -> str:
    """What a command prints.

    Raises
    ------
    Broken
        If it fails, with the end of what it said.
    """
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise Broken(f"{' '.join(command[1:4])} ended with {done.returncode}: {said}")
    return done.stdout


def _steps(path: Path) -> dict[str, float]:
    steps: dict[str, float] = {}
    with _clock(steps, "read"):
        dataset: Dataset = load(path, DatasetSpec.load("payments"))
    with _clock(steps, "split"):
        parts = split(dataset)
    with _clock(steps, "audit"):
        audit(dataset, parts)
    return steps


@contextmanager
def _clock(into: dict[str, float], name: str) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    into[name] = time.perf_counter() - begin
