"""Load from wrk: as many connections as asked, each sending its next request on the answer."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from page import Broken

SCRIPT: Final = Path(__file__).with_name("serving_load.lua")
JSON: Final = "application/json"
ARROW: Final = "application/vnd.apache.arrow.stream"


@dataclass(frozen=True)
class Load:
    """What wrk saw; latencies in milliseconds.

    Attributes
    ----------
    failed
        Answers above 399, connections that failed, and requests without an answer.
    """

    connections: int
    requests: int
    seconds: float
    failed: int
    p50: float
    p95: float
    p99: float
    longest: float

    @property
    def throughput(self) -> float:
        """Requests answered well, a second."""
        return (self.requests - self.failed) / self.seconds


def write_bodies(path: Path, bodies: Iterable[bytes]) -> Path:
    """A file as the script reads it."""
    with path.open("wb") as file:
        for body in bodies:
            file.write(b"%d\n" % len(body) + body)
    return path


def wrk(url: str, bodies: Path, *, connections: int, seconds: float, content: str = JSON) -> Load:
    """Send for so many seconds.

    Raises
    ------
    Broken
        If wrk is not installed, or fails.
    """
    program = shutil.which("wrk")
    if program is None:
        raise Broken("wrk is not installed; on Debian: apt-get install wrk")
    threads = min(2, connections)
    command = [
        program, f"-t{threads}", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "30s",
        "--latency", "-s", str(SCRIPT), url, "--", str(bodies), content,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise Broken(f"wrk failed: {(done.stderr or done.stdout).strip()[-300:]}")
    told = json.loads(lines[-1])
    return Load(
        connections=connections,
        requests=told["requests"],
        seconds=told["microseconds"] / 1e6,
        failed=sum(told[kind] for kind in ("refused", "connect", "read", "write", "timeout")),
        **{name: told[name] / 1e3 for name in ("p50", "p95", "p99")},
        longest=told["max"] / 1e3,
    )
