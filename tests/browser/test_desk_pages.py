"""Batch, Model, Experiments, Live and About in a real browser, against a real graph and MLflow.

What a click does is looked up at the graph or in MLflow, and not on the page alone.
"""

from __future__ import annotations

import csv
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pytest
from mlflow.tracking import MlflowClient

from serve_app.client import Client
from training.simulate import simulate
from training.spec import DatasetSpec
from training.tracking import SWEEPS, Tracking

pytestmark = pytest.mark.slow

Look = Callable[..., Any]


def card(visit: Any, title: str | re.Pattern[str], timeout: float | None = None) -> Any:
    """The card with this heading; it has the time that a page has, or so many milliseconds."""
    heading = visit.page.get_by_role("heading", name=title)
    found = visit.page.locator("section.fr-card").filter(has=heading).first
    found.wait_for(timeout=timeout)
    return found


def pick(visit: Any, label: str, option: str | re.Pattern[str]) -> None:
    """Choose from a list."""
    visit.page.get_by_label(label, exact=True).click()
    visit.page.get_by_role("option", name=option).first.click()


@pytest.fixture
def look(opened: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """Open a page; at the end, that nothing left the machine and nothing broke."""
    visits = []

    def open_(path: str, **how: Any) -> Any:
        visits.append(opened(path, **how))
        visits[-1].page.get_by_role("heading", level=1).first.wait_for()
        return visits[-1]

    yield open_
    for visit in visits:
        visit.assert_nothing_left_and_nothing_broke()


@pytest.fixture
def client(demo: Any) -> Iterator[Client]:
    with Client(demo.url) as client:
        yield client


@pytest.fixture
def mlflow(demo: Any) -> MlflowClient:
    # Its registry too: otherwise it asks the one that a command last used in this process.
    return MlflowClient(demo.mlflow_url, demo.mlflow_url)


@pytest.fixture(scope="module")
def payments() -> pd.DataFrame:
    """Payments that the demo's model was not made from."""
    return simulate(2_000, seed=191).drop(columns=["label", "fraudPattern"])


def drop(visit: Any, path: Path) -> None:
    visit.page.locator("input[type=file]").set_input_files(path)


def download(visit: Any, name: str) -> list[dict[str, str]]:
    """What a button gives."""
    with visit.page.expect_download() as waiting:
        visit.page.get_by_role("button", name=name).click()
    with Path(waiting.value.path()).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def decided(client: Client) -> int:
    """Payments that the graph has decided on."""
    versions = client.stats()["decisions"].values()
    return sum(rows for roles in versions for found in roles.values() for rows in found.values())


def leftovers(name: str) -> list[Path]:
    """Files that an upload of this name has left on the machine."""
    root = Path(os.environ.get("GRADIO_TEMP_DIR") or Path(tempfile.gettempdir()) / "gradio")
    return list(root.rglob(name))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_dropped_file_comes_back_scored_with_its_bad_rows_apart(
    look: Look, client: Client, payments: pd.DataFrame, tmp_path: Path, kind: str
) -> None:
    broken = payments.assign(note="=1+1")
    broken.loc[7, "accountAgeDays"] = -3
    path = tmp_path / f"dropped-{kind}-{os.getpid()}.{kind}"
    broken.to_csv(path, index=False) if kind == "csv" else broken.to_parquet(path, index=False)
    good = broken.drop(index=7)
    inputs = list(DatasetSpec.load("payments").inputs)
    answer = client.predict_table(pa.Table.from_pandas(good[inputs], preserve_index=False))
    before = decided(client)

    visit = look("batch")
    drop(visit, path)
    totals = card(visit, "1,999 payments scored").inner_text()
    assert "Rows rejected" in totals
    scored = download(visit, "Download the scored rows")
    rejected = download(visit, "Download the rejected rows")

    expected = answer["probability"].to_numpy()
    np.testing.assert_allclose([float(r["probability"]) for r in scored], expected, atol=1e-12)
    assert {r["note"] for r in [*scored, *rejected]} == {"'=1+1"}
    assert [r["line"] for r in rejected] == ["9"]
    assert "accountAgeDays" in rejected[0]["problem"]
    assert decided(client) - before == 1_999
    alerts = int(answer["decision"].to_numpy().sum())
    assert re.search(rf"Alerts\s+{alerts:,}\b", totals)
    assert "a whole number of 0 or more" in card(visit, "Rejected rows").inner_text()
    assert leftovers(path.name) == []


def test_the_table_of_scored_rows_is_sorted_by_the_keyboard(
    look: Look, payments: pd.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "sorted.csv"
    payments.head(300).to_csv(path, index=False)
    visit = look("batch")
    drop(visit, path)
    card(visit, "300 payments scored")
    table = visit.page.locator(".fr-sortable")

    def shown(place: int) -> list[float]:
        cells = table.locator(f"tbody td:nth-child({place})")
        return [float(v) for v in cells.evaluate_all("all => all.map(c => c.dataset.value)")]

    assert shown(2) == sorted(shown(2), reverse=True)
    lines = table.get_by_role("button", name="Line")
    lines.focus()
    visit.page.keyboard.press("Enter")
    assert shown(1) == list(range(301, 1, -1))
    visit.page.keyboard.press("Enter")
    assert shown(1) == list(range(2, 302))
    head = table.get_by_role("columnheader", name="Line")
    assert head.get_attribute("aria-sort") == "ascending"


def test_a_hundred_thousand_rows_are_scored_in_bounded_memory(
    look: Look, demo: Any, tmp_path: Path
) -> None:
    path = tmp_path / "large.csv"
    simulate(100_000, seed=5).to_csv(path, index=False)

    visit = look("batch")
    drop(visit, path)
    visit.page.get_by_role("progressbar").wait_for()
    card(visit, "100,000 payments scored", timeout=240_000)

    assert len(download(visit, "Download the scored rows")) == 100_000
    assert visit.page.locator(".fr-sortable tbody tr").count() == 500
    (page,) = (
        p for p in psutil.process_iter()
        if p.is_running() and f"--port {demo.page_url.rpartition(':')[2]}" in " ".join(_line(p))
        and "ui" in _line(p)
    )  # fmt: skip
    assert page.memory_info().rss < 600e6


def _line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("other.csv", "a,b\n1,2\n", "This file lacks columns that the model needs"),
        ("broken.parquet", "no parquet", "This file cannot be read"),
        ("empty.csv", "", "This file cannot be read"),
    ],
)
def test_a_file_that_is_none_is_refused_in_words(
    look: Look, tmp_path: Path, name: str, content: str, told: str
) -> None:
    (tmp_path / name).write_text(content)
    visit = look("batch")
    drop(visit, tmp_path / name)
    assert card(visit, told).get_attribute("role") == "alert"
    assert "Traceback" not in visit.page.content()


