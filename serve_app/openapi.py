"""The OpenAPI document and its page, served without a request to anywhere else."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from serve_app.arrow import MAX_ROWS, MEDIA_TYPE
from serve_app.contract import (
    MAX_PAYMENTS,
    Answer,
    Explained,
    Feedback,
    NewChallenger,
    NewThreshold,
    PaymentContract,
    Problem,
    Promote,
    Rollback,
)
from serve_app.orders import MAX_FEEDBACK
from training.home import VERSION

_JSON = "application/json"
_KINDS: tuple[Any, ...] = (
    Answer, Explained, Problem, Feedback, Promote, Rollback, NewThreshold, NewChallenger,
)  # fmt: skip

_REFUSALS = {
    400: "The body broke off",
    401: "No key, or one that is not known; only where keys are required",
    403: "A caller's key where an operator's is needed; without keys, a request to another host",
    404: "What is named is not known",
    408: "The body took too long to arrive",
    409: "The order is refused, with the reason",
    413: "The body is too large",
    415: "Another content type than those above",
    422: "Every bad field with what was expected",
    503: "Too busy, or not ready yet: try again after Retry-After seconds",
    504: "No answer in time",
}
_BODY = (400, 408, 413, 415, 422)
_SCORING = (401, *_BODY, 503, 504)
_ORDERS = (401, 404, 409, *_BODY, 503, 504)


def document(contract: PaymentContract) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the graph's HTTP interface."""
    example = {
        name: column.example
        for name, column in contract.spec.inputs.items()
        if column.example is not None
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "fraudray",
            "version": VERSION,
            "description": "Scores payments. Send X-Request-ID to find your request again. "
            "A path that is not here answers 404, another method 405.",
        },
        "security": [{}, {"key": []}],
        "paths": _scoring(example) | _telling() | _ordering() | _open(),
        "components": {
            "schemas": _schemas(contract),
            "parameters": _PARAMETERS,
            "headers": _HEADERS,
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Needed unless the service listens on loopback only. The role "
                    "is caller, or operator for the paths below /v1/admin.",
                }
            },
        },
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


def _ref(name: str, kind: str = "schemas") -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}


def _list(of: dict[str, Any], most: int | None = None) -> dict[str, Any]:
    limits = {} if most is None else {"minItems": 1, "maxItems": most}
    return {"type": "array", "items": of} | limits


def _object(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(fields), "properties": fields}


_TEXT, _NUMBER, _COUNT = {"type": "string"}, {"type": "number"}, {"type": "integer"}
_NULL = {"type": "null"}
_CHALLENGER = {
    "anyOf": [_object(version=_TEXT, mode={"enum": ["shadow", "share"]}, share=_NUMBER), _NULL]
}
_MODEL = _object(
    name=_TEXT, version=_TEXT, family=_TEXT, smote={}, policy=_TEXT, threshold=_NUMBER,
    metrics={"type": "object"}, fingerprint={}, excluded={}, inputs=_list({"type": "object"}),
    examples=_list(_object(kind=_TEXT, label=_COUNT, payment={"type": "object"})),
    challenger=_CHALLENGER, failed=_list(_object(version=_TEXT, reason=_TEXT, at={})),
)  # fmt: skip
_SHIFT: dict[str, Any] = {
    "psi": _NUMBER, "chance": _NUMBER, "level": {"enum": ["steady", "moderate", "large"]},
    "rows": _COUNT, "bin": _TEXT, "share": _NUMBER, "expected_share": _NUMBER, "told": _TEXT,
}  # fmt: skip
_SHARE = {"type": ["number", "null"]}
_FIELD = _object(
    name=_TEXT, **_SHIFT, missing=_NUMBER, expected_missing=_NUMBER, other=_SHARE,
    expected_other=_SHARE,
)  # fmt: skip
_DRIFT = _object(
    version=_TEXT, seconds=_COUNT, rows=_COUNT, score={"anyOf": [_object(**_SHIFT), _NULL]},
    fields=_list(_FIELD), skipped=_list(_TEXT), limits=_object(moderate=_NUMBER, large=_NUMBER),
)  # fmt: skip
_STATS = _object(
    seconds=_NUMBER, requests={"type": "object"}, refused={"type": "object"},
    decisions={"type": "object"}, alert_rate={"type": ["number", "null"]},
    latency_ms={"type": "object"}, scores=_object(edges=_list(_NUMBER), counts={"type": "object"}),
    timeline=_list({"type": "object"}), shadow=_list({"type": "object"}),
    drift={"anyOf": [_DRIFT, _NULL]},
)  # fmt: skip
_HISTORY = _list(_object(at=_TEXT, version=_TEXT, action=_TEXT, reason=_TEXT))
_ORDERED = _object(version=_TEXT, challenger=_CHALLENGER, request_id=_TEXT)


