"""What the page tells Prometheus of itself, at /metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
VIEWS = Counter("fraudray_page_views", "Pages opened", ["page"], registry=REGISTRY)
SCORES = Counter("fraudray_page_scores", "Payments sent to be scored", ["page"], registry=REGISTRY)
ERRORS = Counter(
    "fraudray_page_errors", "What a person was told instead of an answer", ["kind"],
    registry=REGISTRY,
)  # fmt: skip
UPSTREAM = Histogram(
    "fraudray_page_upstream_seconds", "Time that the graph or MLflow took to answer", ["upstream"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10), registry=REGISTRY,
)  # fmt: skip


def respond(request: Request) -> Response:
    """All of it, in the text format of Prometheus."""
    del request
    return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)
