"""What replicas tell of their own work, and the rollout of all of them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import get_args

from prometheus_client import CollectorRegistry, Histogram, Metric

from serve_app.metrics.families import counter, gauge
from serve_app.rollout import Rollout
from serve_app.versions import Reference, Stage

_SECONDS = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
_PAYMENTS = tuple(2**i for i in range(13))


class Work:
    """Calls of one stage's replica: what each took by itself, and how many payments it brought."""

    def __init__(self, stage: Stage) -> None:
        self._registry = CollectorRegistry()
        self._seconds = Histogram(
            "fraudray_stage_seconds", "Own work of a call, without the stages behind it",
            ("stage",), registry=self._registry, buckets=_SECONDS,
        ).labels(stage)  # fmt: skip
        self._payments = Histogram(
            "fraudray_stage_payments", "Payments of a call",
            ("stage",), registry=self._registry, buckets=_PAYMENTS,
        ).labels(stage)  # fmt: skip

    @contextmanager
    def on(self, payments: int) -> Iterator[None]:
        """Count the block as the work on so many payments; one that fails is not counted."""
        began = time.perf_counter()
        yield
        self._seconds.observe(time.perf_counter() - began)
        self._payments.observe(payments)

    def metrics(self) -> Iterable[Metric]:
        """Both histograms."""
        return self._registry.collect()


def of_ingress(requests: int, payments: int) -> Iterator[Metric]:
    """Of what waits at one ingress."""
    yield gauge("waiting_requests", "Requests that no call has taken yet", (), {(): requests})
    yield gauge("waiting_payments", "Payments that no call has taken yet", (), {(): payments})


def of_rollout(rollout: Rollout, *, registry_up: bool) -> Iterator[Metric]:
    """Of versions and the replicas that hold them."""
    plan, stages = rollout.plan, get_args(Stage)
    rival = plan.challenger.reference if plan.challenger else None
    replicas, lacking, followed = rollout.replicas, rollout.lacking, rollout.followed
    yield gauge(
        "model_version", "The version in service; 0 is none", ("role",),
        {("champion",): _number(plan.champion),
         ("challenger",): _number(rival)},
    )  # fmt: skip
    yield gauge("replicas", "Replicas that report", ("stage",), {(s,): replicas[s] for s in stages})
    yield gauge(
        "replicas_lacking", "Replicas that lack a version which they should hold", ("stage",),
        {(s,): lacking[s] for s in stages},
    )  # fmt: skip
    yield gauge(
        "stage_version", "The lowest champion that replicas of the stage follow; 0 is none",
        ("stage",), {(s,): min(map(_number, followed[s]), default=0) for s in stages},
    )  # fmt: skip
    yield counter("promotions", "Champions that gave way to another", (), {(): rollout.promotions})
    yield counter(
        "failed_loads", "Versions that could not be loaded or failed their test", ("stage",),
        {(s,): rollout.failed_loads[s] for s in ("rollout", *stages)},
    )  # fmt: skip
    yield gauge("registry_up", "Whether the registry answers", (), {(): registry_up})


def _number(reference: Reference | None) -> int:
    """The registry numbers its versions."""
    return int(reference.version) if reference and reference.version.isdecimal() else 0
