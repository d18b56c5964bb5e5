"""How quick the page is beside a graph that runs: first view, a score, its memory.

    python benchmarks/desk_speed.py --url http://127.0.0.1:8000

Starts a page of its own, opens it in Chromium, and prints what it measured.
"""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from typing import Any

import click
import httpx
import psutil
from playwright.sync_api import sync_playwright

VIEWS, SCORES = 5, 15
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
BUTTON = "Score this payment"


@click.command()
@click.option("--url", default="http://127.0.0.1:8000", help="Where the graph listens.")
@click.option("--chromium", default="chromium", help="The browser.")
def main(url: str, chromium: str) -> None:
    """Measure, and print a line for each number."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    page_url, began = f"http://127.0.0.1:{port}", time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "fraudray", "ui", "--port", str(port), "--url", url],
        env=os.environ, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while not _answers(page_url):
            time.sleep(0.02)
        click.echo(f"up after {time.perf_counter() - began:.2f} s")
        with sync_playwright() as playwright:
            found = shutil.which(chromium)
            browser = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
            views = [_first_view(browser, page_url) for _ in range(VIEWS)]
            told = ", ".join(f"{seconds:.2f}" for seconds in views)
            click.echo(f"first view usable after {told} s (a new browser profile each)")
            beyond = _scores(browser, page_url)
            click.echo(
                f"a score beyond the endpoint's answer: median {statistics.median(beyond):.0f} ms, "
                f"most {max(beyond):.0f} ms of {len(beyond)}"
            )
            rss = psutil.Process(process.pid).memory_info().rss / 1e6
            click.echo(f"process {rss:.0f} MB after scoring")
            _open(browser, f"{page_url}/threshold").get_by_role("slider").wait_for(timeout=60_000)
            rss = psutil.Process(process.pid).memory_info().rss / 1e6
            click.echo(f"process {rss:.0f} MB with MLflow and a model opened")
            browser.close()
    finally:
        process.terminate()
        process.wait()


def _answers(url: str) -> bool:
    try:
        httpx.get(url, timeout=2)
    except httpx.HTTPError:
        return False
    return True


def _open(browser: Any, url: str) -> Any:
    page = browser.new_context().new_page()
    page.goto(url, wait_until="commit")
    return page


def _first_view(browser: Any, url: str) -> float:
    began = time.perf_counter()
    page = _open(browser, url)
    page.get_by_role("button", name=BUTTON).wait_for()
    seconds = time.perf_counter() - began
    page.context.close()
    return seconds


def _scores(browser: Any, url: str) -> list[float]:
    """Milliseconds from the click to the card, less those that the graph took to answer."""
    page = _open(browser, url)
    page.get_by_role("button", name=BUTTON).wait_for()
    beyond = []
    for number in range(SCORES):
        page.locator(".fr-fields").get_by_label("amount").fill(str(10 + number))
        card = page.locator(".fr-result dd", has_text="measured from this page")
        before = page.locator(".fr-result code").first.inner_text() if card.count() else ""
        # The clock of the browser: asking it from here costs a way there and back.
        page.evaluate(
            """([before, button]) => {
              window.took = null;
              const started = performance.now();
              const seen = new MutationObserver(() => {
                const id = document.querySelector(".fr-result dd code")?.innerText;
                if (id && id !== before) {
                  window.took = performance.now() - started;
                  seen.disconnect();
                }
              });
              seen.observe(document.body, {childList: true, subtree: true, characterData: true});
              [...document.querySelectorAll("button")].find(b => b.innerText === button).click();
            }""",
            [before, BUTTON],
        )
        page.wait_for_function("window.took !== null")
        took = float(page.evaluate("window.took"))
        beyond.append(took - float(card.inner_text().split()[0]))
    return beyond[1:]  # the first explanation of a model takes longer, at the graph


if __name__ == "__main__":
    main()
