"""The HTTP side answers in order, refuses in one shape, and needs nothing from elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from serve_app.http import MAX_BODY
from training.bundle import ModelBundle
from training.data import Dataset, records_of


@pytest.fixture(scope="module")
def http(
    bundle: ModelBundle, tmp_path_factory: pytest.TempPathFactory, make_graph: Any
) -> Iterator[TestClient]:
    """A graph that serves one version."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("home")
        patch.setenv("FRAUDRAY_HOME", str(home))
        graph = make_graph(home / "ledgers")
        graph.add("3", bundle)
        graph.want("3")
        with TestClient(graph, base_url="http://localhost") as client:
            yield client


@pytest.fixture(scope="module")
def records(fresh: Dataset) -> list[dict[str, Any]]:
    """A hundred payments, frauds among them, as a caller would write them."""
    rows = np.append(np.flatnonzero(fresh.label)[:20], np.arange(80))
    names = [n for n in fresh.spec.inputs if n != "isWeekend"]
    return list(records_of(fresh.take(rows), names))


@pytest.fixture(scope="module")
def document(http: TestClient) -> dict[str, Any]:
    return dict(http.get("/openapi.json").json())


def test_a_list_is_answered_in_its_order_with_the_bundles_probabilities(
    http: TestClient, records: list[dict[str, Any]], bundle: ModelBundle, fresh: Dataset
) -> None:
    rows = np.append(np.flatnonzero(fresh.label)[:20], np.arange(80))
    columns = {n: v[rows] for n, v in fresh.columns.items() if n != "isWeekend"}

    answer = http.post("/predict", json=records)

    assert answer.status_code == 200
    probability = np.array([a["probability"] for a in answer.json()])
    np.testing.assert_array_equal(probability, bundle.score(columns))
    assert [a["decision"] for a in answer.json()] == bundle.decide(probability).tolist()
    assert {a["decision"] for a in answer.json()} == {0, 1}
    turned = http.post("/predict", json=records[::-1]).json()
    assert [a["probability"] for a in turned] == probability[::-1].tolist()


def test_one_payment_is_answered_with_one_answer(
    http: TestClient, records: list[dict[str, Any]], bundle: ModelBundle
) -> None:
    answer = http.post("/predict", json=records[0])

    listed = http.post("/predict", json=records[:1]).json()
    content = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert content["request_id"]
    assert content["threshold"] == bundle.choice.threshold
    assert content | {"request_id": ""} == listed[0] | {"request_id": ""}


@pytest.mark.parametrize(
    ("field", "text"),
    [("numItems", "-1"), ("localTime", "NaN"), ("localTime", "1e999"), ("paymentMethod", "7"),
     ("isWeekend", "3"), ("timestamp", "5"), ("colour", '"red"')],
)  # fmt: skip
def test_a_bad_payment_is_answered_with_422_and_its_problem(
    field: str, text: str, http: TestClient, records: list[dict[str, Any]]
) -> None:
    good = json.dumps(records[0])
    bad = json.dumps({k: v for k, v in records[0].items() if k != field})

    answer = http.post("/predict", content=f'[{good}, {bad[:-1]}, "{field}": {text}}}]')

    assert answer.status_code == 422
    content = answer.json()
    assert content.keys() == {"detail", "request_id"}
    assert content["request_id"]
    (problem,) = content["detail"]
    assert problem.keys() == {"payment", "field", "expectation", "value"}
    assert (problem["payment"], problem["field"]) == (1, field)


def test_numbers_as_large_as_they_go_are_scored(
    http: TestClient, records: list[dict[str, Any]]
) -> None:
    huge = dict.fromkeys(("accountAgeDays", "numItems", "paymentMethodAgeDays", "amount"), 1.7e308)

    answers = http.post("/predict", json=[records[0] | {n: v} for n, v in huge.items()])

    assert answers.status_code == 200
    assert all(0 <= a["probability"] <= 1 for a in answers.json())


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b"\xff", b"[" * 5000])
def test_a_body_that_is_no_payment_is_422_too(body: bytes, http: TestClient) -> None:
    answer = http.post("/predict", content=body)

    assert answer.status_code == 422
    assert [p["field"] for p in answer.json()["detail"]] == [""]


