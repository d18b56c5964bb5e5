"""The README keeps its word: every command in it is run."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

ROOT = Path(__file__).parents[2]
BLOCKS = {
    name: re.findall(r"```sh\n(.*?)```", (ROOT / name).read_text("utf-8"), re.DOTALL)
    for name in ("README.md", "CONTRIBUTING.md")
}
TOUR, SERVE, ASK = (block for block in BLOCKS["README.md"] if "fraudray " in block)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A shell's environment with `fraudray` on its path and no state but its own."""
    shim = tmp_path / "bin" / "fraudray"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fraudray "$@"\n')
    shim.chmod(0o755)
    kept = {
        k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "FRAUDRAY_HOME")
    }
    return kept | {"PATH": f"{shim.parent}:{os.environ['PATH']}"}


@pytest.mark.parametrize("name", BLOCKS)
def test_every_make_target_named_is_there(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    targets = set(re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE))

    assert targets
    for target in targets:
        subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)


def test_every_file_linked_is_there() -> None:
    for page in [*(ROOT / name for name in BLOCKS), *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\((?!http)([^)#]+)", page.read_text("utf-8")):
            assert (page.parent / link).exists(), f"{page} links {link}"


@pytest.mark.slow
def test_the_curl_of_the_readme_gets_an_answer_like_the_one_shown(demo: Any) -> None:
    (block,) = (b for b in BLOCKS["README.md"] if b.startswith("curl"))
    shown = re.search(r"```json\n\{(.*?)\}\n```", (ROOT / "README.md").read_text("utf-8"))

    done = subprocess.run(
        ["sh", "-c", block.replace("http://127.0.0.1:8000", demo.url)], check=True,
        capture_output=True, text=True,
    )  # fmt: skip

    assert shown is not None
    answered, printed = (re.findall(r'"(\w+)":', text) for text in (done.stdout, shown[1]))
    assert answered == printed


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_step_by_step_tour_runs_to_a_scored_file(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    toured = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", TOUR], cwd=tmp_path, env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert toured.returncode == 0, toured.stdout + toured.stderr
    assert "is the champion" in toured.stdout

    with socket.socket() as one, socket.socket() as two, socket.socket() as three:
        for probe in (one, two, three):
            probe.bind(("127.0.0.1", 0))
        port, dashboard, page = (probe.getsockname()[1] for probe in (one, two, three))
    url = f"http://127.0.0.1:{port}"
    (serve,), (predict, ui) = SERVE.splitlines(), ASK.splitlines()
    serving = _start(f"{serve} --port {port} --dashboard-port {dashboard}", tmp_path, environment)
    opened = _start(f"{ui} --port {page} --url {url}", tmp_path, environment)
    try:
        _wait_for(f"{url}/health", serving)
        _wait_for(f"http://127.0.0.1:{page}", opened)
        scored = subprocess.run(
            [*predict.split(), "--url", url], cwd=tmp_path, env=environment, check=True,
            capture_output=True, text=True,
        )  # fmt: skip
        assert len(scored.stdout.splitlines()) == 20_001
    finally:
        below = psutil.Process(serving.pid).children(recursive=True)
        for process in (opened, serving):
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
    assert not [p for p in below if p.is_running() and p.status() != "zombie"]


def _start(command: str, folder: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    with (folder / f"{command.split()[1]}.log").open("wb") as log:
        return subprocess.Popen(
            command.split(), cwd=folder, env=environment, stdout=log, stderr=log
        )


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 240
    while True:
        assert process.poll() is None
        assert time.monotonic() < deadline
        try:
            if httpx.get(url, timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.3)
