"""Every page of the desk as a picture: light, dark and as wide as a phone, in docs/images.

    python tests/browser/screenshots.py [--page URL --graph URL] [--out FOLDER] [--only NAME]

Without addresses a demo of its own is started, and stopped afterwards.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image
from playwright.sync_api import Error, sync_playwright

from fraudray.runtime import free_ports
from serve_app.client import Client
from training.simulate import simulate

ROOT = Path(__file__).parents[2]
LOOKS = {
    "light": ({"width": 1280, "height": 860}, "light"),
    "dark": ({"width": 1280, "height": 860}, "dark"),
    "phone": ({"width": 390, "height": 844}, "light"),
}
COLOURS = 200
"""A page has few colours; a palette makes its picture a quarter as large."""
ROWS = "20000"
"""Payments of a demo of its own."""
TALLEST = 2600
"""Pixels; what lies further down is the same on every visit."""
WAIT = 60_000


@contextmanager
def demo() -> Iterator[tuple[str, str]]:
    """Addresses of the page and the graph of a demo that lives for the block."""
    graph, page, mlflow, dashboard = (str(port) for port in free_ports(4))
    with tempfile.TemporaryDirectory() as home:
        process = subprocess.Popen(
            [sys.executable, "-m", "fraudray", "demo", "--rows", ROWS, "--port", graph,
             "--ui-port", page, "--mlflow-port", mlflow, "--dashboard-port", dashboard],
            env=os.environ | {"FRAUDRAY_HOME": home, "PYTHONUNBUFFERED": "1"}, cwd=home,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        lines: list[str] = []
        assert process.stdout is not None
        threading.Thread(target=lambda: lines.extend(process.stdout), daemon=True).start()
        try:
            while f"curl http://127.0.0.1:{graph}" not in "".join(lines):
                assert process.poll() is None, "".join(lines)
                time.sleep(0.2)
            yield f"http://127.0.0.1:{page}", f"http://127.0.0.1:{graph}"
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(120)


def traffic(graph: str, stop: threading.Event) -> None:
    """Keep the graph a little busy, so that there is something to see."""
    payments = simulate(4_000, seed=17)
    with Client(graph) as client:
        inputs = [f["name"] for f in client.model()["inputs"] if f["name"] in payments]
        table = pa.Table.from_pandas(payments[inputs], preserve_index=False)
        place = 0
        while not stop.is_set():
            with suppress(Exception):
                client.predict_table(table.slice(place % 3_900, 5 + place % 40))
            place += 37
            stop.wait(0.15)


def score(page: Any) -> None:
    page.get_by_role("button", name=re.compile("fraudulent", re.IGNORECASE)).first.click()
    time.sleep(1)
    page.get_by_role("button", name="Score this payment").click()
    page.locator(".fr-result svg").first.wait_for()


def batch(page: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "payments.csv"
        payments = simulate(5_000, seed=23).drop(columns=["label", "fraudPattern"])
        payments.loc[[11, 12, 480], "accountAgeDays"] = -1
        payments.loc[[12, 90], "localTime"] = 31
        payments.to_csv(path, index=False)
        page.locator("input[type=file]").set_input_files(path)
        page.locator(".fr-sortable").wait_for()


def threshold(page: Any) -> None:
    page.locator("svg.fr-chart").first.wait_for()


def model(page: Any) -> None:
    page.locator("svg.fr-chart").nth(3).wait_for()


def experiments(page: Any) -> None:
    page.locator(".fr-table a").first.click()
    page.get_by_role("heading", name="Threshold curve").wait_for()


def live(page: Any) -> None:
    page.locator("svg.fr-chart").nth(3).wait_for()


def about(page: Any) -> None:
    page.get_by_role("heading", name="Where the data came from").wait_for()


PAGES = {
    "score": ("", score), "batch": ("batch", batch), "threshold": ("threshold", threshold),
    "model": ("model", model), "experiments": ("experiments", experiments),
    "live": ("live", live), "about": ("about", about),
}  # fmt: skip


def shoot(browser: Any, address: str, out: Path, names: list[str]) -> None:
    """Take the pictures."""
    for look, (window, theme) in LOOKS.items():
        for name in names:
            path, prepare = PAGES[name]
            context = browser.new_context(viewport=window, color_scheme=theme)
            page = context.new_page()
            page.set_default_timeout(WAIT)
            page.goto(f"{address}/{path}")
            page.locator("h1").wait_for()
            try:
                prepare(page)
            except Error as error:
                print(f"{name}-{look}: {error.message.splitlines()[0]}", file=sys.stderr)
                print(page.locator("body").inner_text()[:2000], file=sys.stderr)
                raise
            time.sleep(1.5)
            taken = page.screenshot(full_page=True, animations="disabled")
            with Image.open(io.BytesIO(taken)) as picture:
                cut = picture.convert("RGB").crop(
                    (0, 0, picture.width, min(picture.height, TALLEST))
                )
                cut.quantize(COLOURS, dither=Image.Dither.NONE).save(
                    out / f"{name}-{look}.png", optimize=True
                )
            print(f"{name}-{look}.png")
            context.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", help="address of a desk that runs")
    parser.add_argument("--graph", help="address of its graph")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--only", choices=PAGES, action="append")
    parser.add_argument("--browser", default="/usr/bin/chromium")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)

    def take(page: str, graph: str) -> None:
        stop = threading.Event()
        busy = threading.Thread(target=traffic, args=(graph, stop))
        busy.start()
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=given.browser, args=["--headless", "--no-sandbox"]
                )
                shoot(browser, page, given.out, given.only or list(PAGES))
                browser.close()
        finally:
            stop.set()
            busy.join()

    if given.page:
        take(given.page, given.graph)
    else:
        with demo() as (page, graph):
            take(page, graph)


if __name__ == "__main__":
    main()