def _schemas(contract: PaymentContract) -> dict[str, Any]:
    schemas: dict[str, Any] = {"Payment": contract.payment} | {k.__name__: k for k in _KINDS}
    for name, kind in list(schemas.items()):
        schema = TypeAdapter(kind).json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schema.pop("$defs", {})
        schemas[name] = schema
    schemas["Refusal"] = _object(detail=_list(_ref("Problem")), request_id=_TEXT)
    return schemas


_PARAMETERS = {
    "RequestId": {
        "name": "X-Request-ID",
        "in": "header",
        "schema": _TEXT,
        "description": "Told again in the answer and kept with the decision, if it is 1 to 128 "
        "printable ASCII characters; else a new one is made.",
    },
    "StickyKey": {
        "name": "X-Sticky-Key",
        "in": "header",
        "schema": _TEXT,
        "description": "While a challenger takes a share of the traffic, requests with the same "
        "key meet the same version. Without it, the request's id is the key.",
    },
}
_HEADERS = {
    "RequestId": {"description": "The request's id", "required": True, "schema": _TEXT},
    "RetryAfter": {"description": "Seconds to wait", "required": True, "schema": _TEXT},
    "WwwAuthenticate": {"description": "Bearer", "required": True, "schema": _TEXT},
}
_OWN_HEADERS = {401: {"WWW-Authenticate": "WwwAuthenticate"}, 503: {"Retry-After": "RetryAfter"}}


def _answer(description: str, content: dict[str, Any], status: int = 200) -> dict[str, Any]:
    names = {"X-Request-ID": "RequestId", **_OWN_HEADERS.get(status, {})}
    headers = {name: _ref(header, "headers") for name, header in names.items()}
    return {"description": description, "headers": headers, "content": content}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {_JSON: {"schema": schema}}


def _operation(
    identity: str,
    summary: str,
    content: dict[str, Any],
    refusals: tuple[int, ...],
    *,
    body: dict[str, Any] | None = None,
    sticky: bool = False,
) -> dict[str, Any]:
    parameters = ["RequestId", "StickyKey"] if sticky else ["RequestId"]
    responses = {"200": _answer("The answer", content)} | {
        str(status): _answer(_REFUSALS[status], _json(_ref("Refusal")), status)
        for status in sorted({403, *refusals})
    }
    operation = {
        "operationId": identity,
        "summary": summary,
        "parameters": [_ref(name, "parameters") for name in parameters],
        "responses": responses,
    }
    return operation | ({"requestBody": {"required": True, "content": body}} if body else {})


def _body(schema: dict[str, Any], **examples: Any) -> dict[str, Any]:
    named = {name: {"value": value} for name, value in examples.items()}
    return {_JSON: {"schema": schema, "examples": named}}