def test_a_file_that_is_stopped_leaves_nothing(look: Look, tmp_path: Path) -> None:
    path = tmp_path / f"stopped-{os.getpid()}.csv"
    simulate(400_000, seed=6).to_csv(path, index=False)
    visit = look("batch")
    drop(visit, path)
    visit.page.get_by_role("button", name="Stop").click()
    card(visit, "Stopped")
    deadline = time.monotonic() + 60
    while leftovers(path.name):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_the_card_says_what_was_measured_with_its_counts(look: Look, client: Client) -> None:
    about = client.model()
    test = about["metrics"]["test"]
    visit = look("model")
    first = card(visit, re.compile(re.escape(about["name"])))
    said = first.inner_text()
    assert f"it found {test['true_positives']:,} of {test['frauds']:,}" in said
    for title in (
        "How it decides", "Before you rely on it", "Measured on payments it never saw",
        "What the score depends on", "Can its probabilities be believed?",
        "Where it finds fewer frauds", "What the audit of the data found",
    ):  # fmt: skip
        assert card(visit, title).inner_text().strip() != title
    matrix = visit.page.locator('svg[aria-label*="frauds found and"]')
    assert f"{test['true_positives']:,} frauds found" in matrix.get_attribute("aria-label")
    assert visit.page.locator("summary").count() >= 5


def champion(mlflow: MlflowClient, name: str) -> str:
    return str(mlflow.get_model_version_by_alias(name, "champion").version)


def test_promotion_and_rollback_move_the_graph_and_the_registry(
    look: Look, client: Client, mlflow: MlflowClient
) -> None:
    about = client.model()
    name, first = about["name"], str(about["version"])
    second = str(client.threshold(threshold=about["threshold"] / 2)["version"])
    try:
        visit = look("model")
        page = visit.page
        page.get_by_role("button", name="Roll back").click()
        page.get_by_text(f"Roll back from version {second}?").wait_for()
        page.get_by_role("button", name="No, leave it").click()
        page.get_by_text(f"Roll back from version {second}?").wait_for(state="hidden")
        assert client.model()["version"] == second

        page.get_by_role("button", name="Roll back").click()
        page.get_by_role("button", name="Yes, do it").click()
        card(visit, f"Version {first} decides now")
        assert client.model()["version"] == first == champion(mlflow, name)

        pick(visit, "Version", re.compile(rf"^{second} "))
        page.get_by_role("button", name="Promote").click()
        page.get_by_text(f"Let version {second} decide?").wait_for()
        page.get_by_role("button", name="Yes, do it").click()
        card(visit, f"Version {second} decides now")
        assert client.model()["version"] == second == champion(mlflow, name)

        past = page.get_by_role("region", name=re.compile("Changes of the champion"))
        past.get_by_text("rolled back to").first.wait_for()
        past.locator("tbody tr").nth(3).wait_for()  # the page fills itself once more after an order
    finally:
        if client.model()["version"] != first:
            client.promote(first)


