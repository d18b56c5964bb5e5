"""The desk in front of a graph that is away, has no champion or asks for keys; no Ray is needed.

The graph is that of `in_process`: the real stages and the real ingress, over a real socket.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from gradio_ui.score import EXAMPLES
from serve_app.client import Client
from serve_app.keys import Keys
from training.bundle import ModelBundle
from training.tracking import Tracking

pytestmark = pytest.mark.slow

MODEL = "fraudray-payments"
FILLED = {
    "": "The examples are real payments", "batch": "An example to begin from",
    "threshold": "What the policies choose", "model": "Champions so far",
    "about": "Fingerprint of the data",
}  # fmt: skip
"""What each page shows once it has got what it needs."""


@pytest.fixture
def store(
    empty_store: Callable[[Path], Path], bundle: ModelBundle, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:  # fmt: skip
    """A database of MLflow with a model and its second version, which has another threshold."""
    monkeypatch.setenv("FRAUDRAY_HOME", str(tmp_path))
    file = empty_store(tmp_path)
    tracking = Tracking(f"sqlite:///{file}")
    with tracking.run("test", "test") as run:
        first = tracking.register(run, MODEL, bundle)
    choice = replace(bundle.choice, threshold=bundle.choice.threshold / 2)
    tracking.rethreshold(first, choice, "a test")
    return file


@pytest.fixture
def desk(alone: Any, opened: Any) -> Callable[..., dict[str, Any]]:
    """Start a desk and open some of its pages."""

    def open_(graph: str, store: Path, *paths: str, **environment: str) -> dict[str, Any]:
        uri = f"sqlite:///{store}"
        url, _ = alone("--url", graph, MLFLOW_TRACKING_URI=uri, **environment)
        return {path: opened(f"{url}/{path}") for path in paths}

    return open_


def test_pages_go_on_by_themselves_once_graph_and_mlflow_are_there(
    desk: Any, local_graph: Any, listening: Any, bundle: ModelBundle, store: Path, tmp_path: Path,
    free_ports: Callable[[int], list[int]],
) -> None:  # fmt: skip
    (port,) = free_ports(1)
    away = tmp_path / "away" / "mlflow.db"
    tabs = desk(f"http://127.0.0.1:{port}", away, *FILLED)

    def all_say(heading: str, *paths: str) -> None:
        for path in paths:
            tabs[path].page.get_by_role("heading", name=heading).wait_for()

    all_say("The service cannot be reached", *FILLED)
    graph = local_graph()
    graph.add("1", bundle)
    graph.want("1")
    with listening(graph, port):
        all_say("MLflow cannot be reached", "threshold", "model", "about")
        away.parent.mkdir()
        store.rename(away)
        for path, text in FILLED.items():
            tabs[path].page.get_by_text(text).first.wait_for()
            assert tabs[path].page.get_by_role("alert").count() == 0
            assert tabs[path].errors == []


def test_without_a_champion_pages_say_how_one_is_made_and_then_show_it(
    desk: Any, local_graph: Any, listening: Any, bundle: ModelBundle, store: Path
) -> None:
    graph = local_graph()
    graph.add("1", bundle)
    with listening(graph) as url:
        tabs = desk(url, store, *FILLED)
        for path, tab in tabs.items():
            said = tab.page.get_by_role("alert")
            said.wait_for()
            for part in ("no version is in service yet", "fraudray train", "fraudray promote"):
                assert part in said.inner_text(), path
            tab.assert_accessible()
        assert httpx.get(f"{url}/v1/model").status_code == 503

        graph.want("1")
        for path, text in FILLED.items():
            tabs[path].page.get_by_text(text).first.wait_for()
        assert httpx.get(f"{url}/v1/model").json()["version"] == "1"


def test_an_order_with_a_key_that_may_not_is_refused_in_words_and_changes_nothing(
    desk: Any, local_graph: Any, listening: Any, bundle: ModelBundle, store: Path, tmp_path: Path
) -> None:
    keys = Keys(tmp_path / "keys.json")
    caller, operator = (keys.add(role, role) for role in ("caller", "operator"))
    graph = local_graph(keys=keys)
    graph.add("1", bundle)
    graph.add("2", bundle)
    graph.want("1")
    with listening(graph) as url, Client(url, key=caller) as client:
        tabs = desk(url, store, "threshold", "model?version=2", FRAUDRAY_KEY=caller)
        threshold, model = (tab.page for tab in tabs.values())

        def order(page: Any, key: str, button: str, yes: str) -> None:
            page.get_by_label("Operator key").fill(key)
            page.get_by_role("button", name=button).click()
            page.get_by_role("button", name=yes).click()

        apply = (threshold, "Apply to the running model", "Yes, apply it")
        promote = (model, "Promote the version", "Yes, do it")
        before = client.model()
        for page, *buttons in (apply, promote):
            for key, told in (
                ("", "An operator's key is needed"),
                ("a-guess", "The service wants a key that it knows"),
                (caller, "This key may ask for scores but not change what decides"),
            ):
                order(page, key, *buttons)
                page.get_by_role("alert").get_by_text(told).wait_for()
                assert client.model() == before

        page, *buttons = promote
        order(page, operator, *buttons)
        page.get_by_role("heading", name="Version 2 decides now").wait_for()
        assert client.model()["version"] == "2"
        assert page.get_by_label("Operator key").input_value() == ""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_theme_in_the_address_changes_the_colours_alone(
    desk: Any, local_graph: Any, listening: Any, bundle: ModelBundle, store: Path, theme: str
) -> None:
    graph = local_graph()
    graph.add("1", bundle)
    graph.want("1")
    with listening(graph) as url:
        (tab,) = desk(url, store, f"?__theme={theme}").values()
        page = tab.page
        for name in EXAMPLES.values():
            page.get_by_role("button", name=name).wait_for()
        assert page.evaluate("document.body.classList.contains('dark')") == (theme == "dark")
        page.get_by_role("button", name=EXAMPLES["fraudulent"]).click()
        page.get_by_text("Filled in: a payment that turned out to be").wait_for()
        page.get_by_role("button", name="Score this payment").click()
        page.locator(".fr-result data").wait_for()
        tab.assert_accessible()
