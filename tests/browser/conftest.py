"""A browser for the tests of the page, what a visit in it saw, and pages of a test's own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, sync_playwright
from surroundings import bare

ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
WAIT = 90_000
"""Milliseconds that a page may take on a busy machine."""


@dataclass
class Visit:
    """One page in the browser, with what it asked for and what it complained about."""

    page: Any
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def open(self, url: str, wait_until: str = "load") -> None:
        self.page.set_default_timeout(WAIT)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.goto(url, wait_until=wait_until)

    def assert_nothing_left_and_nothing_broke(self) -> None:
        outside = [
            r
            for r in self.requests
            if not re.match(r"http://(127\.0\.0\.1|localhost):|data:|blob:", r)
        ]
        assert self.requests
        assert outside == []
        assert self.errors == []
        assert "Traceback" not in self.page.content()

    def assert_accessible(self) -> None:
        """Nothing that axe-core finds against WCAG 2.1, levels A and AA."""
        script = files("axe_playwright_python") / "axe.min.js"
        self.page.evaluate(script.read_text("utf-8"))
        tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
        options = {"runOnly": {"type": "tag", "values": tags}}
        result = self.page.evaluate("options => axe.run(document, options)", options)
        violations = {
            v["id"]: [node["html"][:300] for node in v["nodes"]] for v in result["violations"]
        }
        assert violations == {}, json.dumps(violations, indent=1)


# Playwright's event loop counts as running until it is closed, so it must end with these tests.
@pytest.fixture(scope="module")
def browser(require: Callable[[str], str]) -> Iterator[Browser]:
    """The machine's own Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=require("chromium"), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def opened(
    browser: Any,
    request: pytest.FixtureRequest,
    alone: Any,  # noqa: ARG001  # so that tabs are closed before the page that they show
) -> Iterator[Callable[..., Visit]]:
    """Open a page of the demo, or an address, in a context of its own; see `new_context`."""
    contexts = []

    def open_(path: str = "", wait_until: str = "load", **how: Any) -> Visit:
        context = browser.new_context(**how)
        contexts.append(context)
        visit = Visit(context.new_page())
        if not path.startswith("http"):
            path = f"{request.getfixturevalue('demo').page_url}/{path}"
        visit.open(path, wait_until)
        return visit

    yield open_
    for context in contexts:
        context.close()


@pytest.fixture
def alone(tmp_path: Path, free_ports: Callable[[int], list[int]]) -> Iterator[Any]:
    """Start a page of its own; `fraudray ui` with further arguments."""
    started = []

    def start(*arguments: str, **environment: str) -> tuple[str, subprocess.Popen[str]]:
        (port,) = free_ports(1)
        process = subprocess.Popen(
            [sys.executable, "-m", "fraudray", "ui", "--port", str(port), *arguments],
            env=bare(FRAUDRAY_HOME=tmp_path) | environment,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        url = f"http://127.0.0.1:{port}"
        _up(url, process)
        return url, process

    yield start
    for process in started:
        process.terminate()
        _, complaints = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "Traceback" not in complaints


def _up(url: str, process: subprocess.Popen[str], patience: float = 90) -> None:
    """Wait until a page is up."""
    deadline = time.monotonic() + patience
    while True:
        try:
            httpx.get(url)
        except httpx.TransportError:
            assert process.poll() is None, "the page ended before it was up"
            assert time.monotonic() < deadline, "the page is not up"
            time.sleep(0.1)
        else:
            return