def test_too_large_a_body_is_413_whether_its_length_is_told_or_not(http: TestClient) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(MAX_BODY // 65_536 + 1):
            yield b" " * 65_536

    for body in (b" " * (MAX_BODY + 1), chunks()):
        answer = http.post("/predict", content=body)
        assert answer.status_code == 413
        assert "8,388,608 bytes" in answer.json()["detail"][0]["expectation"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/nowhere", 404), ("POST", "/predict/x", 404),
     ("GET", "/docs/assets/nowhere.js", 404), ("GET", "/docs/assets/../../errors.py", 404),
     ("GET", "/predict", 405), ("POST", "/model", 405), ("DELETE", "/health", 405)],
)  # fmt: skip
def test_every_refusal_has_the_same_shape(
    method: str, path: str, status: int, http: TestClient
) -> None:
    answer = http.request(method, path)

    assert answer.status_code == status
    assert answer.json()["request_id"]
    assert len(answer.json()["detail"]) == 1
    assert ("allow" in answer.headers) == (status == 405)


def test_a_graph_that_fails_is_500_in_the_same_shape_and_tells_no_secret(
    bundle: ModelBundle, records: list[dict[str, Any]], local_graph: Any
) -> None:
    graph = local_graph()
    graph.add("3", bundle)
    graph.want("3")
    graph.broken = ValueError("secret")
    with TestClient(graph, base_url="http://localhost") as client:
        answer = client.post("/predict", json=records[0], headers={"X-Request-ID": "mine"})
        ready = client.get("/ready")

    assert answer.status_code == 500
    assert answer.json()["request_id"] == "mine"
    assert "secret" not in answer.text
    assert ready.status_code == 503


@pytest.mark.parametrize("given", ["a", "order-17/3", "x" * 128, "!~"])
def test_a_callers_request_id_is_echoed(
    given: str, http: TestClient, records: list[dict[str, Any]]
) -> None:
    scored = http.post("/predict", json=records[:2], headers={"X-Request-ID": given})
    refused = http.post("/predict", json={}, headers={"X-Request-ID": given})

    assert [a["request_id"] for a in scored.json()] == [given, given]
    assert refused.json()["request_id"] == given


@pytest.mark.parametrize("given", ["", "two words", "x" * 129, b"\xe9t\xe9", "tab\there"])
def test_a_request_id_that_cannot_stand_in_a_log_line_is_replaced(
    given: str | bytes, http: TestClient
) -> None:
    ids = {http.get("/nowhere", headers={"X-Request-ID": given}).json()["request_id"]
           for _ in range(2)}  # fmt: skip

    assert len(ids) == 2
    assert all(re.fullmatch(r"[0-9a-f]{32}", i) for i in ids)


def test_the_model_and_the_health_are_told(http: TestClient) -> None:
    model = http.get("/model").json()
    assert model["version"] == "3"
    assert (model["challenger"], model["failed"]) == (None, [])
    assert http.get("/v1/model").json() == model
    assert http.get("/health").json() == {"status": "ok"}
    assert http.get("/ready").status_code == 200


def test_the_page_and_all_it_loads_come_from_here(http: TestClient) -> None:
    page = http.get("/docs")

    assert page.headers["content-type"].startswith("text/html")
    assert "://" not in page.text
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text) + re.findall(
        r'url: "(.+?)"', page.text
    )
    assert len(loaded) == 4
    for address in loaded:
        assert not address.startswith("//")
        answer = http.get("/" + address.removeprefix("/"))
        assert answer.status_code == 200
        assert len(answer.content) > 100


def test_every_reference_in_the_description_leads_somewhere(document: dict[str, Any]) -> None:
    references = set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(document)))

    assert document["openapi"].startswith("3.1")
    assert {"title", "version"} <= document["info"].keys()
    assert references
    for reference in references:
        place: Any = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
        assert isinstance(place, dict)


def _check(document: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    whole = schema | {"components": document["components"]}
    jsonschema.Draft202012Validator.check_schema(whole)
    jsonschema.Draft202012Validator(whole).validate(value)


def test_its_examples_fit_its_schema_and_are_answered_as_it_says(
    document: dict[str, Any], http: TestClient
) -> None:
    predict = document["paths"]["/predict"]["post"]
    body = predict["requestBody"]["content"]["application/json"]

    for example in body["examples"].values():
        _check(document, body["schema"], example["value"])
        answer = http.post("/predict", json=example["value"])
        assert answer.status_code == 200
        schema = predict["responses"]["200"]["content"]["application/json"]["schema"]
        _check(document, schema, answer.json())


def test_a_refusal_is_as_the_description_says(document: dict[str, Any], http: TestClient) -> None:
    answer = http.post("/predict", json=[{"numItems": -1, "colour": ["red"]}])

    responses = document["paths"]["/predict"]["post"]["responses"]
    _check(document, responses["422"]["content"]["application/json"]["schema"], answer.json())
