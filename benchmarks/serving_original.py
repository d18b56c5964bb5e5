"""The original design as a server: FastAPI, a pydantic model, pandas, a scikit-learn pipeline.

Written with care for what it is: the pipeline is loaded once, the estimator has one thread, a
payment becomes a frame of typed columns directly, and the endpoint is a plain function, which
FastAPI runs in its pool of threads. Run by uvicorn; see serving_servers.py.
"""

# ruff: noqa: N815 - the fields are called as in the file of payments
from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import uuid4

import anyio.to_thread
import joblib  # type: ignore[import-untyped]
import numpy as np
import pandas as pd
from fastapi import FastAPI, Header
from pydantic import BaseModel, ConfigDict, Field

from training.bundle import ModelBundle


class Payment(BaseModel):
    """One payment, as the original project would have written it down."""

    model_config = ConfigDict(extra="forbid")

    accountAgeDays: int = Field(ge=0)
    numItems: int = Field(ge=0)
    localTime: float = Field(ge=0, le=24)
    paymentMethod: Literal["creditcard", "paypal", "storecredit"]
    paymentMethodAgeDays: float = Field(ge=0)
    Category: Literal["electronics", "food", "shopping"] | None = None
    isWeekend: bool | None = None
    amount: float | None = Field(default=None, ge=0)


class Answer(BaseModel):
    """The same answer as ours."""

    request_id: str
    decision: int
    probability: float
    threshold: float
    model_version: str


@asynccontextmanager
async def _few_threads(app: FastAPI) -> AsyncIterator[None]:
    del app
    anyio.to_thread.current_default_thread_limiter().total_tokens = int(os.environ["BENCH_THREADS"])
    yield


app = FastAPI(lifespan=_few_threads)
_pipeline = joblib.load(os.environ["BENCH_PIPELINE"])
_bundle = ModelBundle.load(Path(os.environ["BENCH_BUNDLE"]))
_texts = {n for n, column in _bundle.spec.inputs.items() if column.type == "category"}


@app.post("/predict")
def predict(payment: Payment, x_request_id: Annotated[str | None, Header()] = None) -> Answer:
    """Score one payment."""
    values = payment.model_dump()
    row = pd.DataFrame({name: _column(name, values[name]) for name in _bundle.features.inputs_})
    raw = _pipeline.predict_proba(row)[:, 1]
    probability = float(_bundle.calibration.probability(raw.astype(np.float64))[0])
    threshold = _bundle.choice.threshold
    return Answer(
        request_id=x_request_id or uuid4().hex,
        decision=int(probability >= threshold),
        probability=probability,
        threshold=threshold,
        model_version="1",
    )


def _column(name: str, value: Any) -> Any:
    if name in _texts:
        return np.array([value], object)
    return np.array([np.nan if value is None else value], np.float64)
