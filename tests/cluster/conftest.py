"""A Ray cluster of several machines in one: nodes with addresses, processes and files of their own.

Every worker node lives in a network, a process and a mount namespace of its own; the head shares
the network and the processes of the tests, so that a driver beside it can join. In all of them the
packages under test, their metadata and the tests are hidden behind empty folders: what a trial
imports there has been shipped.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("training", "tuning", "fraudray", "serve_app", "gradio_ui")
# Hides what is named before `--`, asks for its network, and becomes what is named after it.
_ENTER = """
set -e
while [ "$1" != -- ]; do
    if [ -d "$1" ]; then mount -t tmpfs -o ro none "$1"; else mount --bind /dev/null "$1"; fi
    shift
done
shift
echo ready
read -r _
exec "$@"
"""


@dataclass(frozen=True)
class Node:
    """One machine of the cluster.

    Attributes
    ----------
    address
        Its IP address.
    process
        Whose end is the end of the node.
    """

    name: str
    address: str
    process: subprocess.Popen[str]
    log: Path

    def wait_for(self, word: str, patience: float) -> None:
        """Wait until the node's log has a word."""
        deadline = time.monotonic() + patience
        while word not in self.log.read_text():
            assert self.process.poll() is None, f"{self.name}: {self.log.read_text()}"
            assert time.monotonic() < deadline, f"{self.name}: {self.log.read_text()}"
            time.sleep(0.1)


@dataclass
class Cluster:
    """A head and workers, one CPU each, that ask for a token.

    Attributes
    ----------
    hidden
        Folders and files that no node sees.
    """

    folder: Path
    hidden: list[Path]
    nodes: list[Node] = field(default_factory=list)
    prefix: str = field(default_factory=lambda: f"198.18.{secrets.randbelow(254) + 1}")
    bridge: str = field(default_factory=lambda: f"fr{secrets.token_hex(3)}")
    port: int = 0
    started: int = 0

    @property
    def address(self) -> str:
        """What `--address` takes."""
        return f"{self.prefix}.1:{self.port}"

    @property
    def token_path(self) -> Path:
        """The file with the token."""
        return self.folder / "token"

    @property
    def environment(self) -> dict[str, str]:
        """What a driver needs besides the address."""
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.token_path)}

    @property
    def data(self) -> Path:
        """A folder for the tests' files, which no node sees."""
        return self.folder / "data"

    @property
    def workers(self) -> list[Node]:
        """The nodes that a test may kill."""
        return self.nodes[1:]

    def start(self, workers: int) -> None:
        """Start the head and so many workers at once; wait until every node has joined."""
        self.data.mkdir()
        self.hidden.append(self.data)
        self.token_path.write_text(secrets.token_hex(32))
        self.token_path.chmod(0o600)
        _run("ip", "link", "add", self.bridge, "type", "bridge")
        _run("ip", "address", "add", f"{self.prefix}.1/24", "dev", self.bridge)
        _run("ip", "link", "set", self.bridge, "up")
        with socket.socket() as probe:
            probe.bind((f"{self.prefix}.1", 0))
            self.port = probe.getsockname()[1]
        self._start("--head", f"--port={self.port}", "--include-dashboard=false")
        self.add(workers)

    def add(self, workers: int = 1) -> None:
        """Start further workers; wait until they have joined."""
        for _ in range(workers):
            self._start(f"--address={self.address}")
        for node in self.nodes:
            node.wait_for("Ray runtime started", 90)

    def _start(self, *arguments: str) -> None:
        self.started += 1
        head, address = self.started == 1, f"{self.prefix}.{self.started}"
        name = "head" if head else f"worker{self.started - 1}"
        own = [] if head else ["--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
        command = [
            "unshare", "--mount", *own, "sh", "-c", _ENTER, "sh", *map(str, self.hidden), "--",
            sys.executable, "-m", "ray.scripts.scripts", "start", *arguments, "--block",
            f"--node-ip-address={address}", f"--temp-dir={self.folder / name}", "--num-cpus=1",
            "--object-store-memory=100000000", "--disable-usage-stats",
        ]  # fmt: skip
        log = self.folder / f"{name}.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT,
                env=os.environ | self.environment, cwd=self.folder, text=True,
                start_new_session=True,  # Ctrl-C is for the tests; they end the nodes
            )  # fmt: skip
        node = Node(name, address, process, log)
        self.nodes.append(node)
        node.wait_for("ready", 20)
        if not head:
            self._connect(node)
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.close()

    def _connect(self, node: Node) -> None:
        """Lay a cable from the node's network to the bridge."""
        end = f"{self.bridge}-{self.started}"
        inside = ["nsenter", "--net", f"--target={node.process.pid}", "ip"]
        _run("ip", "link", "add", end, "type", "veth", "peer", "name", "eth0",
             "netns", str(node.process.pid))  # fmt: skip
        _run("ip", "link", "set", end, "master", self.bridge, "up")
        _run(*inside, "link", "set", "lo", "up")
        _run(*inside, "address", "add", f"{node.address}/24", "dev", "eth0")
        _run(*inside, "link", "set", "eth0", "up")

    def kill(self, node: Node) -> None:
        """Pull the plug of a worker: no process of it says goodbye."""
        node.process.kill()  # and the kernel all others with it
        node.process.wait()
        self.nodes.remove(node)

    def stop(self) -> None:
        """End every process and take the network down."""
        for node in self.workers:
            self.kill(node)
        for node in self.nodes:
            processes: list[psutil.Process] = []
            with suppress(psutil.NoSuchProcess):  # it has never come up
                processes = psutil.Process(node.process.pid).children(recursive=True)
            node.process.kill()
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            node.process.wait()
            psutil.wait_procs(processes, timeout=10)
        subprocess.run(["ip", "link", "delete", self.bridge], check=False)


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


def _hidden() -> list[Path]:
    """What of this checkout and its installation no node of the cluster may see."""
    packages = [
        Path(spec.submodule_search_locations[0])
        for spec in map(importlib.util.find_spec, PACKAGES)
        if spec is not None and spec.submodule_search_locations
    ]
    installed = importlib.metadata.distribution("fraudray").files or []
    metadata = {Path(str(file.locate())) for file in installed}
    metadata = {p.parent if p.parent.suffix == ".dist-info" else p for p in metadata}
    metadata = {p for p in metadata if p.suffix in {".dist-info", ".pth"}}
    shared = Path(os.environ.get("FRAUDRAY_SHARED", ROOT.parent / "shared"))
    return [path for path in (*packages, *metadata, ROOT / "tests", shared) if path.exists()]


@pytest.fixture(scope="session")
def cluster(require: Callable[[str], str]) -> Iterator[Cluster]:
    """A running cluster of a head and two workers; it is taken down at the end of the tests."""
    for program in ("ip", "nsenter", "unshare"):
        require(program)
    permitted = subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--fork", "ip", "link", "add", "type", "bridge"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if permitted.returncode:
        reason = f"needs namespaces (root): {permitted.stderr.strip()}"
        if os.environ.get("FRAUDRAY_REQUIRE_ALL") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    # Not pytest's own folder: the path of a socket has 107 characters at most.
    with tempfile.TemporaryDirectory(prefix="fr") as folder:
        made = Cluster(Path(folder), _hidden())
        try:
            made.start(workers=2)
            yield made
        finally:
            made.stop()
