"""Two graphs on plain Ray Serve: three stages chained once a request, and a constant.

`chain` is what Ray's documentation shows as composition, by our scoring functions: the ingress
reads a payment and passes it on, every stage's result goes straight to the next one, and nothing
is gathered. `ceiling` is a bare ASGI ingress that reads the request and always answers the same:
what no graph behind such an ingress can pass. Both run behind HAProxy in throughput-optimised mode.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

# Ray takes these from the environment when it is imported, here and in its workers.
os.environ.setdefault("RAY_SERVE_ENABLE_HA_PROXY", "1")
os.environ.setdefault("RAY_SERVE_THROUGHPUT_OPTIMIZED", "1")

import numpy as np
from numpy.typing import NDArray
from ray import serve
from ray.serve import Application
from ray.serve.config import HTTPOptions
from ray.serve.handle import DeploymentHandle
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from fraudray import runtime
from serve_app.contract import BadRequest, PaymentContract, answer_json
from training.bundle import ModelBundle
from training.data import Columns
from training.preprocess import Matrix

CONSTANT: Final = (
    b'{"request_id":"0123456789abcdef0123456789abcdef","decision":0,'
    b'"probability":0.012345678901234567,"threshold":0.3456789012345678,"model_version":"1"}'
)
QUEUE: Final = 1024  # above what 64 connections can fill, so that nothing waits for a slot
CPUS: Final = 0.2

Decided = tuple[float, int]


@serve.deployment
class Features:
    """Columns of one payment to a row of features."""

    def __init__(self, folder: str) -> None:
        self.features = ModelBundle.load(Path(folder)).features

    async def __call__(self, columns: Columns) -> Matrix:
        """Shapes (1,) to (1, d)."""
        return self.features.transform(columns)


@serve.deployment
class Model:
    """Features to a calibrated probability."""

    def __init__(self, folder: str) -> None:
        self.bundle = ModelBundle.load(Path(folder))

    async def __call__(self, matrix: Matrix) -> NDArray[np.float64]:
        """Shape (1, d) to (1,)."""
        return self.bundle.probability(matrix)


@serve.deployment
class Threshold:
    """A probability with its decision."""

    def __init__(self, folder: str) -> None:
        self.bundle = ModelBundle.load(Path(folder))

    async def __call__(self, probability: NDArray[np.float64]) -> Decided:
        """Shape (1,) to one."""
        return float(probability[0]), int(self.bundle.decide(probability)[0])


@serve.deployment
class Chain:
    """Answers HTTP, a request at a time."""

    def __init__(
        self, folder: str, features: DeploymentHandle, model: DeploymentHandle,
        threshold: DeploymentHandle,
    ) -> None:  # fmt: skip
        bundle = ModelBundle.load(Path(folder))
        self.threshold_value = bundle.choice.threshold
        self.contract = PaymentContract(bundle.spec)
        self.features, self.model, self.threshold = features, model, threshold

    async def __call__(self, request: Request) -> Response:
        """Score one payment."""
        request_id = request.headers.get("x-request-id") or uuid4().hex
        try:
            columns = self.contract.one(await request.body())
        except BadRequest as bad:
            return JSONResponse({"detail": bad.problems, "request_id": request_id}, 422)
        matrix = self.features.remote(columns)
        probability, decision = await self.threshold.remote(self.model.remote(matrix))
        body = answer_json(request_id, "1", self.threshold_value, probability, decision)
        return Response(body, media_type="application/json")


class _Constant:
    """A bare ASGI application."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the request, answer."""
        if scope["type"] != "http":
            return
        while (await receive()).get("more_body"):
            pass
        headers = [(b"content-type", b"application/json"),
                   (b"content-length", b"%d" % len(CONSTANT))]  # fmt: skip
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": CONSTANT})


@serve.deployment
@serve.ingress(_Constant())
class Ceiling:
    """An ingress with no graph behind it."""


def chain(folder: str, ingress: int, stages: int) -> Application:
    """The composition with so many replicas."""
    settings = _replicas(stages)
    deployments: list[Any] = [Features, Model, Threshold]
    bound = [stage.options(**settings).bind(folder) for stage in deployments]
    return Chain.options(**_replicas(ingress)).bind(folder, *bound)  # type: ignore[attr-defined]


def _replicas(count: int) -> dict[str, Any]:
    return {"num_replicas": count, "max_ongoing_requests": QUEUE,
            "ray_actor_options": {"num_cpus": CPUS}}  # fmt: skip


def main() -> None:
    """Serve until a signal."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("graph", choices=["chain", "ceiling"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ingress", type=int, default=1, help="replicas of the ingress")
    parser.add_argument("--stages", type=int, default=1, help="replicas of every other stage")
    given = parser.parse_args()
    if given.graph == "chain":
        graph = chain(os.environ["BENCH_BUNDLE"], given.ingress, given.stages)
    else:
        graph = Ceiling.options(**_replicas(given.ingress)).bind()  # type: ignore[attr-defined]
    runtime.prepare()
    with runtime.stoppable():
        try:
            # As for the graph: with HAProxy.
            runtime.start_ray(dashboard_port=runtime.free_ports(1)[0])
            serve.start(
                proxy_location="HeadOnly",
                http_options=HTTPOptions(host="127.0.0.1", port=given.port),
                logging_config={"enable_access_log": False},
            )
            serve.run(graph)
            runtime.wait_for_signal()
        finally:
            runtime.stop_ray(serving=True)


if __name__ == "__main__":
    main()
