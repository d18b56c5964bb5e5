"""A Ray cluster of several machines in one: nodes with addresses, processes and files of their own.

Every worker node is one of `machines`; the head shares the network and the processes of the tests,
so that a driver beside it can join. In all of them the packages under test, their metadata and the
tests are hidden behind empty folders: what a trial imports there has been shipped.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import secrets
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from machines import Network, Node, require_namespaces

ROOT = Path(__file__).parents[2]
PACKAGES = ("training", "tuning", "fraudray", "serve_app", "gradio_ui")


@dataclass
class Cluster:
    """A head and workers, one CPU each, that ask for a token.

    Attributes
    ----------
    hidden
        Folders and files that no node sees.
    """

    network: Network
    hidden: dict[Path, None]
    port: int = 0
    started: int = 0

    @property
    def address(self) -> str:
        """What `--address` takes."""
        return f"{self.network.address}:{self.port}"

    @property
    def token_path(self) -> Path:
        """The file with the token."""
        return self.network.folder / "token"

    @property
    def environment(self) -> dict[str, str]:
        """What a driver needs besides the address."""
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.token_path)}

    @property
    def data(self) -> Path:
        """A folder for the tests' files, which no node sees."""
        return self.network.folder / "data"

    @property
    def nodes(self) -> list[Node]:
        """The head, and all workers that live."""
        return self.network.nodes

    @property
    def workers(self) -> list[Node]:
        """The nodes that a test may kill."""
        return self.nodes[1:]

    def start(self, workers: int) -> None:
        """Start the head, then so many workers at once; wait until every node has joined."""
        self.data.mkdir()
        self.hidden[self.data] = None
        self.token_path.write_text(secrets.token_hex(32))
        self.token_path.chmod(0o600)
        self.network.start()
        with socket.socket() as probe:
            probe.bind((self.network.address, 0))
            self.port = probe.getsockname()[1]
        self._start("--head", f"--port={self.port}", "--include-dashboard=false")
        # Ray gives a node 30 seconds to come up; three at once take a busy machine longer.
        self.nodes[0].wait_for("Ray runtime started", 90)
        self.add(workers)

    def add(self, workers: int = 1) -> None:
        """Start further workers; wait until they have joined."""
        for _ in range(workers):
            self._start(f"--address={self.address}")
        for node in self.nodes:
            node.wait_for("Ray runtime started", 90)

    def _start(self, *arguments: str) -> None:
        self.started += 1
        head, address = self.started == 1, f"{self.network.prefix}.{self.started}"
        name = "head" if head else f"worker{self.started - 1}"
        command = [
            sys.executable, "-m", "ray.scripts.scripts", "start", *arguments, "--block",
            f"--node-ip-address={address}", f"--temp-dir={self.network.folder / name}",
            "--num-cpus=1", "--object-store-memory=100000000", "--disable-usage-stats",
        ]  # fmt: skip
        self.network.node(
            name, self.started, command, self.environment, self.hidden, apart=not head
        )

    def kill(self, node: Node) -> None:
        """Pull the plug of a worker."""
        self.network.kill(node)


def _hidden() -> dict[Path, None]:
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
    paths = (*packages, *metadata, ROOT / "tests", shared)
    return dict.fromkeys(path for path in paths if path.exists())


# Three nodes would take their share of the machine from all tests that follow.
@pytest.fixture(scope="module")
def cluster(require: Callable[[str], str]) -> Iterator[Cluster]:
    """A running cluster of a head and two workers; it is taken down at the end of a module."""
    require_namespaces(require)
    # Not pytest's own folder: the path of a socket has 107 characters at most.
    with tempfile.TemporaryDirectory(prefix="fr") as folder:
        made = Cluster(Network(Path(folder)), _hidden())
        try:
            made.start(workers=2)
            yield made
        finally:
            made.network.stop()
