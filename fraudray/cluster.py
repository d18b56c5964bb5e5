"""A Ray cluster that is already there: joined from one of its nodes, our code in the luggage."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import socket
import time
from typing import Any

from fraudray.runtime import RuntimeProblem, quieten_ray, stay_on_loopback
from training.errors import UsageError

SHIPPED = ("training", "tuning", "fraudray")
"""The packages that workers import."""
PATIENCE = 12.0
"""Seconds in which something must listen at the address."""
ANSWER = 6.0
"""Seconds that the cluster may take to say who its nodes are."""
_TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")  # the first of them counts
_PAUSE = 0.5  # between two tries
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\[\]:/\s]+):([0-9]{1,5})")


def join(address: str, *, patience: float = PATIENCE) -> None:
    """Connect this process to a running cluster and send our packages along with the job.

    A node needs Ray and the libraries, and neither fraudray nor its files: the packages as they
    are imported here travel through the cluster (about half a megabyte, once for the same code),
    data through the object store. `runtime.stop_ray` leaves the cluster again and ends what the
    job has started there; the cluster itself goes on.

    Parameters
    ----------
    address
        `HOST:PORT` of the head node, or `auto` for `$RAY_ADDRESS`, else the cluster of this
        machine.
    patience
        Seconds to try an address where nothing listens.

    Raises
    ------
    UsageError
        If the address has another form.
    RuntimeProblem
        If nothing answers there, or no Ray cluster; if its token is another one; if this machine is
        none of its nodes, or its Ray or Python is another version.
    """
    import ray

    place = _place(address)
    _reach(place, patience)
    if _is_loopback(_own_node(place)):
        stay_on_loopback()  # where the cluster is, which `runtime.start_ray` has started
    quieten_ray()
    try:
        ray.init(
            address=place,
            runtime_env=luggage(),
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except Exception as error:  # Ray raises its own, OSError, RuntimeError and plain Exception
        ray.shutdown()
        cause = " ".join(str(error).split())[:300]
        raise RuntimeProblem(f"the Ray cluster at {place} cannot be joined: {cause}") from error


def luggage() -> dict[str, Any]:
    """The runtime environment of a job on other machines: our packages as imported here."""
    folders = []
    for name in SHIPPED:
        spec = importlib.util.find_spec(name)
        if spec is None or not spec.submodule_search_locations:
            raise RuntimeProblem(f"the package {name} is no folder here, and cannot be sent")
        folders.append(str(spec.submodule_search_locations[0]))
    return {"py_modules": folders, "excludes": ["__pycache__"]}


def _place(address: str) -> str:
    """The address as `HOST:PORT`. A loopback name stays one, and a cluster of this machine listens.

    Ray would take the machine's own address in its place, where a cluster on loopback is not.
    """
    from ray._private.services import canonicalize_bootstrap_address_or_die

    named = (os.environ.get("RAY_ADDRESS") or address) if address == "auto" else address
    match = _ADDRESS.fullmatch(named)
    if named != "auto" and (match is None or not 0 < int(match[2]) < 2**16):
        client = "; the Ray client (ray://) is not supported" if "://" in named else ""
        raise UsageError(
            f"--address must be HOST:PORT of the head node (most often port 6379) or auto, run "
            f"on a node of the cluster, got {named!r}{client}"
        )
    if match is not None and _is_loopback(match[1].strip("[]")):
        return named
    try:
        return str(canonicalize_bootstrap_address_or_die(named))
    except (OSError, ValueError) as error:  # no or several clusters here; an unknown host
        cause = " ".join(str(error).split())
        raise RuntimeProblem(f"no Ray cluster for --address {address}: {cause}") from error


def _reach(place: str, patience: float) -> None:
    """Check that something listens. Ray's own attempt takes minutes and fills the terminal."""
    host, _, port = place.rpartition(":")
    deadline = time.monotonic() + patience
    while True:
        left = max(deadline - time.monotonic(), _PAUSE)
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=left).close()
        except OSError as error:
            if time.monotonic() + _PAUSE > deadline:
                raise RuntimeProblem(
                    f"nothing answers at {place}, tried for {patience:g} s "
                    f"({error.strerror or error}). Check --address and that the cluster runs"
                ) from error
            time.sleep(_PAUSE)
        else:
            return


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _own_node(place: str) -> str:
    """Check that the cluster knows our token and this machine; under which address it does.

    Ray finds out too, after 20 and 60 seconds, and without saying which of the two it was.
    """
    import grpc  # type: ignore[import-untyped]
    from ray._private.grpc_utils import init_grpc_channel
    from ray._private.services import find_node_ids
    from ray.core.generated.gcs_pb2 import GcsNodeInfo
    from ray.core.generated.gcs_service_pb2 import GetAllNodeInfoRequest
    from ray.core.generated.gcs_service_pb2_grpc import NodeInfoGcsServiceStub
    from ray.exceptions import AuthenticationError

    request = GetAllNodeInfoRequest(state_filter=GcsNodeInfo.ALIVE)
    channel = init_grpc_channel(place)
    try:
        reply = NodeInfoGcsServiceStub(channel).GetAllNodeInfo(request, timeout=ANSWER)
    except AuthenticationError as error:  # no token here, or no such file
        raise _stranger(place, str(error).partition(". ")[0]) from error
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.UNAUTHENTICATED:
            raise _stranger(place, _wrong_token()) from error
        cause = " ".join(str(error.details()).split())[:200]
        raise RuntimeProblem(f"what listens at {place} is no Ray cluster: {cause}") from error
    finally:
        channel.close()
    nodes = {node.node_id.hex(): node.node_manager_address for node in reply.node_info_list}
    own = [str(nodes[name]) for name in find_node_ids() if name in nodes]
    if not own:
        listed = ", ".join(sorted(set(nodes.values()))[:5])
        raise RuntimeProblem(
            f"this machine is no node of the Ray cluster at {place}: run the command on one "
            f"({listed}), or make this machine one by `ray start --address={place}`"
        )
    return own[0]


def _stranger(place: str, why: str) -> RuntimeProblem:
    return RuntimeProblem(
        f"the Ray cluster at {place} asks for its token: {why}. Set RAY_AUTH_TOKEN_PATH to the "
        f"file with the token that the cluster was started with"
    )


def _wrong_token() -> str:
    if os.environ.get("RAY_AUTH_MODE") != "token":
        return "RAY_AUTH_MODE is not token here"
    given = (f"${name}" for name in _TOKENS if os.environ.get(name))
    return f"the one in {next(given, '~/.ray/auth_token')} is another"
