"""A node that is to be taken away tells Ray, and waits until its proxy has nothing in hand."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest
from surroundings import bare

pytestmark = pytest.mark.slow
LEAVE = (
    "import sys; from fraudray.leaving import leave;"
    "sys.exit(0 if leave(sys.argv[1], 8000, patience=float(sys.argv[2])) else 1)"
)
STATES = (
    "import sys; from ray._raylet import GcsClient; gcs = GcsClient(address=sys.argv[1]);"
    "nodes = gcs.get_all_node_info(timeout=10); leaving = gcs.get_draining_nodes(timeout=10);"
    "print(*(i.node_manager_address for n, i in nodes.items()"
    " if i.state == 0 and n.hex() not in leaving))"
)


def test_a_node_leaves_when_its_proxy_has_stopped(cluster: Any) -> None:
    cluster.add()
    node = cluster.workers[-1]
    environment = bare(**cluster.environment)

    def run(script: str, *arguments: str, inside: bool = True) -> subprocess.Popen[str]:
        within = node.inside("net") if inside else []
        return subprocess.Popen(
            [*within, sys.executable, "-c", script, *arguments],
            env=environment, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def staying() -> set[str]:
        """Addresses of the nodes that may get work."""
        return set(run(STATES, cluster.address, inside=False).communicate(timeout=60)[0].split())

    others = {n.address for n in cluster.nodes} - {node.address}
    assert staying() == others | {node.address}
    # Something listens where a proxy would, inside the node's network.
    proxy = run(
        "import socket, time; s = socket.create_server(('127.0.0.1', 8000));"
        "print('there', flush=True); time.sleep(600)"
    )
    try:
        assert proxy.stdout is not None
        assert proxy.stdout.readline() == "there\n"
        started = time.monotonic()
        assert run(LEAVE, cluster.address, "3").wait(60) == 1  # given up after three seconds
        assert time.monotonic() - started >= 3
        assert staying() == others
    finally:
        proxy.kill()
        proxy.wait()
    assert run(LEAVE, cluster.address, "30").wait(60) == 0  # the proxy has stopped
    cluster.kill(node)
