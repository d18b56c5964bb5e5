"""The OpenAPI document and its page, served without a request to anywhere else."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from serve_app.contract import MAX_PAYMENTS, Answer, PaymentContract, Problem
from training.home import VERSION

_REF = "#/components/schemas/{model}"


def document(contract: PaymentContract) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the graph's HTTP interface."""
    schemas: dict[str, Any] = {}
    for name, kind in (("Payment", contract.payment), ("Answer", Answer), ("Problem", Problem)):
        schema = TypeAdapter(kind).json_schema(ref_template=_REF)
        schemas |= schema.pop("$defs", {})
        schemas[name] = schema
    schemas["Refusal"] = {
        "type": "object",
        "required": ["detail", "request_id"],
        "properties": {
            "detail": {"type": "array", "items": _ref("Problem")},
            "request_id": {"type": "string"},
        },
    }
    example = {
        name: column.example
        for name, column in contract.spec.inputs.items()
        if column.example is not None
    }
    payments = {"type": "array", "items": _ref("Payment"), "minItems": 1, "maxItems": MAX_PAYMENTS}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "fraudray",
            "version": VERSION,
            "description": "Scores payments. Send X-Request-ID to find your request again.",
        },
        "paths": {
            "/predict": {
                "post": {
                    "operationId": "predict",
                    "summary": "Score one payment, or a list of them",
                    "requestBody": {
                        "required": True,
                        "content": {
                            "application/json": {
                                "schema": {"oneOf": [_ref("Payment"), payments]},
                                "examples": {
                                    "one": {"value": example},
                                    "list": {"value": [example, example]},
                                },
                            }
                        },
                    },
                    "responses": {
                        "200": _answer(
                            "The answer, or a list of answers in the order of the payments",
                            {"oneOf": [_ref("Answer"), {"type": "array", "items": _ref("Answer")}]},
                        ),
                        "413": _answer("The body is too large", _ref("Refusal")),
                        "422": _answer("Every bad field with what was expected", _ref("Refusal")),
                    },
                }
            },
            "/model": {
                "get": {
                    "operationId": "model",
                    "summary": "The model in service: name, version, threshold, metrics, inputs",
                    "responses": {"200": _answer("The model", {"type": "object"})},
                }
            },
            "/health": {
                "get": {
                    "operationId": "health",
                    "summary": "Whether the service is alive",
                    "responses": {"200": _answer("It is", {"type": "object"})},
                }
            },
        },
        "components": {"schemas": schemas},
    }


def assets() -> Path:
    """The folder of Swagger UI's script and style."""
    found = find_spec("fastapi_swagger")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("fastapi_swagger")
    return Path(found.origin).parent / "resources"


PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>fraudray API</title>
<link rel="icon" href="docs/assets/favicon-32x32.png">
<link rel="stylesheet" href="docs/assets/swagger-ui.css"></head>
<body><div id="ui"></div>
<script src="docs/assets/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({url: "openapi.json", dom_id: "#ui", deepLinking: true})</script>
</body></html>
"""


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _REF.format(model=name)}


def _answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}
