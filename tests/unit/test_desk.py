"""What the page asks of a graph: trouble in plain words, and no order without its own key."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gradio_ui.desk import Desk, Trouble
from serve_app.client import BadRequest, Client
from serve_app.keys import Keys
from training.bundle import ModelBundle

DEAD = "http://127.0.0.1:9"


@pytest.fixture
def keyed(
    local_graph: Callable[..., Any],
    listening: Callable[[Any], Any],
    bundle: ModelBundle,
    tmp_path: Any,
) -> Iterator[tuple[str, dict[str, str]]]:
    """A graph of two versions that asks for keys, and a key of each role."""
    keys = Keys(tmp_path / "keys.json")
    secrets = {role: keys.add(role, role) for role in ("caller", "operator")}
    graph = local_graph(keys=keys)
    graph.add("1", bundle)
    graph.add("2", bundle)
    graph.want("1")
    with listening(graph) as url:
        yield url, secrets


def test_a_graph_that_is_away_is_told_with_what_to_do() -> None:
    with Client(DEAD, retries=0) as client:
        desk = Desk(client)
        for question in (desk.about, desk.stats):
            with pytest.raises(Trouble, match="fraudray serve") as told:
                question()
            assert told.value.title == "The service cannot be reached"


def test_a_graph_without_a_model_is_told_how_one_is_made(
    local_graph: Callable[..., Any], listening: Callable[[Any], Any]
) -> None:
    with listening(local_graph()) as url, Client(url, retries=0) as client:
        with pytest.raises(Trouble, match="fraudray promote") as told:
            Desk(client).about()
        assert "no model" in told.value.title


def test_what_breaks_the_contract_keeps_its_problems(keyed: tuple[str, dict[str, str]]) -> None:
    url, secrets = keyed
    with Client(url, key=secrets["caller"]) as client:
        with pytest.raises(BadRequest) as refused:
            Desk(client).ask(lambda: client.explain({"amount": "much"}))
        assert "amount" in {p["field"] for p in refused.value.problems}


@pytest.mark.parametrize("key", ["", "wrong", "with blanks", "caller"])
def test_an_order_needs_the_operators_key_and_never_borrows_the_pages_own(
    keyed: tuple[str, dict[str, str]], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, secrets = keyed
    monkeypatch.setenv("FRAUDRAY_KEY", secrets["operator"])
    with Client(url) as client:
        desk = Desk(client)
        with pytest.raises(Trouble):
            desk.order(secrets.get(key, key), lambda operator: operator.promote("2"))
        assert desk.about()["version"] == "1"


def test_an_order_is_carried_out_and_what_was_known_is_asked_anew(
    keyed: tuple[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, secrets = keyed
    monkeypatch.setenv("FRAUDRAY_KEY", secrets["caller"])
    with Client(url) as client:
        desk = Desk(client)
        assert desk.about()["version"] == "1"
        desk.order(f" {secrets['operator']} ", lambda operator: operator.promote("2"))
        assert desk.about()["version"] == "2"
    assert os.environ["FRAUDRAY_KEY"] == secrets["caller"]


def test_an_order_that_is_refused_changes_nothing_and_says_so(
    keyed: tuple[str, dict[str, str]],
) -> None:
    url, secrets = keyed
    with Client(url) as client:
        desk = Desk(client)
        with pytest.raises(Trouble, match="99") as told:
            desk.order(secrets["operator"], lambda operator: operator.promote("99"))
        assert told.value.title == "Nothing was changed"


def test_a_store_that_is_away_is_told_and_asked_again(tmp_path: Any) -> None:
    with Client(DEAD, retries=0) as client:
        desk = Desk(client, f"sqlite:///{tmp_path}/none/mlflow.db")
        with pytest.raises(Trouble) as told:
            desk.tracking()
        assert told.value.title == "MLflow cannot be reached"
        (tmp_path / "none").mkdir()
        assert desk.tracking().models("payments") == []
