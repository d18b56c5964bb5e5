"""The HTTP side of the graph: reads requests, hands columns down, answers."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from serve_app import openapi
from serve_app.contract import Answer, BadRequest, PaymentContract, Problem
from training.data import Columns, columns_of
from training.spec import DatasetSpec

MAX_BODY = 8 * 1024 * 1024
"""Bytes of a request body; 10,000 payments with every field take about 2 MB."""

Score = Callable[[Columns, str], Awaitable[list[Answer]]]
"""The graph behind the ingress: columns of n payments and the request's id to n answers."""

_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
_log = logging.getLogger("ray.serve")


def http_app(spec: DatasetSpec, about: dict[str, Any], score: Score) -> Starlette:
    """The ASGI application.

    Parameters
    ----------
    spec
        The schema of the payments in service.
    about
        What `/model` says.
    score
        The graph.
    """
    contract = PaymentContract(spec)
    document = openapi.document(contract)

    async def predict(request: Request) -> Response:
        request_id = _request_id(request)
        try:
            records, many = contract.read(await _body(request))
        except BadRequest as bad:
            return _refusal(422, bad.problems, request_id)
        answers = await score(columns_of(records, spec.inputs), request_id)
        return JSONResponse(answers if many else answers[0])

    async def model(request: Request) -> Response:
        del request
        return JSONResponse(about)

    async def health(request: Request) -> Response:
        del request
        return JSONResponse({"status": "ok"})

    async def description(request: Request) -> Response:
        del request
        return JSONResponse(document)

    async def docs(request: Request) -> Response:
        del request
        return HTMLResponse(openapi.PAGE)

    async def refused(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        reason = error.detail if isinstance(error, HTTPException) else "an internal error"
        request_id = _request_id(request)
        if status == 500:
            _log.error("request %s failed", request_id, exc_info=error)
        problem = Problem(payment=0, field="", expectation=reason, value=None)
        headers = error.headers if isinstance(error, HTTPException) else None
        return _refusal(status, [problem], request_id, headers)

    return Starlette(
        routes=[
            Route("/predict", predict, methods=["POST"]),
            Route("/model", model),
            Route("/health", health),
            Route("/openapi.json", description),
            Route("/docs", docs),
            Mount("/docs/assets", StaticFiles(directory=openapi.assets())),
        ],
        exception_handlers={HTTPException: refused, Exception: refused},
    )


async def _body(request: Request) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY:
            raise HTTPException(413, f"a body of at most {MAX_BODY:,} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def _request_id(request: Request) -> str:
    """The caller's, if it is one that can stand in a log line; else a new one.

    Ray Serve puts the caller's, or one of its own making, on every request and every response.
    """
    given = request.headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _refusal(
    status: int, problems: list[Problem], request_id: str, headers: Any = None
) -> JSONResponse:
    return JSONResponse({"detail": problems, "request_id": request_id}, status, headers=headers)
