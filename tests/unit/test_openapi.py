"""The description of the interface is whole, and what it shows is what is read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from serve_app import openapi
from serve_app.contract import (
    NewChallenger,
    NewThreshold,
    PaymentContract,
    Promote,
    Rollback,
    read_body,
    read_feedback,
)
from training.spec import DatasetSpec

CONTRACT = PaymentContract(DatasetSpec.load("payments"))
DOCUMENT = openapi.document(CONTRACT)
ROUTES = {
    "/v1/predict": "post", "/predict": "post", "/v1/predict/batch": "post",
    "/v1/explain": "post", "/v1/model": "get", "/model": "get", "/v1/feedback": "post",
    "/v1/stats": "get", "/health": "get", "/ready": "get", "/v1/admin/promote": "post",
    "/v1/admin/rollback": "post", "/v1/admin/threshold": "post",
    "/v1/admin/challenger": "post", "/v1/admin/history": "get",
}  # fmt: skip
READERS = {
    "/v1/predict": CONTRACT.one,
    "/v1/explain": CONTRACT.one,
    "/v1/predict/batch": CONTRACT.many,
    "/v1/feedback": read_feedback,
    "/v1/admin/promote": lambda body: read_body(Promote, body),
    "/v1/admin/rollback": lambda body: read_body(Rollback, body),
    "/v1/admin/threshold": lambda body: read_body(NewThreshold, body),
    "/v1/admin/challenger": lambda body: read_body(NewChallenger, body),
}


def _operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_every_route_is_there_under_a_name_of_its_own() -> None:
    assert {path: method for path, method, _ in _operations()} == ROUTES
    assert len({operation["operationId"] for *_, operation in _operations()}) == len(ROUTES)


def test_every_reference_leads_somewhere() -> None:
    references = set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(DOCUMENT)))

    assert references
    for reference in references:
        place: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


@pytest.mark.parametrize(("path", "method"), ROUTES.items())
def test_what_a_route_may_refuse_is_described(path: str, method: str) -> None:
    operation = DOCUMENT["paths"][path][method]
    statuses = {int(status) for status in operation["responses"]}

    if method == "post":
        assert {400, 401, 408, 413, 415, 422, 503, 504} <= statuses
    if path.startswith("/v1/admin/"):
        assert {401, 503} <= statuses
    assert 403 in statuses  # to a host of another name, wherever it asks
    assert (404 in statuses) == (path == "/v1/feedback" or ("/admin/" in path and method == "post"))
    assert ("security" in operation) == (path in ("/health", "/ready"))
    for status, answer in operation["responses"].items():
        assert "X-Request-ID" in answer["headers"]
        assert ("Retry-After" in answer["headers"]) == (status == "503")


@pytest.mark.parametrize("path", [p for p, method in ROUTES.items() if method == "post"])
def test_its_examples_fit_its_schemas_and_are_read(path: str) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    body = DOCUMENT["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    schema = body["schema"] | {"components": DOCUMENT["components"]}
    jsonschema.Draft202012Validator.check_schema(schema)

    assert body["examples"]
    for example in body["examples"].values():
        jsonschema.Draft202012Validator(schema).validate(example["value"])
        if path in READERS:
            READERS[path](json.dumps(example["value"]).encode())


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        ("NewThreshold", {}),
        ("NewThreshold", {"threshold": None, "policy": None}),
        ("NewThreshold", {"threshold": 0.5, "policy": "max-f1"}),
        ("NewThreshold", {"policy": "recall>=0.0"}),
        ("NewChallenger", {"version": "3", "share": 0.5}),
        ("NewChallenger", {"version": "3", "mode": "share"}),
        ("Feedback", {"request_id": "a", "label": 2}),
        ("Payment", {"colour": "red"}),
    ],
)
def test_what_is_refused_does_not_fit_its_schema(kind: str, bad: dict[str, Any]) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = DOCUMENT["components"]["schemas"][kind] | {"components": DOCUMENT["components"]}

    assert not jsonschema.Draft202012Validator(schema).is_valid(bad)
