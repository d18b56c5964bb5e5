"""Several machines in one: nodes with a network, processes and a view of the files of their own."""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from surroundings import bare

# Lays over each path before `--` what is given for it (an empty folder or file where nothing is),
# asks for its network, and becomes what is named after it.
_ENTER = """
set -e
while [ "$1" != -- ]; do
    over=${1%%=*} path=${1#*=}
    if [ -n "$over" ]; then mount --bind "$over" "$path"
    elif [ -d "$path" ]; then mount -t tmpfs -o ro none "$path"
    else mount --bind /dev/null "$path"; fi
    shift
done
shift
echo ready
read -r _
exec "$@"
"""


@dataclass(frozen=True)
class Node:
    """One machine.

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

    def inside(self, *spaces: str) -> list[str]:
        """What a command begins with that runs in its `net`, its `mount` or both."""
        return ["nsenter", f"--target={self.process.pid}", *(f"--{space}" for space in spaces)]

    def kill(self) -> None:
        """Pull the plug: no process of it says goodbye."""
        processes: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):  # it has never come up
            processes = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()  # and the kernel all others with it, if they are its own
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()
        psutil.wait_procs(processes, timeout=10)


@dataclass
class Network:
    """A switch of this machine, which has the first address, and the nodes that hang on it.

    Attributes
    ----------
    folder
        Where nodes run and log.
    """

    folder: Path
    nodes: list[Node] = field(default_factory=list)
    prefix: str = field(default_factory=lambda: f"198.18.{secrets.randbelow(254) + 1}")
    bridge: str = field(default_factory=lambda: f"fr{secrets.token_hex(3)}")

    @property
    def address(self) -> str:
        """That of this machine, as nodes see it."""
        return f"{self.prefix}.1"

    def start(self) -> None:
        """Have the switch."""
        _run("ip", "link", "add", self.bridge, "type", "bridge")
        _run("ip", "address", "add", f"{self.address}/24", "dev", self.bridge)
        _run("ip", "link", "set", self.bridge, "up")

    def node(
        self, name: str, number: int, command: list[str], environment: Mapping[str, str],
        covered: Mapping[Path, Path | None], *, apart: bool = True,
    ) -> Node:  # fmt: skip
        """Start a node with an address that ends in a number.

        Parameters
        ----------
        covered
            Paths that it does not see as they are: what it sees there, nothing where that is None.
        apart
            Whether its network and its processes are its own.
        """
        own = ["--net", "--pid", "--fork", "--kill-child", "--mount-proc"] if apart else []
        laid = [f"{over or ''}={path}" for path, over in covered.items()]
        log = self.folder / f"{name}.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                ["unshare", "--mount", *own, "sh", "-c", _ENTER, "sh", *laid, "--", *command],
                stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT,
                env=bare(**environment), cwd=self.folder, text=True,
                start_new_session=True,  # Ctrl-C is for the tests; they end the nodes
            )  # fmt: skip
        node = Node(name, f"{self.prefix}.{number}", process, log)
        self.nodes.append(node)
        node.wait_for("ready", 20)
        if apart:
            self._connect(node)
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.close()
        return node

    def _connect(self, node: Node) -> None:
        """Lay a cable from the node's network to the switch."""
        end = self._cable(node)
        inside = [*node.inside("net"), "ip"]
        # What a node that was killed leaves of its cable the kernel takes away a moment later.
        subprocess.run(["ip", "link", "delete", end], capture_output=True, check=False)
        _run("ip", "link", "add", end, "type", "veth", "peer", "name", "eth0",
             "netns", str(node.process.pid))  # fmt: skip
        _run("ip", "link", "set", end, "master", self.bridge, "up")
        _run(*inside, "link", "set", "lo", "up")
        _run(*inside, "address", "add", f"{node.address}/24", "dev", "eth0")
        _run(*inside, "link", "set", "eth0", "up")

    def kill(self, node: Node, *, silently: bool = False) -> None:
        """Pull the plug of a node, and forget it; silently, if nobody is told that it is gone."""
        if silently:
            _run("ip", "link", "set", self._cable(node), "down")
        node.kill()
        self.nodes.remove(node)

    def _cable(self, node: Node) -> str:
        return f"{self.bridge}-{node.address.rpartition('.')[2]}"

    def stop(self) -> None:
        """End every process and take the network down."""
        for node in reversed(self.nodes):
            node.kill()
        subprocess.run(["ip", "link", "delete", self.bridge], check=False)


def require_namespaces(require: Callable[[str], str]) -> None:
    """Skip the test where nodes cannot be made, or fail it where all must run."""
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


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
