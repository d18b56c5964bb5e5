"""The processes around a command: environment, ports, Ray, and leaving none of it behind."""

from __future__ import annotations

import ctypes
import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

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
    # MLflow's workers for generative AI jobs: eight processes of 240 MB that nothing here uses.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}
_SQLITE = "sqlite:///"  # what follows is a path, absolute only with a fourth slash
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


class RuntimeProblem(FraudrayError):
    """This machine, as it is now, cannot run what was asked."""


def prepare() -> None:
    """Set what Ray, MLflow and Gradio read from the environment, unless the user set it.

    No telemetry leaves the machine. The home folder and a SQLite store are named absolutely,
    because Ray's workers run in folders of their own.
    """
    os.environ["FRAUDRAY_HOME"] = str(home())
    store = os.environ.get("MLFLOW_TRACKING_URI", "")
    if store.startswith(_SQLITE):
        path = Path(store.removeprefix(_SQLITE)).absolute()
        os.environ["MLFLOW_TRACKING_URI"] = f"{_SQLITE}{path}"
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


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
    while children := psutil.Process().children(recursive=True):
        late = time.monotonic() > deadline
        for child in children:
            try:
                child.kill() if late else child.terminate()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(children, timeout=1.0)
        if late and time.monotonic() > deadline + patience:
            return  # a process in the kernel's hands; nothing more can be done


def start_ray(*, dashboard_port: int | None = None) -> None:
    """Start a Ray cluster of this machine, on loopback, with its token required.

    Parameters
    ----------
    dashboard_port
        Where the dashboard listens; None starts none, which is quicker.

    Raises
    ------
    RuntimeProblem
        If Ray does not start in two tries.
    """
    if os.environ["RAY_AUTH_MODE"] == "token" and not (
        os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    ):
        os.environ["RAY_AUTH_TOKEN_PATH"] = token_path()
    import ray

    quieten_ray()
    for attempt in (1, 2):
        try:
            ray.init(
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
            return


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


def deploy(
    configuration: dict[str, Any],
    *,
    dashboard: str,
    tell: Callable[[str], None],
    timeout: float = 180.0,
) -> None:
    """Apply a Serve configuration to the running cluster and wait until it answers.

    Parameters
    ----------
    configuration
        As `serve_app.app.configuration` makes it.
    dashboard
        URL of the Ray dashboard, which takes Serve configurations.
    tell
        Called with the state of the deployments whenever it changes.
    timeout
        Seconds to wait.

    Raises
    ------
    RuntimeProblem
        If the CPUs do not suffice, the application fails, or the time is over.
    """
    import ray
    from ray import serve
    from ray.dashboard.modules.serve.sdk import ServeSubmissionClient

    application = configuration["applications"][0]
    wanted = sum(
        d["ray_actor_options"]["num_cpus"] * d["autoscaling_config"]["min_replicas"]
        for d in application["deployments"]
    )
    there = ray.cluster_resources().get("CPU", 0)
    if wanted > there:
        raise RuntimeProblem(f"the graph needs {wanted:g} CPUs, this cluster has {there:g}")
    ServeSubmissionClient(dashboard).deploy_applications(configuration)
    deadline, told = time.monotonic() + timeout, ""
    while time.monotonic() < deadline:
        status = serve.status().applications.get(application["name"])
        if status is not None:
            states = {name: d.status.value for name, d in status.deployments.items()}
            ready = sum(state == "HEALTHY" for state in states.values())
            now = f"{ready} of {len(application['deployments'])} deployments ready"
            if now != told:
                tell(told := now)
            if status.status == "RUNNING":
                return
            if status.status in ("DEPLOY_FAILED", "UNHEALTHY"):
                messages = [*(d.message for d in status.deployments.values()), status.message]
                cause = next((m.strip() for m in messages if m and m.strip()), "no reason given")
                raise RuntimeProblem(f"the graph cannot be deployed: {cause.splitlines()[-1]}")
        time.sleep(0.25)
    raise RuntimeProblem(f"the graph is not ready after {timeout:g} s: {told or 'no status'}")
