"""The HTTP side of the graph: reads requests, hands columns down, answers.

Plain ASGI: routing through a framework would take as long as scoring a payment does.
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Any

from pydantic_core import to_json
from starlette.types import Receive, Scope, Send

from serve_app import arrow, openapi
from serve_app.contract import (
    MAX_PROBLEMS,
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
from serve_app.decisions import Feedback
from serve_app.graph import Graph, Outcome, situation
from serve_app.http import JSON, Handler, Reply, Request, begun, body, file, lifespan, respond
from serve_app.keys import Keys
from serve_app.refusals import Refused, reason, refusal, undone

_ADMIN = "/v1/admin/"
_TYPED = (_ADMIN, "/v1/feedback")
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_ASSETS = (".css", ".js", ".png")
_log = logging.getLogger("ray.serve")


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
        get |= {route: file(path) for route, path in assets.items()}
        self._open = {"/health", "/ready", "/docs", "/openapi.json", *assets}
        self._routes = {path: ("POST", handler) for path, handler in post.items()}
        self._routes |= {path: ("GET", handler) for path, handler in get.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, as ASGI has it."""
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = begun(scope)
        status, headers = 200, {}
        try:
            handler = self._route(scope["method"], request.path)
            self._admit(request)
            if scope["method"] == "POST":
                request.body = await body(receive, request.kind)
            reply = await handler(request)
        except Exception as error:  # whatever happens, the caller gets an answer
            refused = refusal(error, request.id)
            status, headers = refused.status, refused.headers
            told = {"detail": refused.problems, "request_id": request.id}
            reply = Reply(to_json(told, inf_nan_mode="constants"))
            self._graph.ledger.refused(reason(error, status))
        route = request.path if request.path in self._routes else "other"
        seconds = asyncio.get_running_loop().time() - request.began
        self._graph.ledger.answered(route, status, seconds)
        await respond(send, reply, status, headers)

    def _route(self, method: str, path: str) -> Handler:
        found = self._routes.get(path)
        if found is None:
            raise Refused.because(404, "a path of this service; /docs lists them")
        if method not in (found[0], "HEAD" if found[0] == "GET" else found[0]):
            raise Refused.because(405, f"method {found[0]}", Allow=found[0])
        return found[1]

    def _admit(self, request: Request) -> None:
        # What a probe and a reader of the interface need tells nothing of a payment or a decision.
        if self._keys is None:
            # Who has got a browser to take this machine for a site of theirs calls it by that name.
            host = re.sub(r":\d+$", "", request.headers.get("host", ""))
            if host not in _LOOPBACK:
                raise Refused.because(403, f"a request to {' or '.join(_LOOPBACK)}")
            return
        if request.path in self._open:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        role = self._keys.role(given.strip() if scheme.lower() == "bearer" else None)
        if role is None:
            raise Refused.because(
                401, "a key of this service: Authorization: Bearer KEY", WWW_Authenticate="Bearer"
            )
        if request.path.startswith(_ADMIN) and role != "operator":
            raise Refused.because(403, "an operator's key")

    async def _predict(self, request: Request) -> Reply:
        _require(request, JSON)
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
        kind = _require(request, JSON, arrow.MEDIA_TYPE)
        chosen = self._graph.choose(request.headers.get("x-sticky-key", request.id))
        entry = chosen.entry
        if kind == JSON:
            columns = entry.contract.many(request.body)
        else:
            columns = await asyncio.to_thread(arrow.read, request.body, entry.contract.spec)
        rows = len(next(iter(columns.values())))
        probability, decision = await self._graph.score(
            chosen, columns, rows, request.id, request.began + self._deadline
        )
        version, threshold = entry.reference.version, entry.threshold
        if kind == JSON:
            return Reply(answers_json(request.id, version, threshold, probability, decision))
        body = arrow.write(probability, decision, request.id, version, threshold)
        return Reply(body, arrow.MEDIA_TYPE)

    async def _explain(self, request: Request) -> Reply:
        _require(request, JSON)
        chosen = self._graph.choose(request.headers.get("x-sticky-key", request.id))
        columns = chosen.entry.contract.one(request.body)
        deadline = request.began + self._deadline
        probability, decision = await self._graph.score(chosen, columns, 1, request.id, deadline)
        left = deadline - asyncio.get_running_loop().time()
        (why,) = await asyncio.wait_for(self._graph.explain(chosen, columns), max(left, 0))
        answer = {
            "request_id": request.id,
            "decision": int(decision[0]),
            "probability": float(probability[0]),
            "threshold": chosen.entry.threshold,
            "model_version": chosen.entry.reference.version,
            **why,
        }
        return Reply(to_json(answer))

    async def _feedback(self, request: Request) -> Reply:
        _require(request, JSON)
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
        read_body(Rollback, request.body)
        return await self._carried_out(request, "rollback", {})

    async def _threshold(self, request: Request) -> Reply:
        order = read_body(NewThreshold, request.body)
        return await self._carried_out(request, "threshold", order.model_dump())

    async def _challenger(self, request: Request) -> Reply:
        order = read_body(NewChallenger, request.body)
        return await self._carried_out(request, "challenger", order.model_dump())

    async def _carried_out(self, request: Request, kind: str, what: dict[str, Any]) -> Reply:
        _require(request, JSON)
        outcome: Outcome = await self._graph.orders.order(kind, what)
        _log.warning("order %s %s: %s %s", kind, what, outcome.status, outcome.reason)
        if outcome.status != 200:
            raise undone(outcome)
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
            raise undone(history)
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


def _require(request: Request, *kinds: str) -> str:
    """The content type; JSON where none was given, but not with what changes something.

    A page of somebody else, open in an operator's browser, can send what has no type or a plain
    one. It cannot send JSON without asking first.
    """
    kind = request.kind or ("" if request.path.startswith(_TYPED) else JSON)
    if kind not in kinds:
        raise Refused.because(415, f"content type {' or '.join(kinds)}")
    return kind
