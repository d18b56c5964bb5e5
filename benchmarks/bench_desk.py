"""How quick the fraud desk is beside a graph that runs: first view, a score, its memory.

Wants a graph, such as that of `make demo`, and the `$FRAUDRAY_HOME` that it has. Starts a page of
its own, opens it in Chromium, and writes its table into docs/results/desk.md.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
from page import ROOT, met, origin, table, with_block
from playwright.sync_api import sync_playwright

from fraudray.runtime import free_ports

PAGE: Final = ROOT / "docs" / "results" / "desk.md"
PACKAGES: Final = ("gradio", "playwright", "mlflow", "xgboost")
VIEWS, SCORES = 5, 15
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
BUTTON = "Score this payment"


def main() -> None:
    """Measure, print the table and write it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="where the graph listens")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write into")
    given = parser.parse_args()
    block = f"{origin('make bench-desk', PACKAGES)}\n\n{_measured(given.url)}"
    print(block)
    given.page.write_text(with_block(given.page.read_text("utf-8"), "desk", block), "utf-8")


def _measured(url: str) -> str:
    """The table."""
    (port,) = free_ports(1)
    page_url, began = f"http://127.0.0.1:{port}", time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "fraudray", "ui", "--port", str(port), "--url", url],
        stderr=subprocess.DEVNULL,
    )
    try:
        while not _answers(page_url):
            time.sleep(0.02)
        up = time.perf_counter() - began
        with sync_playwright() as playwright:
            found = shutil.which("chromium")
            browser = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
            views = [_first_view(browser, page_url) for _ in range(VIEWS)]
            beyond = _scores(browser, page_url)
            scoring = _megabytes(process)
            page = _open(browser, f"{page_url}/threshold")
            page.get_by_role("slider").first.wait_for(timeout=60_000)
            opened = _megabytes(process)
            browser.close()
    finally:
        process.terminate()
        process.wait()
    each = ", ".join(f"{seconds:.2f}" for seconds in views)
    middle, longest = statistics.median(beyond), max(beyond)
    rows = [
        ["the process is up after, s", f"{up:.1f}", ""],
        ["first view usable, a new browser profile each, s", each, met(max(views) < 2, "under 2")],
        ["a score beyond the graph's own answer, median and longest, ms",
         f"{middle:.0f}, {longest:.0f}", met(longest < 300, "under 300")],
        ["the process after scoring, MB", f"{scoring:.0f}", ""],
        ["with MLflow and a model opened, MB", f"{opened:.0f}", met(opened < 600, "under 600")],
    ]  # fmt: skip
    return table(["what", "measured", "aim"], rows)


def _megabytes(process: subprocess.Popen[bytes]) -> float:
    return float(psutil.Process(process.pid).memory_info().rss) / 1e6


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