def test_another_version_is_shown_beside_the_champion(look: Look, client: Client) -> None:
    about = client.model()
    first = str(about["version"])
    second = str(client.threshold(threshold=about["threshold"] / 2)["version"])
    client.promote(first)
    visit = look(f"model?version={second}")
    table = visit.page.get_by_role("region", name=f"Version {first} beside version {second}")
    table.wait_for()
    assert "Alerts that are fraud" in table.inner_text()
    assert "differ in their threshold alone" in card(visit, "On test rows").inner_text()


def sweep_of(demo: Any) -> tuple[Any, list[Any]]:
    """The demo's own sweep as MLflow has it."""
    client = MlflowClient(demo.mlflow_url)
    experiment = client.get_experiment_by_name(SWEEPS)
    assert experiment is not None
    ids = [experiment.experiment_id]
    parents = client.search_runs(ids, "tags.sweep LIKE 'demo%'")
    trials = client.search_runs(
        ids, f"tags.`mlflow.parentRunId` = '{parents[0].info.run_id}'", max_results=1000
    )
    return parents[0], list(trials)


def test_a_past_sweep_has_its_leaderboard_and_each_trial_its_curve(look: Look, demo: Any) -> None:
    parent, trials = sweep_of(demo)
    done = [t for t in trials if t.data.tags["status"] == "done"]
    best = max(done, key=lambda t: t.data.metrics["pr_auc"])

    visit = look(f"experiments?sweep={parent.info.run_id}")
    page = visit.page
    board = page.get_by_role("region", name=re.compile("^Trials of"))
    board.wait_for()
    assert board.locator("tbody tr").count() == len(trials)
    first = board.locator("tbody tr").first
    assert f"{best.data.metrics['pr_auc']:.4f}" in first.inner_text()
    told = page.locator(f'svg[aria-label*="of {len(done)} finished trials over time"]')
    assert told.count() == 1
    assert card(visit, "What mattered").inner_text()

    first.get_by_role("link").click()
    card(visit, re.compile(f"Trial {re.escape(best.info.run_name)}"))
    assert page.url.endswith(f"trial={best.info.run_id}")
    threshold = best.data.metrics["threshold"]
    marked = page.locator('svg[aria-label^="Precision over recall of"]')
    assert f"{threshold:.4g}" in marked.get_attribute("aria-label")
    address = page.get_by_role("link", name="Open it in MLflow").first.get_attribute("href")
    assert address.startswith(demo.mlflow_url)
    assert httpx.get(address).status_code == 200

    other = next(t for t in done if t is not best)
    pick(visit, "Trial", re.compile(rf"^{re.escape(other.info.run_name)} "))
    card(visit, re.compile(f"Trial {re.escape(other.info.run_name)}"))
    page.wait_for_url(f"**trial={other.info.run_id}")


def test_a_sweep_that_goes_on_is_followed(look: Look, demo: Any) -> None:
    tracking = Tracking(demo.mlflow_url)
    experiment = tracking.experiment(SWEEPS)
    sweep = tracking.start(experiment, "going-on", tags={"sweep": "going-on"})
    try:
        tracking.log(sweep, params={"sweep.metric": "pr_auc"})
        visit = look(f"experiments?sweep={sweep}")
        page = visit.page
        card(visit, "No trial yet")
        trial = tracking.start(
            experiment, "0001 xgboost", parent=sweep, tags={"trial": 1, "status": "running"}
        )
        board = page.get_by_role("region", name=re.compile("^Trials of going-on"))
        board.get_by_text("running").wait_for()
        tracking.log(trial, params={"family": "xgboost"}, metrics={"pr_auc": 0.4321},
                     tags={"status": "done"})  # fmt: skip
        tracking.text(trial, "threshold,precision,recall\n0.9,1,0.1\n0.1,0.2,0.9\n",
                      "threshold_curve.csv")  # fmt: skip
        tracking.finish(trial)
        board.get_by_text("0.4321").wait_for()
        board.get_by_role("link").first.click()
        card(visit, "Threshold curve").locator("svg").first.wait_for()
    finally:
        tracking.finish(sweep, "KILLED")
    page.locator(".fr-badge", has_text="stopped").first.wait_for()
    tracking.discard(sweep)


