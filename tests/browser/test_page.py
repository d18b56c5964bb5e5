"""The page as a person meets it, in a real browser, against a running graph."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from gradio_ui.score import EXAMPLES

pytestmark = pytest.mark.slow

WAIT = 30_000
"""Milliseconds that a page may take on a busy machine."""


@dataclass
class Visit:
    """One page in the browser, with what it asked for and what it complained about."""

    page: Any
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def open(self, url: str) -> None:
        self.page.set_default_timeout(WAIT)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.goto(url)

    def choose(self, example: str) -> None:
        self.page.get_by_role("button", name=example).click()
        amount = f"{EXAMPLES[example]['amount']:g}"
        self.page.wait_for_function(
            "wanted => document.querySelector('[aria-label^=amount]')?.value === wanted", arg=amount
        )

    def score(self, role: str) -> Any:
        """Press the button; the card that appears, of the given role."""
        self.page.get_by_role("button", name="Score this payment").click()
        card = self.page.locator(f".fr-result [role={role}]")
        card.wait_for()
        return card

    def curl(self) -> str:
        return "\n".join(self.page.locator(".cm-line").all_inner_texts())


@pytest.fixture
def visit(browser: Any, demo: Any) -> Iterator[Visit]:
    """The demo's page, freshly opened."""
    context = browser.new_context()
    visit = Visit(context.new_page())
    visit.open(demo.page_url)
    visit.page.get_by_role("button", name="Score this payment").wait_for()
    yield visit
    context.close()


def test_the_header_names_the_model_in_service(visit: Visit, demo: Any) -> None:
    about = httpx.get(f"{demo.url}/model").json()
    said = visit.page.locator("header.fr-head").inner_text()
    assert visit.page.title() == "fraudray"
    assert f"{about['name']} version {about['version']} ({about['family']}) is in service" in said
    assert about["policy"] in said
    test = about["metrics"]["test"]
    assert f"found {test['true_positives']:,} of {test['frauds']:,} frauds" in said


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_page_says_what_the_service_says(visit: Visit, demo: Any, example: str) -> None:
    visit.choose(example)
    card = visit.score("status")
    answer = httpx.post(f"{demo.url}/predict", json=EXAMPLES[example]).json()
    shown = float(card.locator("data").get_attribute("value"))
    assert shown == pytest.approx(answer["probability"], abs=1e-12)
    words = "Alert: looks fraudulent" if answer["decision"] else "Let through"
    assert words in card.inner_text()
    assert f"version {answer['model_version']}\n" in card.inner_text()
    told = card.get_by_role("img").get_attribute("aria-label")
    assert ("reaches" if answer["decision"] else "is below") in told


def test_the_curl_command_gives_the_same_probability(visit: Visit) -> None:
    visit.choose("Suspicious payment")
    shown = float(visit.score("status").locator("data").get_attribute("value"))
    visit.page.locator(".cm-line").first.wait_for()
    done = subprocess.run(
        ["sh", "-c", visit.curl()], capture_output=True, text=True, check=True, timeout=30
    )
    assert json.loads(done.stdout)["probability"] == pytest.approx(shown, abs=1e-12)


def test_every_problem_is_told_with_its_field(visit: Visit) -> None:
    visit.page.get_by_label("accountAgeDays").fill("")
    visit.page.get_by_label("localTime").fill("30")
    visit.page.get_by_label("amount").fill("-5")
    card = visit.score("alert")
    problems = card.locator("li").all_inner_texts()
    assert len(problems) == 3
    assert problems[0].startswith("accountAgeDays must be a whole number of 0 or more")
    assert problems[0].endswith("it is empty")
    assert problems[1] == "localTime must be a number from 0 to 24; it is 30"
    assert problems[2] == "amount must be a number of 0 or more; it is -5"
    assert "Traceback" not in visit.page.content()


def test_what_is_left_empty_is_not_sent_and_any_text_stays_text(visit: Visit, demo: Any) -> None:
    text = "${alert(1)}<img src=x onerror=alert(1)> it's"
    visit.page.get_by_label("paymentMethod", exact=True).fill(text)
    visit.page.get_by_label("amount").fill("")
    visit.page.get_by_label("Unknown").click()
    shown = float(visit.score("status").locator("data").get_attribute("value"))
    about = httpx.get(f"{demo.url}/model").json()
    payment = {f["name"]: f["example"] for f in about["inputs"]} | {"paymentMethod": text}
    del payment["amount"], payment["isWeekend"]
    answer = httpx.post(f"{demo.url}/predict", json=payment).json()
    assert shown == pytest.approx(answer["probability"], abs=1e-12)
    assert visit.errors == []


def test_nothing_leaves_the_machine_and_nothing_breaks(visit: Visit) -> None:
    visit.choose("Everyday payment")
    visit.score("status")
    visit.page.locator(".cm-line").first.wait_for()  # the last part to be fetched
    outside = [r for r in visit.requests if not re.match(r"http://127\.0\.0\.1:|data:|blob:", r)]
    assert visit.requests
    assert outside == []
    assert visit.errors == []


@pytest.mark.parametrize("width", [390, 1360])
def test_the_page_fits_its_window(visit: Visit, width: int) -> None:
    visit.page.set_viewport_size({"width": width, "height": 900})
    visit.choose("Suspicious payment")
    card = visit.score("status")
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    button = visit.page.get_by_role("button", name="Score this payment").bounding_box()
    below = card.bounding_box()["y"] >= button["y"] + button["height"]
    assert below == (width == 390)


def test_gradio_offers_no_endpoints_of_its_own(demo: Any) -> None:
    assert httpx.get(f"{demo.page_url}/gradio_api/info").json()["named_endpoints"] == {}
    assert httpx.get(f"{demo.page_url}/openapi.json").status_code == 404


def test_a_page_without_its_graph_says_what_to_do(browser: Any, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "fraudray", "ui", "--port", str(port), "--url", "http://127.0.0.1:9"],
        env=os.environ | {"FRAUDRAY_HOME": str(tmp_path)}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    context = browser.new_context()
    try:
        _answers(f"http://127.0.0.1:{port}", process)
        visit = Visit(context.new_page())
        visit.open(f"http://127.0.0.1:{port}")
        said = visit.page.get_by_role("alert")
        said.wait_for()
        assert "No answer from http://127.0.0.1:9" in said.inner_text()
        assert "fraudray serve" in said.inner_text()
        visit.page.get_by_role("button", name="Try again").wait_for()
        assert "Traceback" not in visit.page.content()
        assert visit.errors == []
    finally:
        context.close()
        process.terminate()
        _, complaints = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in complaints


def _answers(url: str, process: subprocess.Popen[str], patience: float = 90) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            httpx.get(url)
        except httpx.TransportError:
            assert process.poll() is None, "the page ended before it was up"
            assert time.monotonic() < deadline, "the page is not up"
            time.sleep(0.2)
        else:
            return
