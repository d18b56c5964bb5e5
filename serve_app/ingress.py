"""The HTTP side of the graph: reads requests, hands columns down, answers.

Plain ASGI: routing through a framework would take as long as scoring a payment does.
"""

from __future__ import annotations

import asyncio
import logging
import mimetypes
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic_core import to_json
from starlette.types import Receive, Scope, Send

from serve_app import arrow, openapi
from serve_app.calls import Overloaded, TooLate
from serve_app.contract import (
    MAX_PROBLEMS,
    BadRequest,
    NewChallenger,
    NewThreshold,
    Problem,
    Promote,
    Rollback,
    answer_json,
    answers_json,
    read_body,
    read_feedback,
)
from serve_app.decisions import Feedback, StoreAway
from serve_app.graph import Graph, NotReady, Outcome, situation
from serve_app.keys import Keys

MAX_BODY: Final = 8 * 1024 * 1024
"""Bytes of a JSON body; 10,000 payments with every field take about 2 MB."""
MAX_ARROW: Final = 32 * 1024 * 1024
"""Bytes of an Arrow body."""
BODY_SECONDS: Final = 10.0
"""Seconds that a body may take to arrive."""

_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
_JSON = "application/json"
_ADMIN = "/v1/admin/"
_TYPED = (_ADMIN, "/v1/feedback")
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_ASSETS = (".css", ".js", ".png")
_log = logging.getLogger("ray.serve")


class Refused(Exception):
    """An answer that is no 200."""

    def __init__(
        self, status: int, problems: list[Problem], headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status)
        self.status = status
        self.problems = problems
        self.headers = dict(headers or {})

    @classmethod
    def because(cls, status: int, expectation: str, **headers: str) -> Refused:
        """With one reason that is about no field."""
        problem = Problem(payment=0, field="", expectation=expectation, value=None)
        return cls(status, [problem], {n.replace("_", "-"): v for n, v in headers.items()})


@dataclass
class Request:
    """One request, its body read."""

    id: str
    path: str
    headers: dict[str, str]
    body: bytes
    began: float

    @property
    def kind(self) -> str:
        """Its content type without parameters, in small letters; empty if none was given."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True)
class Reply:
    """An answer's body."""

    body: bytes
    kind: str = _JSON


Handler = Callable[[Request], Awaitable[Reply]]


