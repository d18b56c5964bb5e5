"""FastAPI around our own scoring function: what serving takes without a graph.

As quick as FastAPI gets: the endpoint is async, since a score is shorter than a turn of a thread,
and reads and writes JSON by our contract instead of FastAPI's models. Run by uvicorn; see
serving_servers.py.
"""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from serve_app.contract import BadRequest, PaymentContract, answer_json
from training.bundle import ModelBundle

app = FastAPI()
_bundle = ModelBundle.load(Path(os.environ["BENCH_BUNDLE"]))
_contract = PaymentContract(_bundle.spec)


@app.post("/predict")
async def predict(request: Request) -> Response:
    """Score one payment."""
    request_id = request.headers.get("x-request-id") or uuid4().hex
    try:
        columns = _contract.one(await request.body())
    except BadRequest as bad:
        return JSONResponse({"detail": bad.problems, "request_id": request_id}, 422)
    probability = _bundle.score(columns)
    decision = _bundle.decide(probability)
    body = answer_json(request_id, "1", _bundle.choice.threshold, probability[0], decision[0])
    return Response(body, media_type="application/json")
