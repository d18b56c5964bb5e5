"""What a node of the graph does before it is taken away, so that no payment is lost with it.

Kubernetes runs this in a pod that is to end (`preStop` in kuberay/rayservice.yaml): Ray is told
that the node leaves, Serve starts its replicas elsewhere before it stops those here, and HAProxy
here says that it takes no more callers. Only then may the pod end.
"""

from __future__ import annotations

import os
import socket
import sys
import time

PATIENCE = 120
"""Seconds until it is left to its fate; less than the pod's `terminationGracePeriodSeconds`."""
_PAUSE = 1.0


def leave(address: str, port: int, patience: float = PATIENCE) -> bool:
    """Have everything moved away from this node, and wait for it.

    Parameters
    ----------
    address
        `HOST:PORT` of the cluster's GCS.
    port
        Where the proxy of this node listens; it stops once it is drained.
    patience
        Seconds that it may take.

    Returns
    -------
    bool
        Whether the proxy has stopped in time.
    """
    from ray._raylet import GcsClient  # type: ignore[attr-defined]
    from ray.core.generated.autoscaler_pb2 import DrainNodeReason
    from ray.core.generated.gcs_pb2 import GcsNodeInfo

    host, _, gcs_port = address.rpartition(":")
    address = f"{socket.gethostbyname(host)}:{gcs_port}"
    deadline = time.time() + patience
    gcs = GcsClient(address=address)
    mine = _own_address(address)
    for node, info in gcs.get_all_node_info(timeout=_PAUSE * 10).items():
        if info.state == GcsNodeInfo.ALIVE and info.node_manager_address == mine:
            gcs.drain_node(
                node.hex(),
                DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION"),
                "its pod is to end",
                int(deadline * 1000),
            )
    while _listens(port):
        if time.time() > deadline:
            return False
        time.sleep(_PAUSE)
    return True


def _own_address(gcs: str) -> str:
    """The address of this node in the network of the cluster."""
    host, _, port = gcs.rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, int(port)))  # asks for the way; nothing is sent
        return str(probe.getsockname()[0])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    sys.exit(0 if leave(os.environ["RAY_ADDRESS"], 8000) else 1)