class Http:
    """The ASGI application of an ingress.

    Parameters
    ----------
    graph
        What answers.
    keys
        Who may ask; None where everybody may, which is for loopback only.
    deadline
        Seconds within which a request is answered.
    """

    def __init__(self, graph: Graph, keys: Keys | None, deadline: float) -> None:
        self._graph = graph
        self._keys = keys
        self._deadline = deadline
        post: dict[str, Handler] = {
            "/v1/predict": self._predict,
            "/predict": self._predict_either,
            "/v1/predict/batch": self._batch,
            "/v1/explain": self._explain,
            "/v1/feedback": self._feedback,
            "/v1/admin/promote": self._promote,
            "/v1/admin/rollback": self._rollback,
            "/v1/admin/threshold": self._threshold,
            "/v1/admin/challenger": self._challenger,
        }
        get: dict[str, Handler] = {
            "/v1/model": self._model,
            "/model": self._model,
            "/v1/stats": self._stats,
            "/v1/admin/history": self._history,
            "/health": self._health,
            "/ready": self._ready,
            "/openapi.json": self._document,
            "/docs": self._docs,
        }
        found = (path for path in openapi.assets().iterdir() if path.suffix in _ASSETS)
        assets = {f"/docs/assets/{path.name}": path for path in found}
        get |= {route: _file(path) for route, path in assets.items()}
        self._open = {"/health", "/ready", "/docs", "/openapi.json", *assets}
        self._routes = {path: ("POST", handler) for path, handler in post.items()}
        self._routes |= {path: ("GET", handler) for path, handler in get.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, as ASGI has it."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = asyncio.get_running_loop().time()
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        path = scope["path"]
        request = Request(_request_id(headers), path, headers, b"", began)
        status, extra = 200, {}
        try:
            handler = self._route(scope["method"], path)
            self._admit(path, headers)
            if scope["method"] == "POST":
                request.body = await _body(receive, request.kind)
            reply = await handler(request)
        except Exception as error:  # whatever happens, the caller gets an answer
            refused = _refusal(error, request)
            status, extra = refused.status, refused.headers
            reply = Reply(to_json({"detail": refused.problems, "request_id": request.id},
                                  inf_nan_mode="constants"))  # fmt: skip
            self._graph.ledger.refused(_reason(error, status))
        route = path if path in self._routes else "other"
        self._graph.ledger.answered(route, status, asyncio.get_running_loop().time() - began)
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    (b"content-type", reply.kind.encode()),
                    (b"content-length", str(len(reply.body)).encode()),
                    (b"x-request-id", request.id.encode()),
                    *((k.lower().encode(), v.encode()) for k, v in extra.items()),
                ],
            }
        )
        await send({"type": "http.response.body", "body": reply.body})

    def _route(self, method: str, path: str) -> Handler:
        found = self._routes.get(path)
        if found is None:
            raise Refused.because(404, "a path of this service; /docs lists them")
        if method not in (found[0], "HEAD" if found[0] == "GET" else found[0]):
            raise Refused.because(405, f"method {found[0]}", Allow=found[0])
        return found[1]

    def _admit(self, path: str, headers: Mapping[str, str]) -> None:
        # What a probe and a reader of the interface need tells nothing of a payment or a decision.
        if self._keys is None:
            # Who has got a browser to take this machine for a site of theirs calls it by that name.
            host = re.sub(r":\d+$", "", headers.get("host", ""))
            if host not in _LOOPBACK:
                raise Refused.because(403, f"a request to {' or '.join(_LOOPBACK)}")
            return
        if path in self._open:
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        role = self._keys.role(given.strip() if scheme.lower() == "bearer" else None)
        if role is None:
            raise Refused.because(
                401, "a key of this service: Authorization: Bearer KEY", WWW_Authenticate="Bearer"
            )
        if path.startswith(_ADMIN) and role != "operator":
            raise Refused.because(403, "an operator's key")

    async def _predict(self, request: Request) -> Reply:
        _require(request, _JSON)
        chosen = self._graph.choose(request.headers.get("x-sticky-key", request.id))
        columns = chosen.entry.contract.one(request.body)
        probability, decision = await self._graph.score(
            chosen, columns, 1, request.id, request.began + self._deadline
        )
        entry = chosen.entry
        return Reply(
            answer_json(request.id, entry.reference.version, entry.threshold,
                        float(probability[0]), int(decision[0]))
        )  # fmt: skip

    async def _predict_either(self, request: Request) -> Reply:
        many = request.body.lstrip()[:1] == b"["
        return await (self._batch if many else self._predict)(request)

    async def _batch(self, request: Request) -> Reply:
        kind = _require(request, _JSON, arrow.MEDIA_TYPE)
        chosen = self._graph.choose(request.headers.get("x-sticky-key", request.id))
        entry = chosen.entry
        if kind == _JSON:
            columns = entry.contract.many(request.body)
        else:
            columns = await asyncio.to_thread(arrow.read, request.body, entry.contract.spec)
        rows = len(next(iter(columns.values())))
        probability, decision = await self._graph.score(
            chosen, columns, rows, request.id, request.began + self._deadline
        )
        version, threshold = entry.reference.version, entry.threshold
        if kind == _JSON:
            return Reply(answers_json(request.id, version, threshold, probability, decision))
        body = arrow.write(probability, decision, request.id, version, threshold)
        return Reply(body, arrow.MEDIA_TYPE)

    async def _explain(self, request: Request) -> Reply:
        _require(request, _JSON)
        chosen = self._graph.choose(request.headers.get("x-sticky-key", request.id))
        columns = chosen.entry.contract.one(request.body)
        deadline = request.began + self._deadline
        probability, decision = await self._graph.score(chosen, columns, 1, request.id, deadline)
        left = deadline - asyncio.get_running_loop().time()
        (reasons,) = await asyncio.wait_for(self._graph.reasons(chosen, columns), max(left, 0))
        answer = {
            "request_id": request.id,
            "decision": int(decision[0]),
            "probability": float(probability[0]),
            "threshold": chosen.entry.threshold,
            "model_version": chosen.entry.reference.version,
            "reasons": reasons,
        }
        return Reply(to_json(answer))

    async def _feedback(self, request: Request) -> Reply:
        _require(request, _JSON)
        labels = [
            Feedback(f.request_id, int(f.label), f.payment, f.at.timestamp() if f.at else None)
            for f in read_feedback(request.body)
        ]
        unknown = await self._graph.feedback(labels)
        if unknown:
            places = {label: place for place, label in enumerate(labels)}
            wanted = "the request id, and the payment's place, of a decision that was made here"
            problems = [
                Problem(payment=places[label], field="request_id", expectation=wanted,
                        value=f"{label.request_id} ({label.payment})")
                for label in unknown[:MAX_PROBLEMS]
            ]  # fmt: skip
            raise Refused(404, problems)
        return Reply(to_json({"recorded": len(labels), "request_id": request.id}))

    async def _promote(self, request: Request) -> Reply:
        order = read_body(Promote, request.body)
        return await self._carried_out(request, "promote", order.model_dump())

    async def _rollback(self, request: Request) -> Reply:
        read_body(Rollback, request.body or b"{}")
        return await self._carried_out(request, "rollback", {})

    async def _threshold(self, request: Request) -> Reply:
        order = read_body(NewThreshold, request.body)
        return await self._carried_out(request, "threshold", order.model_dump())

    async def _challenger(self, request: Request) -> Reply:
        order = read_body(NewChallenger, request.body)
        return await self._carried_out(request, "challenger", order.model_dump())

    async def _carried_out(self, request: Request, kind: str, what: dict[str, Any]) -> Reply:
        _require(request, _JSON)
        outcome: Outcome = await self._graph.orders.order(kind, what)
        _log.warning("order %s %s: %s %s", kind, what, outcome.status, outcome.reason)
        if outcome.status != 200:
            raise _undone(outcome)
        champion = outcome.plan.champion
        answer = situation(outcome.plan) | {
            "version": champion and champion.version,
            "request_id": request.id,
        }
        return Reply(to_json(answer))

    async def _history(self, request: Request) -> Reply:
        del request
        history = await self._graph.orders.history()
        if isinstance(history, Outcome):
            raise _undone(history)
        return Reply(to_json(history))

    async def _model(self, request: Request) -> Reply:
        del request
        return Reply(to_json(self._graph.model()))

    async def _stats(self, request: Request) -> Reply:
        del request
        return Reply(to_json(await self._graph.stats()))

    async def _health(self, request: Request) -> Reply:
        del request
        return Reply(b'{"status":"ok"}')

    async def _ready(self, request: Request) -> Reply:
        del request
        await self._graph.ready()
        return Reply(b'{"status":"ready"}')

    async def _document(self, request: Request) -> Reply:
        del request
        return Reply(to_json(openapi.document(self._graph.choose("").entry.contract)))

    async def _docs(self, request: Request) -> Reply:
        del request
        return Reply(openapi.PAGE.encode(), "text/html; charset=utf-8")


