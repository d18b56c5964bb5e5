"""Replicas come with the load and go with it, as Serve itself counts them."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fraudray.dashboard import Dashboard
from serve_app.client import Client

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]

RAMP = ((8, 20), (64, 40), (128, 60), (8, 20))
"""Connections, and for how many seconds."""
BACK = 300.0
"""Seconds in which the replicas must be back at their least."""


def test_replicas_rise_with_the_load_and_return(
    start_demo: Callable[..., Any],
    require: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrk = require("wrk")
    demo = start_demo("--rows", "8000", "--trials", "4")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(demo.home / "ray-token"))
    cluster = Dashboard(demo.dashboard_url)
    with Client(demo.url) as client:
        fields = client.model()["inputs"]
    payment = {f["name"]: f["example"] for f in fields if f["example"] is not None}
    script = tmp_path / "post.lua"
    script.write_text(
        'wrk.method = "POST"\n'
        'wrk.headers["Content-Type"] = "application/json"\n'
        f"wrk.body = [[{json.dumps(payment)}]]\n"
    )
    began, seen = time.monotonic(), []

    def look(connections: int) -> dict[str, int]:
        counts = {d.name: d.running for d in cluster.state().deployments}
        seen.append((time.monotonic() - began, connections, counts))
        return counts

    least = look(0)
    for connections, seconds in RAMP:
        load = subprocess.Popen(
            [wrk, "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "-s", str(script),
             "--timeout", "10s", f"{demo.url}/v1/predict"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        while load.poll() is None:
            look(connections)
            time.sleep(3)
        output, _ = load.communicate()
        told = [line.strip() for line in output.splitlines() if "Requests/sec" in line]
        print(f"{connections} connections: {', '.join(told)}")
        assert "Non-2xx" not in output, output
    idle = time.monotonic()
    while look(0) != least and time.monotonic() - idle < BACK:
        time.sleep(3)

    names = list(least)
    print("| second | connections | " + " | ".join(names) + " |")
    print("|--:" * (len(names) + 2) + "|")
    before: dict[str, int] = {}
    for second, connections, counts in seen:
        if counts != before:
            print(f"| {second:.0f} | {connections} | "
                  + " | ".join(str(counts[n]) for n in names) + " |")  # fmt: skip
        before = counts
    assert max(counts["Ingress"] for _, _, counts in seen) > least["Ingress"]
    assert seen[-1][2] == least