def test_live_counts_what_the_graph_was_asked_just_now(
    look: Look, client: Client, payments: pd.DataFrame, demo: Any
) -> None:
    visit = look("live")
    page = visit.page
    inputs = list(DatasetSpec.load("payments").inputs)
    page.get_by_text("What it did in the last 15 minutes").wait_for()
    client.predict_table(pa.Table.from_pandas(payments[inputs].head(321), preserve_index=False))
    total = decided(client)
    page.get_by_text(f"{total:,}", exact=True).first.wait_for()
    stats = client.stats()
    alerts = sum(
        found.get("1", 0) for roles in stats["decisions"].values()
        for role, found in roles.items() if role == "champion"
    )  # fmt: skip
    assert f"{alerts:,}" in page.locator(".fr-figures").first.inner_text()
    assert "/v1/predict/batch" in card(visit, "Latency").inner_text()
    if stats.get("drift"):
        card(visit, re.compile("^Drift")).get_by_text("Payments compared").wait_for()
    beside = card(visit, "Further pages")
    ray = beside.get_by_role("link", name="Ray dashboard")
    assert ray.get_attribute("href") == demo.dashboard_url
    assert beside.get_by_role("link", name="MLflow").get_attribute("href") == demo.mlflow_url
    grafana = beside.locator("p", has_text="Grafana")
    assert "not running" in grafana.inner_text()
    assert grafana.get_by_role("link").count() == 0

    page.get_by_label("Keep up to date").uncheck()
    asked, deadline = -1, time.monotonic() + 60
    while asked != len(visit.requests):  # one of its looks may be on its way
        assert time.monotonic() < deadline, visit.requests[-3:]
        asked = len(visit.requests)
        page.wait_for_timeout(7000)  # more than two of its looks
    client.predict_table(pa.Table.from_pandas(payments[inputs].head(7), preserve_index=False))
    time.sleep(5)
    assert page.get_by_text(f"{total + 7:,}", exact=True).count() == 0
    page.get_by_label("Keep up to date").check()
    page.get_by_text(f"{total + 7:,}", exact=True).first.wait_for()


def test_about_shows_pictures_versions_and_where_the_data_came_from(
    look: Look, client: Client
) -> None:
    visit = look("about")
    page = visit.page
    assert client.model()["fingerprint"] in card(visit, "Where the data came from").inner_text()
    for title in ("From payments to decisions", "What runs where"):
        box = card(visit, title).locator("svg").bounding_box()
        assert box["width"] > 300
        assert box["height"] > 100
    assert version("fraudray") in card(visit, "Versions").inner_text()
    assert "maintainers" in card(visit, "Maintainers").inner_text()
    assert "fraudray" in page.title()


SETTLED = {
    "batch": "An example to begin from", "model": "Champions so far",
    "experiments": "What mattered", "live": "Log of decisions", "about": "Fingerprint of the data",
}  # fmt: skip
"""What each page shows once it has asked for everything."""


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
@pytest.mark.parametrize("path", SETTLED)
def test_pages_fit_their_window_and_serve_a_screen_reader_and_poor_eyes(
    look: Look, path: str, scheme: str, width: int
) -> None:
    visit = look(path, color_scheme=scheme, viewport={"width": width, "height": 844})
    visit.page.get_by_text(SETTLED[path]).first.wait_for()
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    visit.assert_accessible()


def test_without_its_graph_every_page_says_what_to_do(alone: Any, look: Look) -> None:
    url, _ = alone("--url", "http://127.0.0.1:9")
    for path in ("batch", "model", "live", "about"):
        visit = look(f"{url}/{path}")
        said = visit.page.get_by_role("alert").first
        said.wait_for()
        assert "The service cannot be reached" in said.inner_text(), path
        assert "fraudray serve" in said.inner_text(), path
    assert version("fraudray") in card(visit, "Versions").inner_text()
    card(look(f"{url}/experiments"), "No sweep yet")


def test_without_mlflow_the_rest_goes_on(alone: Any, look: Look, demo: Any) -> None:
    away = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
    url, _ = alone("--url", demo.url, **away)
    for path in ("model", "experiments", "about"):
        said = look(f"{url}/{path}").page.get_by_role("alert").first
        said.wait_for()
        assert "MLflow cannot be reached" in said.inner_text(), path
    look(f"{url}/live").page.get_by_text("What it did in the last 15 minutes").wait_for()