def _file(path: Path) -> Handler:
    async def handler(request: Request) -> Reply:
        del request
        kind, _ = mimetypes.guess_type(path.name)
        return Reply(path.read_bytes(), kind or "application/octet-stream")

    return handler


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _body(receive: Receive, kind: str) -> bytes:
    most = MAX_ARROW if kind == arrow.MEDIA_TYPE else MAX_BODY
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refused.because(400, "a whole body")
                chunk = message.get("body", b"")
                size += len(chunk)
                if size > most:
                    raise Refused.because(413, f"a body of at most {most:,} bytes")
                chunks.append(chunk)
                if not message.get("more_body", False):
                    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
    except TimeoutError:
        raise Refused.because(408, f"a whole body within {BODY_SECONDS:g} s") from None


def _request_id(headers: Mapping[str, str]) -> str:
    """The caller's, if it is one that can stand in a log line; else a new one."""
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _require(request: Request, *kinds: str) -> str:
    """The content type; JSON where none was given, but not with what changes something.

    A page of somebody else, open in an operator's browser, can send what has no type or a plain
    one. It cannot send JSON without asking first.
    """
    kind = request.kind or ("" if request.path.startswith(_TYPED) else _JSON)
    if kind not in kinds:
        raise Refused.because(415, f"content type {' or '.join(kinds)}")
    return kind


def _refusal(error: Exception, request: Request) -> Refused:
    match error:
        case Refused():
            return error
        case BadRequest():
            return Refused(422, error.problems)
        case Overloaded():
            return Refused.because(503, f"less to do: {error}", Retry_After="1")
        case NotReady():
            return Refused.because(503, f"a graph that is ready: {error}", Retry_After="2")
        case StoreAway():
            return Refused.because(503, "a decision log that answers", Retry_After="2")
        case TooLate() | TimeoutError():
            return Refused.because(504, "an answer in time; there was none")
    _log.error("request %s failed", request.id, exc_info=error)
    return Refused.because(500, "an internal error; the log has it under the request id")


def _undone(outcome: Outcome) -> Refused:
    headers = {"Retry_After": "2"} if outcome.status == 503 else {}
    return Refused.because(outcome.status, outcome.reason, **headers)


def _reason(error: Exception, status: int) -> str:
    match error:
        case BadRequest():
            return "invalid"
        case NotReady():
            return "not-ready"
        case StoreAway():
            return "decision-log"
    return {
        401: "key", 403: "key", 404: "unknown", 405: "method", 408: "slow", 413: "too-large",
        415: "content-type", 503: "overload", 504: "deadline",
    }.get(status, "error")  # fmt: skip