def _scoring(example: dict[str, Any]) -> dict[str, Any]:
    one, answer = _ref("Payment"), _ref("Answer")
    several, answers = _list(one, MAX_PAYMENTS), _list(answer)
    stream = {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}
    both = [example, example]
    first, all_ = _body(one, one=example), _body(several, list=both)
    either = _body({"oneOf": [one, several]}, one=example, list=both)
    predict = _operation(
        "predict", "Score one payment", _json(answer), _SCORING, body=first, sticky=True
    )
    batch = _operation(
        "predict_batch",
        f"Score a JSON list of up to {MAX_PAYMENTS:,} payments, or an Arrow stream of up to "
        f"{MAX_ROWS:,} rows; answers come in the same order and form",
        _json(answers) | stream, _SCORING, body=all_ | stream, sticky=True,
    )  # fmt: skip
    short = _operation(
        "predict_either", "Score one payment, or a list of them",
        _json({"oneOf": [answer, answers]}), _SCORING, body=either, sticky=True,
    )  # fmt: skip
    explain = _operation(
        "explain", "Score one payment and say what moved it and what would turn it",
        _json(_ref("Explained")), _SCORING, body=first, sticky=True,
    )  # fmt: skip
    return {
        "/v1/predict": {"post": predict},
        "/v1/predict/batch": {"post": batch},
        "/predict": {"post": short},
        "/v1/explain": {"post": explain},
    }


def _telling() -> dict[str, Any]:
    model = "The model in service: who it is, how it decides, how it measured, what it reads"
    away = (401, 503, 504)
    label, labels = _ref("Feedback"), _list(_ref("Feedback"), MAX_FEEDBACK)
    told = {"request_id": "order-17", "label": 1, "at": "2026-01-31T12:00:00Z"}
    feedback = _operation(
        "feedback", "Tell the true labels of payments that were decided on; those of a list whose "
        "decision is known are kept even if others are not",
        _json(_object(recorded=_COUNT, request_id=_TEXT)), (401, 404, *_BODY, 503, 504),
        body=_body({"oneOf": [label, labels]}, one=told, list=[told | {"payment": 0, "label": 0}]),
    )  # fmt: skip
    return {
        "/v1/model": {"get": _operation("model", model, _json(_MODEL), (401, 503))},
        "/model": {"get": _operation("model_short", model, _json(_MODEL), (401, 503))},
        "/v1/feedback": {"post": feedback},
        "/v1/stats": {"get": _operation("stats", "The last 15 minutes", _json(_STATS), away)},
    }


def _ordering() -> dict[str, Any]:
    def order(name: str, summary: str, kind: str, **examples: Any) -> Any:
        body = _body(_ref(kind), **examples)
        return {"post": _operation(name, summary, _json(_ORDERED), _ORDERS, body=body)}

    return {
        "/v1/admin/promote": order(
            "promote", "Make a version the champion", "Promote", version={"version": "3"}
        ),
        "/v1/admin/rollback": order(
            "rollback", "Give the version before its place back", "Rollback", nothing={}
        ),
        "/v1/admin/threshold": order(
            "threshold", "Decide by another threshold or policy, as a new version", "NewThreshold",
            threshold={"threshold": 0.4}, policy={"policy": "recall>=0.9"},
        ),
        "/v1/admin/challenger": order(
            "challenger", "Let a version score beside the champion, or none", "NewChallenger",
            shadow={"version": "4", "mode": "shadow"}, none={"version": None},
            share={"version": "4", "mode": "share", "share": 0.1},
        ),
        "/v1/admin/history": {
            "get": _operation(
                "history", "What was changed, the newest first", _json(_HISTORY),
                (401, 503, 504),
            )
        },
    }  # fmt: skip


def _open() -> dict[str, Any]:
    status = _json(_object(status=_TEXT))
    health = _operation("health", "Whether the service is alive", status, ())
    ready = _operation("ready", "Whether it can answer", status, (503,))
    found = {"/health": health, "/ready": ready}
    return {path: {"get": operation | {"security": []}} for path, operation in found.items()}
