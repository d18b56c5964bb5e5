"""A graph in one process: versions change under load, challengers watch, keys guard."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from threading import Event
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
from starlette.testclient import TestClient

from serve_app import arrow
from serve_app.keys import Keys
from serve_app.tally import Noted
from serve_app.versions import Challenge
from training.bundle import ModelBundle
from training.data import Dataset, records_of

Make = Callable[..., Any]


@pytest.fixture(scope="module")
def records(fresh: Dataset) -> list[dict[str, Any]]:
    return list(records_of(fresh.take(np.arange(200)), list(fresh.spec.inputs)))


@pytest.fixture
def two(local_graph: Make, bundles: dict[str, ModelBundle]) -> Any:
    """Version 1, a boosted model, serves; version 2 is a forest."""
    graph = local_graph()
    graph.add("1", bundles["xgboost"])
    graph.add("2", bundles["random-forest"])
    graph.want("1")
    return graph


@pytest.fixture
def offline(bundles: dict[str, ModelBundle], fresh: Dataset) -> dict[str, np.ndarray]:
    """The probabilities of the records by version."""
    columns = fresh.take(np.arange(200)).columns
    return {"1": bundles["xgboost"].score(columns), "2": bundles["random-forest"].score(columns)}


def test_no_answer_is_a_mix_and_none_fails_while_versions_change(
    two: Any, records: list[dict[str, Any]], offline: dict[str, np.ndarray]
) -> None:
    found: list[tuple[int, dict[str, Any]]] = []

    async def load() -> None:
        transport = httpx.ASGITransport(two)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            over = False

            async def caller(start: int) -> None:
                place = start
                while not over:
                    place = (place + 1) % len(records)
                    answer = await client.post("/v1/predict", json=records[place])
                    assert answer.status_code == 200, answer.text
                    found.append((place, answer.json()))

            callers = [asyncio.create_task(caller(7 * i)) for i in range(8)]
            for version in ("2", "1", "2", "1"):
                await asyncio.sleep(0.05)
                ordered = await client.post("/v1/admin/promote", json={"version": version})
                assert ordered.json()["version"] == version
            over = True
            await asyncio.gather(*callers)

    async def all_of_it() -> None:
        started, over = asyncio.Event(), asyncio.Event()
        messages = iter(["lifespan.startup", "lifespan.shutdown"])

        async def events() -> dict[str, Any]:
            kind = next(messages)
            if kind == "lifespan.shutdown":
                await over.wait()
            return {"type": kind}

        async def told(message: Any) -> None:
            if message["type"] == "lifespan.startup.complete":
                started.set()

        app = asyncio.create_task(two({"type": "lifespan"}, events, told))
        await started.wait()
        await load()
        over.set()
        await app

    asyncio.run(all_of_it())
    assert {a["model_version"] for _, a in found} == {"1", "2"}
    for place, answer in found:
        assert answer["probability"] == offline[answer["model_version"]][place]


@pytest.fixture
def client(two: Any) -> Iterator[TestClient]:
    with TestClient(two, base_url="http://localhost") as client:
        yield client


def test_a_shadow_is_compared_and_never_answers(
    two: Any, client: TestClient, records: list[dict[str, Any]], offline: dict[str, np.ndarray]
) -> None:
    two.want("1", Challenge(two.references["2"], "shadow", 0.0))
    _until(client, lambda model: model["challenger"] is not None)
    answers = client.post("/v1/predict/batch", json=records).json()
    assert {a["model_version"] for a in answers} == {"1"}
    client.get("/v1/stats")
    compared = _waited(two, lambda d: d.compared)
    (seen,) = compared.values()
    assert list(compared) == [("1", "2")]
    assert seen.rows == len(records)
    assert seen.difference == pytest.approx(np.abs(offline["1"] - offline["2"]).sum())


def test_a_share_is_sticky_and_about_as_large_as_asked_for(
    two: Any, client: TestClient, records: list[dict[str, Any]]
) -> None:
    two.want("1", Challenge(two.references["2"], "share", 0.3))
    _until(client, lambda model: model["challenger"] is not None)

    def version(key: int) -> str:
        headers = {"X-Sticky-Key": f"payer-{key}"}
        answer = client.post("/v1/predict", json=records[0], headers=headers)
        return str(answer.json()["model_version"])

    met = [version(key) for key in range(300)]
    assert met == [version(key) for key in range(300)]
    assert 60 < met.count("2") < 120


def test_a_new_threshold_is_a_version_that_shares_the_model(
    two: Any, client: TestClient, records: list[dict[str, Any]], bundles: dict[str, ModelBundle]
) -> None:
    choice = replace(bundles["xgboost"].choice, threshold=1e-9, policy="threshold=1e-09")
    two.references["3"] = replace(two.references["1"], version="3", choice=choice)
    before = client.post("/v1/predict/batch", json=records).json()
    client.post("/v1/admin/promote", json={"version": "3"})
    after = client.post("/v1/predict/batch", json=records).json()
    assert [a["probability"] for a in after] == [a["probability"] for a in before]
    assert {a["decision"] for a in after} == {1}
    assert {(a["threshold"], a["model_version"]) for a in after} == {(1e-9, "3")}
    one, three = (two.stages[1].member.held(two.references[v]) for v in "13")
    assert three is not None
    assert one is None or one.model is three.model


def test_rows_of_arrow_get_what_rows_of_json_get(
    client: TestClient, records: list[dict[str, Any]]
) -> None:
    table = pa.Table.from_pylist(records)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    answer = client.post(
        "/v1/predict/batch", content=sink.getvalue().to_pybytes(),
        headers={"content-type": arrow.MEDIA_TYPE, "x-request-id": "mine"},
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    with pa.ipc.open_stream(answer.content) as stream:
        scored = stream.read_all()
    listed = client.post("/v1/predict/batch", json=records).json()
    assert scored["probability"].to_pylist() == [a["probability"] for a in listed]
    assert scored["decision"].to_pylist() == [a["decision"] for a in listed]
    assert scored.schema.metadata[b"request_id"] == b"mine"


def test_a_decision_is_explained_by_the_version_that_made_it(
    client: TestClient, records: list[dict[str, Any]], bundles: dict[str, ModelBundle]
) -> None:
    answer = client.post("/v1/explain", json=records[0]).json()
    plain = client.post("/v1/predict", json=records[0]).json()
    assert answer["probability"] == plain["probability"]
    reasons = answer["reasons"]
    assert [abs(r["contribution"]) for r in reasons] == sorted(
        (abs(r["contribution"]) for r in reasons), reverse=True
    )
    assert {r["field"] for r in reasons} <= set(bundles["xgboost"].spec.inputs)


def test_every_change_that_is_told_turns_the_decision_at_the_endpoint(
    client: TestClient, records: list[dict[str, Any]]
) -> None:
    told = 0
    for record in records:
        answer = client.post("/v1/explain", json=record).json()
        for change in answer["changes"]:
            changed = client.post("/v1/predict", json=record | {change["field"]: change["value"]})
            assert changed.json()["probability"] == pytest.approx(change["probability"], abs=1e-12)
            assert changed.json()["decision"] == change["decision"] == 1 - answer["decision"]
            told += 1
    assert told


def test_the_examples_are_payments_of_each_kind_that_can_be_sent(
    client: TestClient, bundles: dict[str, ModelBundle]
) -> None:
    examples = client.get("/v1/model").json()["examples"]
    assert [e["kind"] for e in examples] == ["legitimate", "fraudulent", "borderline"]
    assert [e["label"] for e in examples[:2]] == [0, 1]
    answers = client.post("/v1/predict/batch", json=[e["payment"] for e in examples]).json()
    assert [a["decision"] for a in answers[:2]] == [0, 1]
    kept = bundles["xgboost"].card["examples"]
    gaps = [abs(e["probability"] - answers[2]["threshold"]) for e in kept]
    assert abs(answers[2]["probability"] - answers[2]["threshold"]) <= sorted(gaps)[2]


def test_labels_find_their_decision_and_others_are_told(
    client: TestClient, records: list[dict[str, Any]]
) -> None:
    client.post("/v1/predict/batch", json=records[:3], headers={"X-Request-ID": "three"})
    known = {"request_id": "three", "label": 1, "payment": 2}
    answer = client.post("/v1/feedback", json=[known, known | {"payment": 0, "label": False}])
    assert answer.json()["recorded"] == 2
    unknown = client.post("/v1/feedback", json=[known, known | {"payment": 3}])
    assert unknown.status_code == 404
    (problem,) = unknown.json()["detail"]
    assert (problem["payment"], problem["field"]) == (1, "request_id")


@pytest.mark.parametrize(
    ("path", "kind", "status"),
    [("/v1/predict", "text/csv", 415), ("/v1/predict", arrow.MEDIA_TYPE, 415),
     ("/v1/predict/batch", "text/plain", 415), ("/v1/admin/promote", "text/plain", 415),
     ("/v1/admin/promote", "", 415)],
)  # fmt: skip
def test_another_content_type_is_refused(
    client: TestClient, path: str, kind: str, status: int
) -> None:
    answer = client.post(path, content=b'{"version": "2"}', headers={"content-type": kind})
    assert answer.status_code == status


def test_without_a_champion_it_lives_and_is_not_ready(
    local_graph: Make, records: list[dict[str, Any]]
) -> None:
    with TestClient(local_graph(), base_url="http://localhost") as client:
        assert client.get("/health").status_code == 200
        for answer in (
            client.get("/ready"), client.get("/v1/model"), client.post("/predict", json=records[0])
        ):  # fmt: skip
            assert answer.status_code == 503
            assert answer.headers["retry-after"]
            assert "no version is in service" in answer.json()["detail"][0]["expectation"]


def test_keys_open_what_their_role_may(
    local_graph: Make, bundle: ModelBundle, records: list[dict[str, Any]], tmp_path: Any
) -> None:
    keys = Keys(tmp_path / "keys.json")
    caller, operator = keys.add("shop", "caller"), keys.add("desk", "operator")
    graph = local_graph(keys=keys)
    graph.add("1", bundle)
    graph.want("1")
    with TestClient(graph) as client:

        def status(path: str, key: str | None, **content: Any) -> int:
            headers = {} if key is None else {"Authorization": f"Bearer {key}"}
            method = "POST" if content else "GET"
            return client.request(method, path, headers=headers, **content).status_code

        for key, predicts, orders in (
            (None, 401, 401), ("wrong", 401, 401), (caller, 200, 403), (operator, 200, 200)
        ):  # fmt: skip
            assert status("/v1/predict", key, json=records[0]) == predicts
            assert status("/v1/admin/promote", key, json={"version": "1"}) == orders
            assert status("/v1/stats", key) == predicts
            assert status("/v1/admin/history", key) == orders
            assert status("/health", key) == status("/ready", key) == status("/docs", key) == 200


def test_every_answer_is_counted_by_route_and_status(
    two: Any, client: TestClient, records: list[dict[str, Any]]
) -> None:
    client.post("/v1/predict", json=records[0])
    client.post("/v1/predict", json={})
    client.get("/../../etc/passwd?x=1")
    client.get("/v1/stats")
    counts: dict[tuple[str, int], int] = {}
    for delivery in two.deliveries:
        for key, buckets in delivery.answered.items():
            counts[key] = counts.get(key, 0) + int(buckets.sum())
    counts.pop(("/v1/stats", 200), None)  # brought with the next delivery, which may be over
    assert counts == {("/v1/predict", 200): 1, ("/v1/predict", 422): 1, ("other", 404): 1}


def test_what_is_being_counted_as_a_graph_stops_is_counted(
    local_graph: Make, bundles: dict[str, ModelBundle], fresh: Dataset,
    records: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    begun, count = Event(), Noted.counted

    def slowly(noted: Noted) -> Any:
        begun.set()
        time.sleep(0.5)
        return count(noted)

    monkeypatch.setattr("serve_app.graph.COUNTING", 0.01)
    monkeypatch.setattr(Noted, "counted", slowly)
    bundle, one = bundles["xgboost"], fresh.take(np.arange(1)).columns
    graph = local_graph()
    graph.add("1", bundle)
    graph.want("1")
    with TestClient(graph, base_url="http://localhost") as client:
        _until(client, lambda model: model["version"] == "1")
        assert client.post("/v1/predict", json=records[0]).status_code == 200
        assert begun.wait(60)
    (seen,) = [d.seen["1"].counts for d in graph.deliveries if d.seen]
    assert seen == bundle.reference.count(one, bundle.score(one))


def _until(client: TestClient, holds: Callable[[dict[str, Any]], bool]) -> None:
    give_up = time.monotonic() + 60
    while not holds(model := client.get("/v1/model").json()):
        assert time.monotonic() < give_up, model
        time.sleep(0.01)


def _waited(graph: Any, what: Callable[[Any], Any]) -> Any:
    give_up = time.monotonic() + 60
    while not (found := [what(d) for d in graph.deliveries if what(d)]):
        assert time.monotonic() < give_up
        time.sleep(0.02)
    return found[0]
