"""Commands as a person types them, in a folder and a state of their own."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
from surroundings import alive

Start = Callable[[str, str], None]


@pytest.fixture
def start(tmp_path: Path, environment: dict[str, str]) -> Iterator[Start]:
    """Start a command and wait until a URL answers; Ctrl-C ends it and all that it started."""
    started: list[subprocess.Popen[bytes]] = []

    def run(command: str, url: str) -> None:
        with (tmp_path / f"{len(started)}.log").open("wb") as log:
            process = subprocess.Popen(
                command.split(), cwd=tmp_path, env=environment, stdout=log, stderr=log
            )
        started.append(process)
        deadline = time.monotonic() + 240
        while True:
            assert process.poll() is None, Path(log.name).read_text("utf-8")
            assert time.monotonic() < deadline, Path(log.name).read_text("utf-8")
            try:
                if httpx.get(url, timeout=5).status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(0.3)

    yield run
    for process in reversed(started):
        if process.poll() is not None:
            continue  # it has failed the test already
        below = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        code = process.wait(60)
        if "mlflow" in process.args:  # it leaves its server behind
            for child in below:
                with suppress(psutil.NoSuchProcess):
                    child.terminate()
            continue
        assert code in (0, 130)  # 130: it answered already but was not quite done starting
        assert not alive(below)
